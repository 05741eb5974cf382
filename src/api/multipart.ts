// The one text field that a router needs from a form (`model`), found in the bytes; the form itself is relayed
// untouched. RFC 7578 and RFC 2046 section 5.1. It must not read a form otherwise than the engine does: what stands
// where a delimiter ends is refused, not guessed at.
import { LmstackError } from "../errors/catalogue.ts";

/** Where the value of a field stands in the body. */
export interface FormField {
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** @throws LmstackError `invalid_form` */
export function formBoundary(contentType: string | null): string {
  const given = contentType ?? "";
  const boundary = /^multipart\/form-data\s*;/i.test(given) ? parameter(given, "boundary") : null;
  if (boundary === null || boundary.length < 1 || boundary.length > 70) {
    const got = JSON.stringify(given.slice(0, 200));
    throw invalid(`A form is expected: content-type must be multipart/form-data with a boundary, not ${got}.`);
  }
  return boundary;
}

/** The last part with that name, or null. A part without an end is an error: the rest of the form would be lost. */
export function findFormField(body: Buffer, boundary: string, name: string): FormField | null {
  const delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
  const opening = delimiter.subarray(2);
  const atStart = body.subarray(0, opening.length).equals(opening);
  const first = atStart ? 0 : body.indexOf(delimiter);
  if (first < 0) throw invalid("The form is not valid: its boundary does not occur in the body.");
  let at = atStart ? opening.length : first + delimiter.length;
  let found: FormField | null = null;
  while (!isPair(body, at, 0x2d, 0x2d)) {
    if (!isPair(body, at, 0x0d, 0x0a))
      throw invalid("The form is not valid: a boundary is not at the end of its line.");
    const headEnd = body.indexOf("\r\n\r\n", at);
    const next = headEnd < 0 ? -1 : body.indexOf(delimiter, headEnd + 4);
    if (next < 0) throw invalid("The form is not valid: its last part has no end.");
    const start = headEnd + 4;
    if (partName(body.toString("latin1", at, headEnd)) === name) {
      found = { value: body.toString("utf8", start, next), start, end: next };
    }
    at = next + delimiter.length;
  }
  return found;
}

/** @param head field lines, each behind its line end */
function partName(head: string): string | null {
  let name: string | null = null;
  for (const line of head.split("\r\n")) {
    if (/^content-disposition:/i.test(line)) name = parameter(line, "name");
  }
  return name;
}

/**
 * Last value of a parameter, behind a first semicolon. Quoted values are skipped as a whole: a file may be called
 * `a; name=model`.
 */
function parameter(field: string, wanted: string): string | null {
  let found: string | null = null;
  for (const match of field.matchAll(/;[\t ]*([^\s;="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))|"(?:[^"\\]|\\.)*"/g)) {
    if (match[1]?.toLowerCase() === wanted) found = match[2]?.replace(/\\(.)/g, "$1") ?? match[3] ?? "";
  }
  return found;
}

function isPair(body: Buffer, at: number, first: number, second: number): boolean {
  return body[at] === first && body[at + 1] === second;
}

function invalid(message: string): LmstackError {
  return new LmstackError("invalid_form", message);
}
