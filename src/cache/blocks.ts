// Hashes the canonical bytes of a prompt, block by block, as they are handed in: no string, no copy of the prompt as a whole.
// Why this hash and not xxhash64: 64 bits out of 32-bit arithmetic cost a JavaScript engine a third of a call into
// WebAssembly per block (125 against 650 us for 400 kB in blocks of 64 bytes, 103 against 187 us in blocks of 256), and it
// must only tell blocks apart. The rounds are those of xxHash32 (Collet, BSD-2-Clause), merged in two ways.
import { mix, type Prompt } from "./prompt.ts";

/** Bytes of a block: about 64 tokens of text. */
export const blockBytes = 256;
/** What comes behind is taken for new: no context is longer, and a prompt of any length costs a bounded time. */
export const maxHashedBytes = 4 * 1024 * 1024;

const blockWords = blockBytes / 4;
/** Pieces gather here before they are hashed; a multiple of the block. */
const scratch = Buffer.from(new ArrayBuffer(64 * 1024));
const words = new Int32Array(scratch.buffer);

const prime1 = 0x9e3779b1 | 0;
const prime2 = 0x85ebca77 | 0;
const prime3 = 0xc2b2ae3d | 0;

/** One prompt at a time: `begin`, any number of `write`s, `finish`. Used again for the next, so that nothing is allocated. */
export class BlockHasher {
  #hashes = new Uint32Array(2 * 256);
  #blocks = 0;
  #fill = 0;
  #length = 0;
  #hashed = 0;
  #lo = 0;
  #hi = 0;
  #anchor = 0;
  /** Length before the first question; -1 = nothing says where that begins. */
  #opening = -1;
  #ownFrom = 0;
  #continued = false;

  /** @param seed texts that must be equal where anything is to match: model or adapter, cache salt */
  begin(...seed: readonly string[]): void {
    let lo = prime1;
    let hi = prime3;
    for (const text of seed) {
      for (let i = 0; i < text.length; i++) {
        lo = mix(lo ^ text.charCodeAt(i), hi);
        hi = mix(hi + 1, lo);
      }
      hi = mix(hi ^ 0xffff, lo);
    }
    this.#lo = lo | 0;
    this.#hi = hi | 0;
    this.#blocks = 0;
    this.#fill = 0;
    this.#length = 0;
    this.#hashed = 0;
    this.#anchor = 0;
    this.#opening = -1;
    this.#ownFrom = 0;
    this.#continued = false;
  }

  /** Bytes [start, end) come next. */
  write(buf: Uint8Array, start: number, end: number): void {
    this.#length += end - start;
    let at = start;
    const last = Math.min(end, at + maxHashedBytes - this.#hashed);
    while (at < last) {
      const part = Math.min(last - at, scratch.length - this.#fill);
      scratch.set(part === buf.length ? buf : buf.subarray(at, at + part), this.#fill);
      this.#fill += part;
      this.#hashed += part;
      at += part;
      if (this.#fill === scratch.length) this.#drain();
    }
  }

  /** One byte that can't stand in text: it ends a field or a message. */
  mark(byte: number): void {
    this.#length++;
    if (this.#hashed >= maxHashedBytes) return;
    scratch[this.#fill++] = byte;
    this.#hashed++;
    if (this.#fill === scratch.length) this.#drain();
  }

  /** What has come so far names the conversation; the first call counts. */
  setAnchor(): void {
    if (this.#anchor !== 0) return;
    this.#drain();
    let rest = 0;
    for (let i = 0; i < this.#fill; i++) rest = Math.imul(rest ^ (scratch[i] ?? 0), 0x01000193);
    this.#anchor = mix(this.#lo ^ rest, this.#hi) || 1;
    // Half of the first question, as a block ends where it likes. A share of the whole is no measure: below a long system
    // prompt a short question was less than the tenth that was forgiven, and all its conversations were taken for one.
    this.#ownFrom =
      this.#opening < 0 ? 0.9 * this.#blocks * blockBytes : this.#opening + (this.#length - this.#opening) / 2;
  }

  /** What has come so far may be shared by many conversations; the last call before the anchor counts. */
  setOpening(): void {
    if (this.#anchor === 0) this.#opening = this.#length;
  }

  setContinued(): void {
    this.#continued = true;
  }

  /**
   * @param perToken bytes of a token
   * @param tokenIds where the prompt is made of them
   */
  finish(perToken: number, tokenIds: ArrayLike<number> | null = null): Prompt {
    this.#drain();
    return {
      length: this.#length,
      hashes: this.#hashes.slice(0, this.#blocks * 2),
      blocks: this.#blocks,
      blockSize: blockBytes,
      perToken,
      tokenIds,
      anchor: this.#anchor,
      ownFrom: this.#ownFrom,
      continued: this.#continued,
    };
  }

  /** Hashes the whole blocks that are there and keeps the rest. */
  #drain(): void {
    const count = Math.floor(this.#fill / blockBytes);
    if (count === 0) return;
    while (this.#hashes.length < (this.#blocks + count) * 2) {
      const grown = new Uint32Array(this.#hashes.length * 2);
      grown.set(this.#hashes);
      this.#hashes = grown;
    }
    const out = this.#hashes;
    let lo = this.#lo;
    let hi = this.#hi;
    let to = this.#blocks * 2;
    let at = 0;
    for (let block = 0; block < count; block++) {
      let v1 = (lo + prime1 + prime2) | 0;
      let v2 = (hi + prime2) | 0;
      let v3 = lo ^ hi;
      let v4 = (hi - prime1) | 0;
      for (const end = at + blockWords; at < end; at += 4) {
        v1 = (v1 + Math.imul(words[at] ?? 0, prime2)) | 0;
        v1 = Math.imul((v1 << 13) | (v1 >>> 19), prime1);
        v2 = (v2 + Math.imul(words[at + 1] ?? 0, prime2)) | 0;
        v2 = Math.imul((v2 << 13) | (v2 >>> 19), prime1);
        v3 = (v3 + Math.imul(words[at + 2] ?? 0, prime2)) | 0;
        v3 = Math.imul((v3 << 13) | (v3 >>> 19), prime1);
        v4 = (v4 + Math.imul(words[at + 3] ?? 0, prime2)) | 0;
        v4 = Math.imul((v4 << 13) | (v4 >>> 19), prime1);
      }
      let a =
        (((v1 << 1) | (v1 >>> 31)) +
          ((v2 << 7) | (v2 >>> 25)) +
          ((v3 << 12) | (v3 >>> 20)) +
          ((v4 << 18) | (v4 >>> 14))) |
        0;
      let b = ((((v4 << 5) | (v4 >>> 27)) ^ ((v3 << 9) | (v3 >>> 23)) ^ ((v2 << 16) | (v2 >>> 16))) + v1) | 0;
      a = Math.imul(a ^ (a >>> 15), prime2);
      a = Math.imul(a ^ (a >>> 13), prime3);
      b = Math.imul(b ^ (b >>> 16), prime3);
      b = Math.imul(b ^ (b >>> 13), prime2);
      lo = a ^ (a >>> 16);
      hi = b ^ (b >>> 16);
      out[to++] = lo;
      out[to++] = hi;
    }
    this.#lo = lo;
    this.#hi = hi;
    this.#blocks += count;
    const rest = count * blockBytes;
    if (rest < this.#fill) scratch.copyWithin(0, rest, this.#fill);
    this.#fill -= rest;
  }
}
