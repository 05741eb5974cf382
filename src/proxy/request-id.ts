// Names for requests that brought none, or an unfit one: unique across processes by a random part, cheap by a counter.
import { randomBytes } from "node:crypto";

const processPart = randomBytes(10).toString("hex");
let counter = randomBytes(4).readUInt32BE();
/** What changes with every 4,096th request only. */
let high = "";
const low = Array.from({ length: 4096 }, (_, i) => i.toString(16).padStart(3, "0"));

/** 32 hexadecimal digits, as vLLM makes them. */
export function newRequestId(): string {
  counter = (counter + 1) >>> 0;
  if (high === "" || (counter & 0xfff) === 0) high = processPart + (counter >>> 12).toString(16).padStart(9, "0");
  return high + low[counter & 0xfff];
}

const visible = /^[\x21-\x7e]{1,128}$/;

/** The client's request id where it is sane, else a new one. */
export function requestIdOf(given: string | null): string {
  return given !== null && visible.test(given) ? given : newRequestId();
}
