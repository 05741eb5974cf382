// Reads msgpack for the tests of KV events: integers above 2^53 come as bigint. It must not share code with the writer.

/** The value of the first msgpack item in `bytes`. */
export function unpack(bytes: Buffer): unknown {
  let at = 0;
  const uint = (length: number): number => {
    at += length;
    return bytes.readUIntBE(at - length, length);
  };
  const take = (length: number): Buffer => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  const list = (length: number): unknown[] => Array.from({ length }, () => item());
  const map = (length: number): Record<string, unknown> => {
    const found: Record<string, unknown> = {};
    for (let left = length; left > 0; left--) {
      const key = String(item());
      found[key] = item();
    }
    return found;
  };
  const item = (): unknown => {
    const tag = uint(1);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return map(tag & 0x0f);
    if (tag < 0xa0) return list(tag & 0x0f);
    if (tag < 0xc0) return take(tag & 0x1f).toString("utf8");
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc4:
        return Buffer.from(take(uint(1)));
      case 0xcb:
        return take(8).readDoubleBE(0);
      case 0xcc:
        return uint(1);
      case 0xcd:
        return uint(2);
      case 0xce:
        return uint(4);
      case 0xcf:
        return take(8).readBigUInt64BE(0);
      case 0xd9:
        return take(uint(1)).toString("utf8");
      case 0xdc:
        return list(uint(2));
      default:
        throw new Error(`no reader for tag ${tag.toString(16)}`);
    }
  };
  return item();
}
