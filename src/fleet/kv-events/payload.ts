// Unpacks the payload of a KV-event message. The package is optional and loaded with zeromq, by the first subscription.
import { Decoder } from "@msgpack/msgpack";

const decoders = new Map<number, Decoder>();

/**
 * The value of a msgpack payload; integers of 64 bits come as bigint.
 * @throws Error when it is none
 */
export function unpackPayload(bytes: Uint8Array): unknown {
  // no list can have more entries than bytes; limits are fixed per decoder, so that there is one for each power of two
  const limit = 2 ** Math.ceil(Math.log2(bytes.length + 1));
  let decoder = decoders.get(limit);
  if (decoder === undefined) {
    decoder = new Decoder({
      useBigInt64: true,
      maxArrayLength: limit,
      maxMapLength: limit,
      mapKeyConverter: (key) => (typeof key === "string" || typeof key === "number" ? key : String(key)),
    });
    decoders.set(limit, decoder);
  }
  return decoder.decode(bytes);
}
