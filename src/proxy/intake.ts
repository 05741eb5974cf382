// Reads a request's body and finds in its bytes what the router needs to know: the model, the session, whether a stream is
// wanted. The body itself is kept as it came; an alias is replaced by splicing the bytes of that one value.
import type { Body, Edit } from "../api/body.ts";
import { FieldNames, JsonFieldScanner } from "../api/json-fields.ts";
import { findFormField, formBoundary } from "../api/multipart.ts";
import type { ApiName } from "../api/table.ts";
import type { OutgoingBody } from "../http/engine-connection.ts";
import { LmstackError } from "../errors/catalogue.ts";
import type { RequestPlan } from "./request-plan.ts";

/** What a request says of itself. */
export interface RequestFacts {
  /** As the client wrote it; null where the path has none (`/v1/responses/{id}`). */
  readonly model: string | null;
  /** A hint: whether the answer is a stream is seen from its content type. */
  readonly stream: boolean;
  /** Value of the JSON field that names the session; null = absent. */
  readonly sessionField: string | null;
  readonly previousResponse: string | null;
}

const noFacts: RequestFacts = { model: null, stream: false, sessionField: null, previousResponse: null };

export class Intake {
  readonly body: Body;
  readonly #boundary: string | null;
  readonly #scanner: JsonFieldScanner | null;
  readonly #sessionField: string | null;
  #modelRange: { start: number; end: number } | null = null;

  /**
   * @param sessionField JSON field that names a session, or null
   * @param body takes the bytes
   * @throws LmstackError when the content type can't be read on this path
   */
  constructor(
    { row, contentType, contentEncoding }: Pick<RequestPlan, "row" | "contentType" | "contentEncoding">,
    sessionField: string | null,
    body: Body,
  ) {
    this.body = body;
    this.#sessionField = sessionField;
    if (contentEncoding !== null && contentEncoding.toLowerCase() !== "identity") {
      throw new LmstackError(
        "invalid_json",
        `A body with content-encoding ${JSON.stringify(contentEncoding)} can't be read: send it uncompressed.`,
      );
    }
    // image edits come as a form or as JSON, as the client likes
    const form = row.modelIn === "form" && !/^application\/json\b/i.test(contentType ?? "");
    this.#boundary = form ? formBoundary(contentType) : null;
    if (form || row.modelIn === "response") this.#scanner = null;
    else this.#scanner = new JsonFieldScanner(wantedFields(row.api === "responses", sessionField));
  }

  /** @throws LmstackError `invalid_json` */
  add(buf: Buffer, start: number, end: number): void {
    this.body.add(buf, start, end);
    this.#scanner?.feed(buf, start, end);
  }

  /** @throws LmstackError `invalid_json`, `invalid_form`, `missing_model` */
  finish(): RequestFacts {
    if (this.#boundary !== null) return this.#formFacts(this.#boundary);
    const scanner = this.#scanner;
    if (scanner === null) return noFacts;
    scanner.end();
    const model = this.#value("model");
    if (typeof model !== "string" || model === "") {
      const got =
        model === undefined ? "is missing" : model === "" ? "is empty" : `must be a string, not ${describe(model)}`;
      throw new LmstackError(
        "missing_model",
        `The field "model" ${got}: name one of the models of /v1/models.`,
        "model",
      );
    }
    this.#modelRange = scanner.range("model");
    const stream = this.#value("stream");
    const session = this.#sessionField === null ? undefined : this.#value(this.#sessionField);
    const previous = this.#value("previous_response_id");
    return {
      model,
      stream: isTrue(stream),
      sessionField:
        typeof session === "string" && session !== "" ? session : typeof session === "number" ? String(session) : null,
      previousResponse: typeof previous === "string" ? previous : null,
    };
  }

  /** The body with another model in it; as it came where `model` is null. @param more to be changed in it */
  outgoing(model: string | null, more: Edit | null = null): OutgoingBody {
    const edits = more === null ? [] : [more];
    const range = this.#modelRange;
    if (model !== null && range !== null) {
      const value = this.#boundary === null ? JSON.stringify(model) : model;
      edits.push({ ...range, bytes: Buffer.from(value) });
    }
    return edits.length === 0 ? this.body.outgoing() : this.body.edited(edits);
  }

  /** The same asking for the usage of its stream; null = that is not to be had, or the client has asked for it. */
  askingForUsage(api: ApiName, model: string | null): OutgoingBody | null {
    if (api !== "chat" && api !== "completions") return null;
    const edit = this.#usageEdit();
    return edit === null ? null : this.outgoing(model, edit);
  }

  /** What makes a stream tell its usage; null = the client has asked for it, or what it says is the engine's to refuse. */
  #usageEdit(): Edit | null {
    const range = this.#scanner?.range("stream_options") ?? null;
    if (range === null) {
      const end = this.body.whole().lastIndexOf("}");
      return { start: end, end, bytes: Buffer.from(',"stream_options":{"include_usage":true}') };
    }
    const options = this.#value("stream_options");
    if (options !== null && (typeof options !== "object" || Array.isArray(options))) return null;
    if (options !== null && "include_usage" in options && options.include_usage !== false) return null;
    // without the end's usage the client gets none in between either
    const wanted = { ...options, include_usage: true, continuous_usage_stats: false };
    return { ...range, bytes: Buffer.from(JSON.stringify(wanted)) };
  }

  #formFacts(boundary: string): RequestFacts {
    const whole = this.body.whole();
    const field = findFormField(whole, boundary, "model");
    if (field === null || field.value === "") {
      throw new LmstackError(
        "missing_model",
        `The form field "model" is ${field === null ? "missing" : "empty"}: name one of the models of /v1/models.`,
        "model",
      );
    }
    this.#modelRange = field;
    const stream = findFormField(whole, boundary, "stream");
    return { ...noFacts, model: field.value, stream: stream !== null && isTrue(stream.value) };
  }

  #value(name: string): unknown {
    const range = this.#scanner?.range(name) ?? null;
    if (range === null) return undefined;
    if (range.end - range.start > 64 * 1024) return undefined;
    // the usual values need no parser
    const plain = this.body.plainString(range.start, range.end);
    if (plain !== null) return plain;
    const text = this.body.text(range.start, range.end);
    if (text === "true") return true;
    if (text === "false") return false;
    try {
      return JSON.parse(text);
    } catch {
      throw new LmstackError(
        "invalid_json",
        `The request body is not valid JSON: the value of "${name}" can't be read.`,
        name,
      );
    }
  }
}

let wanted = { responses: new FieldNames([]), others: new FieldNames([]), sessionField: "" };

/** The fields to look for; made once, as the name of the session's field hardly ever changes. */
function wantedFields(responses: boolean, sessionField: string | null): FieldNames {
  const session = sessionField ?? "model";
  if (wanted.sessionField !== session) {
    const names = [...new Set(["model", "stream", session])];
    wanted = {
      others: new FieldNames([...names, "stream_options"]),
      responses: new FieldNames([...names, "previous_response_id"]),
      sessionField: session,
    };
  }
  return responses ? wanted.responses : wanted.others;
}

/** What Python's validation takes for true. */
function isTrue(value: unknown): boolean {
  return value === true || value === 1 || (typeof value === "string" && /^(true|yes|on|1|t|y)$/i.test(value));
}

function describe(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

export function textOf(body: OutgoingBody): string {
  return (typeof body === "string" ? Buffer.from(body, "latin1") : Buffer.concat(body)).toString("utf8");
}

export function lengthOf(body: OutgoingBody): number {
  return typeof body === "string" ? body.length : body.reduce((sum, piece) => sum + piece.length, 0);
}
