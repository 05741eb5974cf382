// Names for requests that brought none, or an unfit one: unique across processes by a random part, cheap by a counter.
import { randomBytes } from "node:crypto";

const processPart = randomBytes(10).toString("hex");
let counter = randomBytes(4).readUInt32BE();

/** 32 hexadecimal digits, as vLLM makes them. */
export function newRequestId(): string {
  counter = (counter + 1) >>> 0;
  return processPart + (counter + 0x1_0000_0000).toString(16).slice(1).padStart(12, "0");
}

const visible = /^[\x21-\x7e]{1,128}$/;

/** The client's request id where it is sane, else a new one. */
export function requestIdOf(given: string | null): string {
  return given !== null && visible.test(given) ? given : newRequestId();
}
