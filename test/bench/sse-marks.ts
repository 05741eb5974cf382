// How the fake engine and the stream client speak about time: every SSE frame carries its send time, read from the
// monotonic clock that all processes of one machine share. Kept in one file so that writer and reader cannot drift
// apart. It must stay cheap: both ends run it 30,000 times a second on the core that they share.

/** What stands before the send time in a frame; 20 decimal digits follow, nanoseconds of CLOCK_MONOTONIC. */
export const SENT_MARK = Buffer.from('"sent":"', "latin1");

/** Digits of the send time, zero-padded so that a frame's length never changes. */
export const SENT_DIGITS = 20;

/** The send time of a frame that is about to be written. */
export function sentNow(): string {
  return process.hrtime.bigint().toString().padStart(SENT_DIGITS, "0");
}

/** Reads the digits that `sentNow` wrote. Exact below 2^53 ns, which is 104 days of uptime; afterwards within 2 ns. */
export function readSentNs(chunk: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + SENT_DIGITS; i++) value = value * 10 + ((chunk[i] ?? 48) - 48);
  return value;
}

/** A chunked SSE frame of 230 bytes of event (the size of a real vLLM chat chunk) in two halves around the send time. */
export function frameHalves(id: string): { readonly before: string; readonly after: string } {
  const head =
    `data: {"id":"chatcmpl-${id}","object":"chat.completion.chunk","created":1795419549,"model":"bench",` +
    `"choices":[{"index":0,"delta":{"content":" tok"},"logprobs":null,"finish_reason":null}],"sent":"`;
  const tail = '"}\n\n';
  const bytes = head.length + SENT_DIGITS + tail.length;
  return { before: `${bytes.toString(16)}\r\n${head}`, after: `${tail}\r\n` };
}
