// docs/errors.md: every error that the router itself answers. Pure: catalogue in, text out.

import { errorCatalogue, outcomes, type ErrorDefinition } from "../../errors/catalogue.ts";
import { code, generatedNote, table } from "./markdown.ts";

export function errorsPage(): string {
  const entries: [string, ErrorDefinition][] = Object.entries(errorCatalogue);
  return [
    generatedNote("src/errors/catalogue.ts"),
    "# Errors",
    "",
    "What the router itself answers; an engine's own 4xx answers pass through unchanged. The body has the shape of the API that was called, `code` is the stable name:",
    "",
    "```json",
    '{"error": {"message": "...", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}',
    "```",
    "",
    'On `/v1/messages`: `{"type": "error", "error": {"type": "...", "message": "..."}, "request_id": "..."}`. Once a stream has begun the status has left, and the error comes as a frame in the stream.',
    "",
    "`x-should-retry` tells official SDKs whether to send the request again: `false` where the router has tried already, since their attempts would multiply. Where `retry-after` is sent, `retry-after-ms` is too.",
    "",
    ...table(
      [
        "Code",
        "Status",
        "Type (OpenAI)",
        "Type (Anthropic)",
        "Outcome",
        "`x-should-retry`",
        "`retry-after`",
        "When",
        "Way out",
      ],
      entries.map(([name, error]) => [
        code(name),
        String(error.status),
        code(error.openaiType),
        code(error.anthropicType),
        code(error.outcome),
        error.shouldRetry === null ? "not sent" : code(String(error.shouldRetry)),
        error.retryAfter ? "sent" : "",
        error.when,
        error.fix,
      ]),
    ),
    "",
    "## Outcomes",
    "",
    `How a request ended, as the label \`outcome\` of metrics and in the log: ${outcomes.map(code).join(", ")}.`,
    "",
    "## Metric labels",
    "",
    ...table(
      ["Code", "Label", "Counts against the engine"],
      entries.map(([name, error]) => [code(name), code(error.label), error.countsAgainstEndpoint ? "yes" : ""]),
    ),
    "",
  ].join("\n");
}
