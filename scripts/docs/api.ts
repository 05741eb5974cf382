// docs/api.md: every path and what happens to it. Pure: table in, text out.
import { apiTable, spellings, type ApiRow, type LaterRow, type OwnRow, type RelayRow } from "../../src/api/table.ts";
import { code, generatedNote, table } from "../../src/config/docs/markdown.ts";

const modelPlaces: Readonly<Record<RelayRow["modelIn"], string>> = {
  json: "`model` of the JSON body",
  form: "`model` of the form, or of a JSON body",
  response: "none: goes to the engine that made the response",
};

const guards: Readonly<Record<OwnRow["guard"], string>> = {
  client: "`--api-key-file`",
  admin: "`--admin-key-file`",
  open: "none",
};

const answers: Readonly<Record<OwnRow["own"], string>> = {
  models: "The union of the engines' models and the aliases, their fields kept.",
  model: "One of them. The name may hold slashes.",
  health: '`{"status":"healthy"}` while the process runs; with the dynamic configuration in force, where there is one.',
  ready:
    "200 when this router should get traffic, 503 with the reason while it drains or does not know its endpoints yet.",
  version: '`{"version":"..."}`',
  metrics: "Prometheus text format; see [metrics.md](metrics.md).",
  engines: "Every endpoint with its models, state, requests in flight and last problem.",
  page: "A page for a browser, with `lmstack up`.",
  console: "The console; with `lmstack up`, or `--console`.",
  "console-file": "Its files.",
  "console-events":
    "An event stream, one snapshot a second: endpoints, requests in flight and ended, the last hour, errors.",
  "console-configuration": "The configuration in force, without keys.",
};

function paths(row: ApiRow): string {
  return spellings(row.path).map(code).join(" ");
}

function isRelay(row: ApiRow): row is RelayRow {
  return row.kind === "relay";
}

function isOwn(row: ApiRow): row is OwnRow {
  return row.kind === "own";
}

function isLater(row: ApiRow): row is LaterRow {
  return row.kind === "later";
}

export function apiPage(): string {
  return [
    generatedNote("src/api/table.ts"),
    "# Paths",
    "",
    "A path that is not here is answered with 404 and never reaches an engine; a known path with another method gets 405 with `allow`. A slash at the end is ignored; query strings go on to the engine. Under `--root-path` all of them answer with and without that prefix.",
    "",
    "## Relayed to an engine",
    "",
    "One code path for all of them: the same load counts, retries, time limits, metrics and error handling. The body is passed on as it came, but for an alias in `model`. All are guarded by `--api-key-file`. `HEAD` is not relayed. Errors that the router itself answers have the shape of the API (see [errors.md](errors.md)); a stream is whole when its last event has come, and is ended with an error otherwise.",
    "",
    ...table(
      ["Path", "Method", "Label `api`", "Model", "Errors as", "Last event of a stream"],
      apiTable
        .filter(isRelay)
        .map((row) => [
          paths(row),
          row.methods.join(", "),
          code(row.api),
          modelPlaces[row.modelIn],
          row.errors === "anthropic" ? "Anthropic" : "OpenAI",
          row.lastEvent === null
            ? ""
            : row.lastEvent === "response"
              ? "`response.completed`, `.incomplete` or `.failed`"
              : code(row.lastEvent),
        ]),
    ),
    "",
    "## Answered by the router",
    "",
    ...table(
      ["Path", "Method", "Key", "Answer"],
      apiTable.filter(isOwn).map((row) => [paths(row), row.methods.join(", "), guards[row.guard], answers[row.own]]),
    ),
    "",
    "## Known and not built yet",
    "",
    "501 with the code `not_implemented`; guarded by `--admin-key-file`.",
    "",
    ...table(
      ["Path", "Method"],
      apiTable.filter(isLater).map((row) => [paths(row), row.methods.join(", ")]),
    ),
    "",
  ].join("\n");
}
