// The one text field that a router needs from a form (`model`), found in the bytes; the form itself is relayed untouched.
// RFC 7578 and RFC 2046 section 5.1.
import { LmstackError } from "../errors/catalogue.ts";

/** Where the value of a field stands in the body. */
export interface FormField {
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** @throws LmstackError `invalid_form` */
export function formBoundary(contentType: string | null): string {
  const match = /^multipart\/form-data\s*;.*?\bboundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType ?? "");
  const boundary = match?.[1] ?? match?.[2];
  if (boundary === undefined) {
    throw new LmstackError("invalid_form", `A form is expected: content-type must be multipart/form-data with a boundary, not ${JSON.stringify(contentType ?? "")}.`);
  }
  return boundary;
}

/** The last part with that name, or null. A part without an end is an error: the rest of the form would be lost. */
export function findFormField(body: Buffer, boundary: string, name: string): FormField | null {
  const delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
  const opening = delimiter.subarray(2);
  let found: FormField | null = null;
  let at = body.subarray(0, opening.length).equals(opening) ? 0 : body.indexOf(delimiter);
  if (at < 0) throw new LmstackError("invalid_form", "The form is not valid: its boundary does not occur in the body.");
  at += at === 0 && body.subarray(0, opening.length).equals(opening) ? opening.length : delimiter.length;
  for (;;) {
    if (body[at] === 0x2d && body[at + 1] === 0x2d) return found;
    const headStart = body.indexOf("\r\n", at);
    const headEnd = headStart < 0 ? -1 : body.indexOf("\r\n\r\n", headStart);
    const next = headEnd < 0 ? -1 : body.indexOf(delimiter, headEnd + 2);
    if (next < 0) throw new LmstackError("invalid_form", "The form is not valid: its last part has no end.");
    const head = body.toString("latin1", headStart, headEnd);
    const match = /\r\ncontent-disposition:[^\r\n]*?[;\s]name=(?:"([^"]*)"|([^\s;"]+))/i.exec(head);
    if ((match?.[1] ?? match?.[2]) === name) {
      const start = Math.min(headEnd + 4, next);
      found = { value: body.toString("utf8", start, next), start, end: next };
    }
    at = next + delimiter.length;
  }
}
