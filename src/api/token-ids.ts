// Reads a list of token ids out of the bytes of a body, which is most of what choosing an engine for 100,000 ids costs. Below
// `prompt.ts`. Four bytes at a time and without a branch for each digit: ids have four to six of them in no order, and a loop
// over single digits, whose end is guessed wrong every second time, takes half as long again.

export interface TokenIds {
  readonly ids: Uint32Array;
  /** It is a list of ids and nothing else. */
  readonly whole: boolean;
}

const powers = Int32Array.of(1, 10, 100, 1000);
const zeros = 0x30303030;
const topBits = 0x80808080 | 0;
const comma = 0x2c;
/** With the comma: the list rarely has to grow. */
const bytesPerId = 6;

/**
 * As many numbers of a flat list as can be read: what is none ends it, and the engine will refuse such a prompt.
 * @param start where the list opens
 */
export function readTokenIds(body: Buffer, start: number): TokenIds {
  const { length } = body;
  const view = new DataView(body.buffer, body.byteOffset, length);
  let ids = new Uint32Array(Math.ceil((length - start) / bytesPerId));
  let count = 0;
  let at = skipSpace(body, start + 1);
  for (;;) {
    if (count === ids.length) ids = grown(ids);
    const room = ids.length;
    // ids of four to seven digits, one behind another
    for (const last = length - 8; at <= last && count < room;) {
      // digits become 0 to 9, the first one in the lowest byte; other bytes get their top bit set, and so may bytes behind them
      const low = view.getInt32(at, true) ^ zeros;
      const high = view.getInt32(at + 4, true) ^ zeros;
      const stops = ((high + 0x76767676) | high) & topBits;
      if ((((low + 0x76767676) | low) & topBits) !== 0 || stops === 0) break;
      const digits = (31 - Math.clz32(stops & -stops)) >> 3;
      if (body[at + 4 + digits] !== comma) break;
      ids[count++] = Math.imul(four(low), powers[digits] ?? 0) + four((high << (24 - 8 * digits)) << 8);
      at += 5 + digits;
      // as Python writes lists
      if (body[at] === 0x20) at++;
    }
    if (count === room) continue;
    // and the others
    at = skipSpace(body, at);
    const from = at;
    let id = 0;
    for (; at < length; at++) {
      const digit = (body[at] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) break;
      id = id * 10 + digit;
    }
    if (at === from) return { ids: shortened(ids, count), whole: false };
    ids[count++] = id;
    at = skipSpace(body, at);
    if (body[at] !== comma) return { ids: shortened(ids, count), whole: body[at] === 0x5d };
    at = skipSpace(body, at + 1);
  }
}

/** The number that four digits make. */
function four(digits: number): number {
  const pairs = (Math.imul(digits, 10) + (digits >>> 8)) & 0x00ff00ff;
  return (Math.imul(pairs, 100) + (pairs >>> 16)) & 0xffff;
}

function grown(ids: Uint32Array): Uint32Array<ArrayBuffer> {
  const longer = new Uint32Array(ids.length * 2);
  longer.set(ids);
  return longer;
}

/** Without its own memory where that would be small. */
function shortened(ids: Uint32Array, count: number): Uint32Array {
  return count * 2 < ids.length ? ids.slice(0, count) : ids.subarray(0, count);
}

function skipSpace(body: Buffer, from: number): number {
  let at = from;
  while (isSpace(body[at])) at++;
  return at;
}

function isSpace(code: number | undefined): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}
