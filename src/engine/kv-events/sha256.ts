// vLLM's own block hashes, to the byte: SHA-256 over a pickle (`sha256`, its default) or canonical CBOR (`sha256_cbor`)
// of (parent, tokens, keys). Used instead of the core's fast hash when KV events are published. Pure.

import { createHash } from "node:crypto";
import type { BlockHasher } from "../core/index.ts";
import { blockKeys, taggedKeys } from "./block-key.ts";
import type { TaggedKey } from "./block-key.ts";

type Tagged = readonly TaggedKey[];

/** Appends to one reused buffer; hashing happens for every full block. */
class Bytes {
  #buffer = Buffer.allocUnsafe(4096);
  length = 0;

  room(bytes: number): void {
    if (this.length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe((this.length + bytes) * 2);
    this.#buffer.copy(larger, 0, 0, this.length);
    this.#buffer = larger;
  }

  byte(value: number): void {
    this.room(1);
    this.#buffer[this.length++] = value;
  }

  raw(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.#buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  uintLE(value: number, bytes: number): void {
    this.room(bytes);
    this.length = this.#buffer.writeUIntLE(value, this.length, bytes);
  }

  uintBE(value: number, bytes: number): void {
    this.room(bytes);
    this.length = this.#buffer.writeUIntBE(value, this.length, bytes);
  }

  /** Length of the body, 8 bytes little-endian, at a place that was left for it. */
  patchLength(at: number, value: number): void {
    this.#buffer.writeBigUInt64LE(BigInt(value), at);
  }

  digest(): string {
    return createHash("sha256").update(this.#buffer.subarray(0, this.length)).digest("binary");
  }
}

interface Encoder {
  text(out: Bytes, value: string): void;
  block(out: Bytes, parent: Buffer, tokens: readonly number[], from: number, to: number, keys: Tagged): void;
}

/** Pickle protocol 5 as CPython's C pickler writes it: one frame, every new object memoised. */
const pickle: Encoder = {
  text(out, value) {
    frame(out, () => pickleText(out, value));
  },
  block(out, parent, tokens, from, to, keys) {
    frame(out, () => {
      out.byte(0x43); // SHORT_BINBYTES
      out.byte(parent.length);
      out.raw(parent);
      memoize(out);
      pickleTuple(out, to - from, (at) => pickleInteger(out, tokens[from + at] ?? 0));
      if (keys.length === 0) out.byte(0x4e); // NONE
      else {
        pickleTuple(out, keys.length, (at) => {
          const parts = keys[at] ?? ["", ""];
          pickleTuple(out, parts.length, (part) => pickleText(out, parts[part] ?? ""));
        });
      }
      out.byte(0x87); // TUPLE3
      memoize(out);
    });
  },
};

function frame(out: Bytes, body: () => void): void {
  out.byte(0x80); // PROTO 5
  out.byte(5);
  out.byte(0x95); // FRAME
  const at = out.length;
  out.uintLE(0, 6);
  out.uintLE(0, 2);
  body();
  out.byte(0x2e); // STOP
  out.patchLength(at, out.length - at - 8);
}

const memoize = (out: Bytes): void => out.byte(0x94);

function pickleText(out: Bytes, value: string): void {
  const bytes = Buffer.from(value, "utf8");
  if (bytes.length < 256) {
    out.byte(0x8c); // SHORT_BINUNICODE
    out.byte(bytes.length);
  } else {
    out.byte(0x58); // BINUNICODE
    out.uintLE(bytes.length, 4);
  }
  out.raw(bytes);
  memoize(out);
}

function pickleTuple(out: Bytes, length: number, item: (at: number) => void): void {
  if (length > 3) out.byte(0x28); // MARK
  for (let at = 0; at < length; at++) item(at);
  out.byte(length > 3 ? 0x74 : ([0x29, 0x85, 0x86, 0x87][length] ?? 0x74));
  if (length > 0) memoize(out);
}

function pickleInteger(out: Bytes, value: number): void {
  if (value < 0x100) {
    out.byte(0x4b); // BININT1
    out.byte(value);
  } else if (value < 0x1_0000) {
    out.byte(0x4d); // BININT2
    out.uintLE(value, 2);
  } else {
    out.byte(0x4a); // BININT
    out.uintLE(value, 4);
  }
}

const cbor: Encoder = {
  text(out, value) {
    const bytes = Buffer.from(value, "utf8");
    cborHead(out, 3, bytes.length);
    out.raw(bytes);
  },
  block(out, parent, tokens, from, to, keys) {
    cborHead(out, 4, 3);
    cborHead(out, 2, parent.length);
    out.raw(parent);
    cborHead(out, 4, to - from);
    for (let at = from; at < to; at++) cborHead(out, 0, tokens[at] ?? 0);
    if (keys.length === 0) {
      out.byte(0xf6);
      return;
    }
    cborHead(out, 4, keys.length);
    for (const parts of keys) {
      cborHead(out, 4, parts.length);
      for (const part of parts) cbor.text(out, part);
    }
  },
};

function cborHead(out: Bytes, major: number, value: number): void {
  const top = major << 5;
  if (value < 24) out.byte(top | value);
  else if (value < 0x100) {
    out.byte(top | 24);
    out.byte(value);
  } else if (value < 0x1_0000) {
    out.byte(top | 25);
    out.uintBE(value, 2);
  } else {
    out.byte(top | 26);
    out.uintBE(value, 4);
  }
}

/** Hashes are 32 bytes, one per character, so that they can be keys of a Map. */
export function sha256BlockHasher(algorithm: "sha256" | "sha256_cbor"): BlockHasher {
  const encoder = algorithm === "sha256" ? pickle : cbor;
  const out = new Bytes();
  encoder.text(out, "vllm-none-hash");
  const none = Buffer.from(out.digest(), "latin1");
  return (parent, tokens, from, to, extra) => {
    out.length = 0;
    const above = parent === null ? none : Buffer.from(String(parent), "latin1");
    encoder.block(out, above, tokens, from, to, taggedKeys(blockKeys(extra), from === 0));
    return out.digest();
  };
}
