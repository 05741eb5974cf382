// The head of an HTTP/1.1 message: field lines and what they say about framing, by RFC 9112, with every "MAY accept"
// turned down. Used by the request and the response parser. It must never guess: what two readers could read
// differently is refused, because a proxy that reads a message otherwise than the engine is a smuggling hole.
import { LmstackError } from "../errors/catalogue.ts";
import { isFieldValueCode, isTokenCode } from "./bytes.ts";

/** Names (lower case) and values in turn, in wire order, repeated names kept: `[name, value, name, value, ...]`. */
export type HeaderList = readonly string[];

/** What the field lines of one message say. */
export interface Fields {
  readonly list: HeaderList;
  /** -1 = no Content-Length. */
  readonly contentLength: number;
  readonly chunked: boolean;
  /** `Connection` options in lower case, comma separated; "" = no such field. */
  readonly connection: string;
  readonly host: string | null;
  readonly expect: string | null;
}

export function malformed(reason: string): LmstackError {
  return new LmstackError("malformed_http", `Malformed HTTP: ${reason}.`);
}

/** First value of a field, or null. `name` is lower case. */
export function headerValue(list: HeaderList, name: string): string | null {
  for (let i = 0; i < list.length; i += 2) {
    if (list[i] === name) return list[i + 1] ?? "";
  }
  return null;
}

/** Whether a comma separated field (`Connection`) has an option; `option` is lower case. */
function hasOption(field: string, option: string): boolean {
  if (field === "") return false;
  if (field === option) return true;
  return field.split(",").some((part) => trimBlanks(part) === option);
}

/** The options of a comma separated field in lower case. */
export function optionsOf(field: string): Set<string> {
  return new Set(field.split(",").map(trimBlanks));
}

/** RFC 9112 section 9.3: `close` wins; else HTTP/1.1 keeps a connection, HTTP/1.0 where it says so. */
export function keepsConnection(minor: 0 | 1, connection: string): boolean {
  return !hasOption(connection, "close") && (minor === 1 || hasOption(connection, "keep-alive"));
}

/** Without spaces and tabs around it. `trim()` takes more away: a no-break space, which is a byte of a value here. */
function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

const maxContentLength = Number.MAX_SAFE_INTEGER;

function parseContentLength(value: string): number {
  if (value.length === 0 || value.length > 16) throw malformed(`Content-Length ${quote(value)} is not a length`);
  let n = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) throw malformed(`Content-Length ${quote(value)} is not a run of digits`);
    n = n * 10 + digit;
  }
  if (n > maxContentLength) throw malformed(`Content-Length ${quote(value)} is too large`);
  return n;
}

/** A value as it may stand in a message: short, quoted, control characters escaped. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
}

/**
 * Parses field lines.
 * @param text the head as latin1, without its final empty line
 * @param start offset of the first field line
 * @throws LmstackError `malformed_http`
 */
export function parseFields(text: string, start: number): Fields {
  const list: string[] = [];
  let contentLength = -1;
  let chunked = false;
  let connection = "";
  let host: string | null = null;
  let expect: string | null = null;
  const length = text.length;
  let at = start;
  while (at < length) {
    let colon = at;
    while (colon < length && isTokenCode(text.charCodeAt(colon))) colon++;
    if (colon === at || text.charCodeAt(colon) !== 0x3a) throw badName(text, at, colon);
    let valueStart = colon + 1;
    while (valueStart < length && isBlank(text.charCodeAt(valueStart))) valueStart++;
    let lineEnd = valueStart;
    while (lineEnd < length && isFieldValueCode(text.charCodeAt(lineEnd))) lineEnd++;
    if (lineEnd < length && !(text.charCodeAt(lineEnd) === 0x0d && text.charCodeAt(lineEnd + 1) === 0x0a)) {
      throw malformed(`control character in the value of ${quote(text.slice(at, colon))}`);
    }
    let valueEnd = lineEnd;
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd--;
    const name = text.slice(at, colon).toLowerCase();
    const value = text.slice(valueStart, valueEnd);
    list.push(name, value);
    switch (name) {
      case "content-length":
        if (contentLength >= 0) throw malformed("Content-Length is repeated");
        contentLength = parseContentLength(value);
        break;
      case "transfer-encoding":
        if (chunked) throw malformed("Transfer-Encoding is repeated");
        if (value.toLowerCase() !== "chunked") throw malformed(`Transfer-Encoding ${quote(value)} is not "chunked"`);
        // legal, and yet llhttp takes "chunked<tab>" for another coding: an engine may read it so, too
        if (text.slice(valueEnd, lineEnd).includes("\t"))
          throw malformed("a tab behind the value of Transfer-Encoding");
        chunked = true;
        break;
      case "connection":
        connection = connection === "" ? value.toLowerCase() : `${connection},${value.toLowerCase()}`;
        break;
      case "host":
        if (host !== null) throw malformed("Host is repeated");
        host = value;
        break;
      case "expect":
        expect = value;
        break;
      default:
    }
    at = lineEnd + 2;
  }
  if (chunked && contentLength >= 0) throw malformed("both Content-Length and Transfer-Encoding");
  return { list, contentLength, chunked, connection, host, expect };
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function badName(text: string, at: number, stop: number): LmstackError {
  const code = text.charCodeAt(at);
  if (isBlank(code)) return malformed("a field line is folded or begins with white space");
  if (stop > at && isBlank(text.charCodeAt(stop))) return malformed("white space before the colon of a field name");
  return malformed(`field name ${quote(text.slice(at, at + 40))} is not a token followed by a colon`);
}
