// Keys: who may ask. A file holds one key a line; only hashes stay in memory and they are compared in constant time, all of
// them, so that neither a dump nor a stopwatch gives one away.
import { createHash, timingSafeEqual } from "node:crypto";

export class KeySet {
  readonly #hashes: readonly Buffer[];

  /** @param text content of a key file: one key a line; empty lines and lines that begin with # are skipped */
  constructor(text: string) {
    this.#hashes = parseKeys(text).map(hash);
  }

  get size(): number {
    return this.#hashes.length;
  }

  has(key: string): boolean {
    const wanted = hash(key);
    let found = false;
    for (const known of this.#hashes) found = timingSafeEqual(known, wanted) || found;
    return found;
  }
}

/** The keys in a key file's text. */
export function parseKeys(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

function hash(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** The credential of a request: `Authorization: Bearer KEY`, or `x-api-key` as Anthropic clients send it. */
export function credential(authorization: string | null, apiKey: string | null): string | null {
  if (authorization !== null) {
    const match = /^bearer +(.+)$/i.exec(authorization);
    if (match?.[1] !== undefined) return match[1].trim();
  }
  return apiKey;
}
