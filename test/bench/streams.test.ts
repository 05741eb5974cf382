// The stream client and the fake engine, against each other and against peers that misbehave.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { chatBody } from "./overhead/bodies.ts";
import { startFakeEngines } from "./overhead/fake-engine.ts";
import { RequestScanner } from "./overhead/request-scanner.ts";
import type { ScannedRequest } from "./overhead/request-scanner.ts";
import { FrameScanner, FrameTally } from "./frame-scanner.ts";
import { SENT_MARK, SentFrame, monotonicNs, readSentNs } from "./sse-marks.ts";
import { runStreams } from "./streams.ts";

test("streams from the fake engines arrive without error and with their delays", async () => {
  const engines = await startFakeEngines(2, 5);
  try {
    const result = await runStreams({ url: engines.urls, streams: 6, seconds: 0.2, settleMs: 0 });
    assert.equal(result.errors, 0);
    assert.ok(result.frames >= 60, `${result.frames} frames of about 240`);
    assert.ok(result.delayP50Ms >= 0 && result.delayP99Ms >= result.delayP50Ms);
  } finally {
    engines.close();
  }
});

test("refused connections, error answers and streams that end are counted with their reason", async () => {
  const engines = await startFakeEngines(1, 5);
  const port = engines.ports[0];
  try {
    const engine = `http://127.0.0.1:${port}`;
    const ended = JSON.stringify({ model: "bench", stream: true, max_tokens: 1 });
    const server = net
      .createServer((socket) => socket.on("data", () => socket.end("HTTP/1.1 503 Busy\r\n\r\n")))
      .listen(0);
    await once(server, "listening");
    const busy = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const common = { streams: 2, seconds: 0.05, settleMs: 0 };
    assert.deepEqual((await runStreams({ ...common, url: busy })).reasons, { "answered 503": 2 });
    server.close();
    assert.deepEqual((await runStreams({ ...common, url: busy })).reasons, { ECONNREFUSED: 2 });
    const silent = await runStreams({ ...common, url: engine, body: ended, seconds: 0.3, silentAfterMs: 200 });
    assert.deepEqual(silent.reasons, { "fell silent": 2 });
  } finally {
    engines.close();
  }
});

test("a frame is counted once however its bytes are cut", () => {
  const frame = new SentFrame("x");
  const bytes = Buffer.concat([1, 2, 3].map(() => Buffer.from(frame.now())));
  for (let cut = 0; cut <= bytes.length; cut++) {
    const tally = new FrameTally();
    tally.measuring = true;
    const scanner = new FrameScanner(SENT_MARK, true, tally);
    const found = scanner.push(bytes.subarray(0, cut)) + scanner.push(bytes.subarray(cut));
    assert.equal(found, 3, `cut at ${cut}`);
    assert.equal(tally.delays.count, 3);
    assert.ok(tally.delays.maxMs < 60_000, "the digits were read whole");
  }
});

test("reads that are alike are counted one by one, and one that is not like them is looked at anew", () => {
  const frame = new SentFrame("x");
  const tally = new FrameTally();
  tally.measuring = true;
  const scanner = new FrameScanner(SENT_MARK, true, tally);
  const shared = Buffer.alloc(4096, SENT_MARK); // what lies behind a read is not of it
  const read = (bytes: Buffer): number => {
    bytes.copy(shared);
    return scanner.push(shared, bytes.length);
  };
  for (let i = 0; i < 3; i++) assert.equal(read(frame.now()), 1);
  const bytes = Buffer.from(frame.now());
  const cut = bytes.indexOf(SENT_MARK) + 3;
  assert.equal(read(Buffer.concat([bytes, bytes])), 2);
  assert.equal(read(bytes.subarray(0, cut)), 0);
  assert.equal(read(Buffer.concat([bytes.subarray(cut), bytes.subarray(0, cut)])), 1);
  assert.equal(read(bytes.subarray(cut)), 1);
  assert.equal(read(bytes), 1);
  assert.equal(tally.delays.count, 8);
});

test("a frame says when it was sent, also while an earlier one is still being read", () => {
  const frame = new SentFrame("x");
  const before = monotonicNs();
  const first = frame.now();
  const sent = readSentNs(first, first.indexOf(SENT_MARK) + SENT_MARK.length);
  assert.ok(sent >= Math.floor(before) && sent <= Math.ceil(monotonicNs()), `${sent}`);
  const copy = Buffer.from(first);
  frame.keep();
  assert.notEqual(frame.now(), first);
  assert.deepEqual(first, copy);
});

test("requests are found in any split, sized or chunked, one behind the other", () => {
  const sized = `POST /a HTTP/1.1\r\nContent-Length: 15\r\n\r\n{"stream":true}`;
  const chunked = `POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"max\r\na\r\n_tokens":3\r\n0\r\n\r\n`;
  const bytes = Buffer.from(`${sized}${chunked}GET /c HTTP/1.1\r\n\r\n`);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const seen: ScannedRequest[] = [];
    const scanner = new RequestScanner((request) => seen.push(request));
    scanner.push(bytes.subarray(0, cut));
    scanner.push(bytes.subarray(cut));
    assert.deepEqual(
      seen.map(({ path, stream }) => [path, stream]),
      [
        ["/a", true],
        ["/b", false],
        ["/c", false],
      ],
    );
  }
});

test("a chat body has exactly the size that was asked for", () => {
  for (const bytes of [300, 1000, 100_000, 1_048_576]) {
    const body = chatBody(bytes);
    assert.equal(Buffer.byteLength(body), bytes);
    assert.equal((JSON.parse(body) as { model: string }).model, "bench");
  }
});
