// Loads zeromq and msgpack, which are optional packages, when the first subscription is wanted. It must never be imported by
// what runs without KV events.
import type * as Zmq from "zeromq";

export interface EventTools {
  readonly zmq: typeof Zmq;
  readonly unpack: (bytes: Uint8Array) => unknown;
}

/** @throws Error that says which package is missing and how it is had */
export async function loadEventTools(): Promise<EventTools> {
  try {
    const [zmq, { unpackPayload }] = await Promise.all([import("zeromq"), import("./payload.ts")]);
    return { zmq, unpack: unpackPayload };
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    throw new Error(
      `reading KV events needs the optional packages zeromq and @msgpack/msgpack: npm install zeromq @msgpack/msgpack (${reason})`,
      { cause: error },
    );
  }
}
