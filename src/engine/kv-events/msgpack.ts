// Writes msgpack as Python's msgspec does: shortest integers, floats always of 64 bits, raw bytes as bin. Below the event
// log; pure. It must stay byte-exact, which is why it is no general encoder: what KV events need, and nothing else.

/** A number that is a float even when it is whole. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

export type Packable = null | number | bigint | string | Uint8Array | Float | readonly Packable[] | PackableMap;
/** Keys keep their order. */
export interface PackableMap {
  readonly [key: string]: Packable;
}

/** The msgpack bytes of a value. */
export function pack(value: Packable): Buffer {
  const writer = new Writer();
  writer.any(value);
  return writer.bytes();
}

class Writer {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 0;

  bytes(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#at));
  }

  any(value: Packable): void {
    if (value === null) this.#byte(0xc0);
    else if (typeof value === "number") this.#integer(value);
    else if (typeof value === "bigint") this.#u64(value);
    else if (typeof value === "string") this.#text(value);
    else if (value instanceof Float) this.#float(value.value);
    else if (value instanceof Uint8Array) this.#binary(value);
    else if (isList(value)) this.#list(value);
    else this.#map(value);
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + bytes));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }

  #byte(value: number): void {
    this.#room(1);
    this.#buffer[this.#at++] = value;
  }

  #sized(tag: number, value: number, bytes: 1 | 2 | 4): void {
    this.#room(1 + bytes);
    this.#buffer[this.#at++] = tag;
    this.#at = this.#buffer.writeUIntBE(value, this.#at, bytes);
  }

  #integer(value: number): void {
    if (value < 0 || !Number.isInteger(value)) throw new RangeError(`${value} is no token, id or size`);
    if (value < 0x80) this.#byte(value);
    else if (value <= 0xff) this.#sized(0xcc, value, 1);
    else if (value <= 0xffff) this.#sized(0xcd, value, 2);
    else if (value <= 0xffff_ffff) this.#sized(0xce, value, 4);
    else this.#u64(BigInt(value));
  }

  #u64(value: bigint): void {
    if (value <= 0xffff_ffffn) {
      this.#integer(Number(value));
      return;
    }
    this.#byte(0xcf);
    this.#room(8);
    this.#at = this.#buffer.writeBigUInt64BE(value, this.#at);
  }

  #float(value: number): void {
    this.#byte(0xcb);
    this.#room(8);
    this.#at = this.#buffer.writeDoubleBE(value, this.#at);
  }

  #text(value: string): void {
    const bytes = Buffer.from(value, "utf8");
    if (bytes.length < 32) this.#byte(0xa0 | bytes.length);
    else if (bytes.length <= 0xff) this.#sized(0xd9, bytes.length, 1);
    else this.#sized(bytes.length <= 0xffff ? 0xda : 0xdb, bytes.length, bytes.length <= 0xffff ? 2 : 4);
    this.#raw(bytes);
  }

  #binary(bytes: Uint8Array): void {
    if (bytes.length <= 0xff) this.#sized(0xc4, bytes.length, 1);
    else this.#sized(bytes.length <= 0xffff ? 0xc5 : 0xc6, bytes.length, bytes.length <= 0xffff ? 2 : 4);
    this.#raw(bytes);
  }

  #raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #list(list: readonly Packable[]): void {
    if (list.length < 16) this.#byte(0x90 | list.length);
    else this.#sized(list.length <= 0xffff ? 0xdc : 0xdd, list.length, list.length <= 0xffff ? 2 : 4);
    for (const entry of list) this.any(entry);
  }

  #map(map: PackableMap): void {
    const entries = Object.entries(map);
    if (entries.length < 16) this.#byte(0x80 | entries.length);
    else this.#sized(0xde, entries.length, 2);
    for (const [key, value] of entries) {
      this.#text(key);
      this.any(value);
    }
  }
}

const isList = (value: Packable): value is readonly Packable[] => Array.isArray(value);
