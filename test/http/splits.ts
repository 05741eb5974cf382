// Ways to cut bytes for property tests: one cut anywhere, crumbs of a byte each, and random cuts.
import fc from "fast-check";
import { crumbs, cut } from "./traces.ts";

/** Bytes of a latin1 string. */
export function bytesOf(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** Every way to cut once, and one byte at a time. */
export function* everySplit(bytes: Buffer): Generator<Buffer[]> {
  for (let at = 1; at < bytes.length; at++) yield cut(bytes, [at]);
  yield crumbs(bytes);
}

/** Offsets to cut at, near each other as often as far apart. */
export const offsets = fc.array(fc.oneof(fc.nat(40), fc.nat(400), fc.nat(5000)), { maxLength: 12 });
