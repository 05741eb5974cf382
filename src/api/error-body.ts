// How an error of the catalogue looks to a client: as a whole answer and as a frame inside a stream, in the shape of the
// API that the client speaks.
import type { LmstackError } from "../errors/catalogue.ts";
import type { HeaderList } from "../http/head.ts";

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

/** The event that tells a reader of a stream that it ends here and is not whole. */
export function errorFrame(error: LmstackError, shape: ErrorShape, requestId: string): string {
  if (shape === "anthropic") return `event: error\ndata: ${errorJson(error, shape, requestId)}\n\n`;
  if (shape === "responses") return `event: error\ndata: ${responsesError(error)}\n\n`;
  return `data: ${errorJson(error, shape, requestId)}\n\n`;
}

/**
 * The documented event, and its fields once more under `error`, as OpenAI itself sends them: the official SDKs throw for such an
 * event, and pass the other kind on, after which a reader that only waits for the end takes half of an answer for all of it.
 */
function responsesError({ definition, code, message, param }: LmstackError): string {
  const error = { type: definition.openaiType, code, message, param };
  return JSON.stringify({ type: "error", code, message, param, error });
}
