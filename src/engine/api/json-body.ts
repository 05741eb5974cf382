// Turns the bytes of a request into a JSON object, with the errors that FastAPI and Python's json module give. Between
// the server and the routes; pure. It must not be stricter than Python: NaN and Infinity are numbers there.

import { unparsableBody } from "./errors.ts";
import { isObject, validationError } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Throws an ApiError or DetailError when the body is not a JSON object with the right content type. */
export function parseJsonBody(contentType: string | undefined, body: Buffer): JsonObject {
  const media = (contentType ?? "").split(";", 1)[0]?.trim().toLowerCase();
  if (media !== "application/json") {
    throw validationError(["Unsupported Media Type: Only 'application/json' is allowed"], null);
  }
  if (body.length === 0) throw missingBody();
  const value = parse(decode(body));
  if (value === null) throw missingBody();
  if (isObject(value)) return value;
  const input = Array.isArray(value) ? `<list of ${value.length} items>` : String(value);
  const message = "Input should be a valid dictionary or object to extract fields from";
  throw validationError(
    [`{'type': 'model_attributes_type', 'loc': 'body', 'msg': '${message}', 'input': '${input}'}`],
    "body",
  );
}

function missingBody(): Error {
  return validationError(["{'type': 'missing', 'loc': 'body', 'msg': 'Field required', 'input': 'None'}"], "body");
}

function decode(body: Buffer): string {
  try {
    return decoder.decode(body);
  } catch {
    throw unparsableBody();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (/[:[,\s](NaN|-?Infinity)/.test(text)) return parsePython(text);
    throw invalidJson(text, error instanceof Error ? error.message : "");
  }
}

/** NaN and the infinities survive JSON.parse as marked strings. */
function parsePython(text: string): unknown {
  const marked = text.replace(/([:[,]\s*)(NaN|-?Infinity)/g, '$1"\\u0000$2"');
  try {
    return JSON.parse(marked, (_key, value: unknown) =>
      typeof value === "string" && value.startsWith("\u0000") ? Number(value.slice(1)) : value,
    ) as unknown;
  } catch (error) {
    throw invalidJson(text, error instanceof Error ? error.message : "");
  }
}

function invalidJson(text: string, message: string): Error {
  const found = /at position (\d+)/.exec(message);
  const at = found?.[1] === undefined ? text.length : Number(found[1]);
  const reason = pythonReason(text, at, message);
  return validationError(
    [
      `{'type': 'json_invalid', 'loc': 'body.${at}', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', ` +
        `'ctx': {'error': '${reason}'}}`,
    ],
    `body.${at}`,
  );
}

/** The sentence that Python's decoder would use at this place. */
function pythonReason(text: string, at: number, message: string): string {
  if (/after JSON/.test(message)) return "Extra data";
  const before = text.slice(0, at).trimEnd();
  const last = before.charAt(before.length - 1);
  if (/[Pp]roperty name/.test(message) || last === "{") return "Expecting property name enclosed in double quotes";
  if (/[Uu]nterminated string/.test(message)) return "Unterminated string starting at";
  if (last === "," && before.lastIndexOf("{") > before.lastIndexOf("[")) {
    return "Expecting property name enclosed in double quotes";
  }
  if (/':' after/.test(message)) return "Expecting \\':\\' delimiter";
  if (/',' or/.test(message)) return "Expecting \\',\\' delimiter";
  return "Expecting value";
}
