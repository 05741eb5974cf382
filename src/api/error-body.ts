// How an error of the catalogue looks to a client: as a whole answer and as a frame inside a stream, in the shape of the
// API that the client speaks.
import type { LmstackError } from "../errors/catalogue.ts";
import type { HeaderList } from "../http/head.ts";
import { isRecord } from "./json-values.ts";

export type ErrorShape = "openai" | "anthropic" | "responses";

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: string;
}

/** The JSON of an error. */
function errorJson(error: LmstackError, shape: ErrorShape, requestId: string): string {
  const definition = error.definition;
  if (shape === "anthropic") {
    return JSON.stringify({
      type: "error",
      error: { type: definition.anthropicType, message: error.message },
      request_id: requestId,
    });
  }
  return JSON.stringify({
    error: { message: error.message, type: definition.openaiType, param: error.param, code: error.code },
  });
}

/**
 * @param jitter 0 to 1; spreads the clients' next attempts
 */
export function errorAnswer(error: LmstackError, shape: ErrorShape, requestId: string, jitter: number): ErrorAnswer {
  const definition = error.definition;
  const headers: string[] = ["content-type", "application/json", "x-request-id", requestId];
  // where Anthropic's SDK looks for it
  if (shape === "anthropic") headers.push("request-id", requestId);
  if (definition.shouldRetry !== null) headers.push("x-should-retry", String(definition.shouldRetry));
  if (definition.retryAfter) headers.push(...retryAfterHeaders(jitter));
  if (error.code === "invalid_api_key") headers.push("www-authenticate", "Bearer");
  return { status: definition.status, headers, body: errorJson(error, shape, requestId) };
}

/** One to two seconds, in both spellings that official clients read. */
export function retryAfterHeaders(jitter: number): string[] {
  const delayMs = 1000 + Math.round(jitter * 1000);
  return ["retry-after", String(Math.ceil(delayMs / 1000)), "retry-after-ms", String(delayMs)];
}

/**
 * The event that tells a reader of a stream that it ends here and is not whole.
 * @param number of the event, where the API numbers them
 */
export function errorFrame(error: LmstackError, shape: ErrorShape, requestId: string, number: number): string {
  if (shape === "anthropic") return `event: error\ndata: ${errorJson(error, shape, requestId)}\n\n`;
  if (shape !== "responses") return `data: ${errorJson(error, shape, requestId)}\n\n`;
  const { definition, code, message, param } = error;
  return responsesError({ type: definition.openaiType, code, message, param }, number);
}

/**
 * An engine's own event of that kind, as the API's readers know it.
 * @returns null = it says nothing that they could read
 */
export function engineErrorFrame(frame: Buffer, shape: ErrorShape, number: number): Buffer | null {
  if (shape !== "responses") return frame;
  const said = objectOf(/^data: ?(.*)$/m.exec(frame.toString("utf8"))?.[1] ?? "");
  if (said === null) return null;
  const error = isRecord(said["error"]) ? said["error"] : { ...said, type: "server_error" };
  const { type = "server_error", code = null, message, param = null } = error;
  if (typeof message !== "string") return null;
  const given = said["sequence_number"];
  return Buffer.from(responsesError({ type, code, message, param }, typeof given === "number" ? given : number));
}

/**
 * The documented event, and its fields once more under `error`, as OpenAI itself sends them: the official SDKs throw for such an
 * event, and pass the other kind on, after which a reader that only waits for the end takes half of an answer for all of it.
 */
function responsesError(
  error: { type: unknown; code: unknown; message: string; param: unknown },
  number: number,
): string {
  const { code, message, param } = error;
  const event = { type: "error", code, message, param, sequence_number: number, error };
  return `event: error\ndata: ${JSON.stringify(event)}\n\n`;
}

function objectOf(json: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(json);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}
