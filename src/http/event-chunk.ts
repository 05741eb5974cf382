// Recognises, in a few looks, what nearly every read from an engine is in the middle of a stream: whole chunks, each with one
// event of one line that holds a JSON object. Everything else is left to the parsers, which are the truth about what it is.
import { hexDigit } from "./bytes.ts";

const cr = 0x0d;
const lf = 0x0a;
/** `data: {"` */
const opening = Buffer.from('data: {"');
/** More digits than a chunk has that comes in one read. */
const maxDigits = 5;

/**
 * Whether bytes [0, length) of `buf`, which begin between two chunks, are such chunks and nothing else. An object whose first
 * key begins with `e` (as `error` does) is not recognised, nor is `[DONE]` or the last chunk.
 */
export function areEventChunks(buf: Buffer, length: number): boolean {
  let at = 0;
  do at = afterEventChunk(buf, at, length);
  while (at > 0 && at < length);
  return at > 0;
}

/** @returns offset behind the chunk that begins at `start`, or -1 */
function afterEventChunk(buf: Buffer, start: number, length: number): number {
  const payload = objectChunk(buf, start, length);
  if (payload < 0) return -1;
  const end = objectChunkEnd;
  // one line, one empty line: the first line feed is the last but one byte
  return buf[end - 1] === lf && buf.indexOf(lf, payload) === end - 2 ? end + 2 : -1;
}

/** Offset behind the payload of the chunk that {@link objectChunk} has found: two numbers without an object for each event. */
export let objectChunkEnd = 0;

/**
 * Finds the whole chunk that begins at `start` in bytes [0, length), if what it holds begins like an event with an object whose
 * first key does not begin with `e`. Where its lines end is not looked at.
 * @returns offset of its payload, or -1
 */
export function objectChunk(buf: Buffer, start: number, length: number): number {
  let at = start;
  let size = 0;
  for (let digit = hexDigit(buf[at] ?? 0); digit >= 0; digit = hexDigit(buf[at] ?? 0)) {
    if (at++ - start >= maxDigits) return -1;
    size = size * 16 + digit;
  }
  const payload = at + 2;
  const end = payload + size;
  if (end + 2 > length || size < opening.length + 2) return -1;
  if (buf[at] !== cr || buf[at + 1] !== lf || buf[end] !== cr || buf[end + 1] !== lf) return -1;
  for (let i = 0; i < opening.length; i++) if (buf[payload + i] !== opening[i]) return -1;
  if (buf[payload + opening.length] === 0x65 /* e */) return -1;
  objectChunkEnd = end;
  return payload;
}
