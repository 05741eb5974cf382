// The error bodies of a vLLM server, in their five shapes. Bottom of the HTTP surface; pure. A message here is copied
// from a recording: it must not be improved, clients match on it.

/** A request that ends with an error body. `shape` says which of vLLM's shapes its JSON has. */
export class ApiError extends Error {
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  /** `validation` keeps its OpenAI shape on every route; `semantic` takes the route's own. */
  readonly shape: "validation" | "semantic";

  constructor(
    status: number,
    type: string,
    message: string,
    param: string | null = null,
    shape: "validation" | "semantic" = "semantic",
  ) {
    super(message);
    this.status = status;
    this.type = type;
    this.param = param;
    this.shape = shape;
  }
}

/** FastAPI's own errors: `{"detail": ...}`. */
export class DetailError extends Error {
  readonly status: number;
  readonly headers: readonly string[];

  constructor(status: number, detail: string, headers: readonly string[] = []) {
    super(detail);
    this.status = status;
    this.headers = headers;
  }
}

export type ErrorFamily = "openai" | "anthropic";

export function errorBody(error: ApiError, family: ErrorFamily): string {
  if (family === "anthropic" && error.shape === "semantic") {
    return JSON.stringify({ type: "error", error: { type: error.type, message: error.message } });
  }
  return JSON.stringify({
    error: { message: error.message, type: error.type, param: error.param, code: error.status },
  });
}

/** The error event inside a stream; the one JSON with spaces, since another serialiser writes it. */
export function errorEvent(message: string, type = "InternalServerError", code = 500): string {
  return `data: {"error": {"message": ${JSON.stringify(message)}, "type": "${type}", "param": null, "code": ${code}}}\n\n`;
}

export function badRequest(message: string, param: string | null = null): ApiError {
  return new ApiError(400, "BadRequestError", message, param);
}

/** A semantic error about one parameter; vLLM appends which, and mostly its value. */
export function badParameter(message: string, param: string, value?: string): ApiError {
  const shown = value === undefined ? "" : `, value=${value}`;
  return badRequest(`${message} (parameter=${param}${shown})`, param);
}

export function unknownModel(model: string, served: readonly string[]): ApiError {
  const message = `The model \`${model}\` does not exist. Valid aliases: ${served.join(", ")}.`;
  return new ApiError(404, "NotFoundError", message, "model");
}

export function promptTooLong(maxModelLen: number): ApiError {
  const count = maxModelLen + 1;
  return badParameter(
    `This model's maximum context length is ${maxModelLen} tokens. However, your prompt contains at least ${count} ` +
      "input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input " +
      "prompt.",
    "input_tokens",
    String(count),
  );
}

export function promptTooManyCharacters(maxModelLen: number, characters: number): ApiError {
  return badParameter(
    `This model's maximum context length is ${maxModelLen} tokens. However, your prompt contains ${characters} ` +
      `characters (more than ${maxModelLen * 128} characters, which is the upper bound for ${maxModelLen} input ` +
      "tokens). Please reduce the length of the input prompt.",
    "input_text",
    String(characters),
  );
}

export function queueFull(): ApiError {
  const message =
    "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.";
  return new ApiError(503, "Service Unavailable", message);
}

export const engineDeadMessage = "EngineCore encountered an issue. See stack trace (above) for the root cause.";

export function engineDead(): ApiError {
  return new ApiError(500, "InternalServerError", engineDeadMessage);
}

export const notFound = (): DetailError => new DetailError(404, "Not Found");

export const unparsableBody = (): DetailError => new DetailError(400, "There was an error parsing the body");
