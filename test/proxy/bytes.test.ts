// Rows A1 and A2 of what a correct router does, on real sockets: request bodies reach the engine byte for byte, answers
// reach the client as they came, however either was cut.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { RawClient, dataOf, exchange, post, rawRequest } from "../helpers/http-client.ts";
import {
  chunk,
  done,
  event,
  jsonAnswer,
  lastChunk,
  startRawEngine,
  streamHead,
  wholeStream,
  type RawConnection,
} from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

const oddBodies: readonly [string, string][] = [
  ["unknown fields", '{"model":"test-model","from_the_future":{"a":[1,2.50,-0,1e400]},"messages":[]}'],
  ["odd spacing", '\r\n {\t"messages" :\n[ ] , "model"\r\n:  "test-model" } \n'],
  ["a repeated model key, of which the last counts", '{"model":"unknown","messages":[],"model":"test-model"}'],
  ["an escaped model", '{"model":"test\\u002dmodel","messages":[]}'],
  ["an escaped key", '{"mod\\u0065l":"test-model","messages":[]}'],
  [
    "a model inside of something else first",
    '{"x":{"model":"unknown"},"messages":["\\"model\\":\\"unknown\\""],"model":"test-model"}',
  ],
  [
    "text beyond ASCII, and half of a surrogate pair",
    '{"model":"test-model","messages":[{"content":"\u00e4\u{1f600} \\ud83d"}]}',
  ],
  [
    "numbers that no double holds",
    '{"model":"test-model","seed":12345678901234567890,"logit_bias":{"1":0.1000000000000000055}}',
  ],
];

for (const [what, body] of oddBodies) {
  test(`A1: a body with ${what} reaches the engine byte for byte`, async (t) => {
    const engine = await startRawEngine(t);
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    const response = await post(router.port, "/v1/chat/completions", body);
    assert.equal(response.status, 200, response.text);
    assert.deepEqual(engine.requests[0]?.body, Buffer.from(body));
  });
}

for (const bytes of [65_535, 65_536, 65_537, 300_000, 5 * 1024 * 1024]) {
  test(`A1: a body of ${bytes} bytes reaches the engine byte for byte`, async (t) => {
    const engine = await startRawEngine(t);
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    const before = '{"messages":[{"content":"';
    const after = '"}],"model":"test-model"}';
    const body =
      before +
      randomBytes(bytes)
        .toString("base64")
        .slice(0, bytes - before.length - after.length) +
      after;
    assert.equal(body.length, bytes);
    const response = await post(router.port, "/v1/chat/completions", body);
    assert.equal(response.status, 200, response.text);
    assert.ok(engine.requests[0]?.body.equals(Buffer.from(body)));
  });
}

test("A1: a chunked request reaches the engine with one content-length and the same bytes", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const body = Buffer.from(JSON.stringify({ model: "test-model", prompt: "x".repeat(100_000) }));
  const client = await RawClient.connect(router.port);
  client.write("POST /v1/completions HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
  for (let at = 0; at < body.length; at += 7001) client.write(chunk(body.subarray(at, at + 7001)));
  client.write(lastChunk);
  const response = await client.response();
  assert.equal(response.status, 200, response.text);
  const request = engine.requests[0];
  assert.ok(request?.body.equals(body));
  assert.equal(request?.header("content-length"), String(body.length));
  assert.equal(request?.header("transfer-encoding"), undefined);
});

test("A1: a body in pieces of one byte is read as the whole", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const bytes = rawRequest("POST", "/v1/completions", '{"prompt":"\\"\\\\","model":"test-model"}');
  const client = await RawClient.connect(router.port);
  for (const byte of bytes) {
    await new Promise<void>((resolve) => client.socket.write(Buffer.of(byte), () => resolve()));
  }
  assert.equal((await client.response()).status, 200);
  assert.equal(engine.requests[0]?.body.toString(), '{"prompt":"\\"\\\\","model":"test-model"}');
});

test("A1: an alias changes the bytes of the last model's value and no other", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, [
    "--static-backends",
    engine.url,
    "--static-models",
    "test-model",
    "--static-aliases",
    "gpt:test-model",
  ]);
  const body = '{ "model" : "gpt" , "n":1.0, "model":\t"g\\u0070t", "x":"gpt"}';
  assert.equal((await post(router.port, "/v1/completions", body)).status, 200);
  assert.equal(engine.requests[0]?.body.toString(), '{ "model" : "gpt" , "n":1.0, "model":\t"test-model", "x":"gpt"}');
  assert.equal(
    engine.requests[0]?.header("content-length"),
    String(body.length - '"g\\u0070t"'.length + '"test-model"'.length),
  );
});

test("A1: an alias is spliced into a body that came in pieces around it", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, [
    "--static-backends",
    engine.url,
    "--static-models",
    "test-model",
    "--static-aliases",
    "a-long-alias:test-model",
  ]);
  const body = Buffer.from(`{"prompt":"${"x".repeat(70_000)}","model":"a-long-alias","rest":"${"y".repeat(70_000)}"}`);
  const at = body.indexOf("a-long-alias");
  for (const cut of [at - 1, at, at + 3, at + 12, at + 13]) {
    const client = await RawClient.connect(router.port);
    client.write(`POST /v1/completions HTTP/1.1\r\nhost: test\r\ncontent-length: ${body.length}\r\n\r\n`);
    client.write(body.subarray(0, cut));
    await until(() => router.context.bufferedBytes === cut, `the first ${cut} bytes have arrived`);
    client.write(body.subarray(cut));
    assert.equal((await client.response()).status, 200);
    assert.equal(engine.requests.at(-1)?.body.toString(), body.toString().replace("a-long-alias", "test-model"));
    client.close();
  }
});

test("A1: a form's model is found and the form is untouched", async (t) => {
  const engine = await startRawEngine(t, {
    handler: (request) => request.connection.write(jsonAnswer({ text: "hello" })),
  });
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const sound = randomBytes(200_000);
  const body = Buffer.concat([
    Buffer.from(
      '--b0und\r\nContent-Disposition: form-data; name="file"; filename="name=model.wav"\r\nContent-Type: audio/wav\r\n\r\n',
    ),
    sound,
    Buffer.from('\r\n--b0und\r\ncontent-disposition: form-data; name="model"\r\n\r\ntest-model\r\n--b0und--\r\n'),
  ]);
  const response = await post(router.port, "/v1/audio/transcriptions", body, [
    "content-type: multipart/form-data; boundary=b0und",
  ]);
  assert.equal(response.status, 200, response.text);
  assert.ok(engine.requests[0]?.body.equals(body));
  assert.equal(engine.requests[0]?.header("content-type"), "multipart/form-data; boundary=b0und");
});

/** Runs a stream through the router; the engine sends the pieces one after the other. */
async function relayed(
  port: number,
  path = "/v1/chat/completions",
  version = "1.1",
): Promise<Awaited<ReturnType<typeof exchange>>> {
  const request = rawRequest("POST", path, '{"model":"test-model","stream":true}')
    .toString()
    .replace("HTTP/1.1", `HTTP/${version}`);
  return await exchange(port, request);
}

async function sendPieces(connection: RawConnection, pieces: readonly (Buffer | string)[]): Promise<void> {
  for (const piece of pieces) {
    if (connection.gone) return;
    await connection.flushed(piece);
  }
}

test("A2: a stream in vLLM's framing passes byte for byte, chunk framing and all", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const stream = wholeStream("one", "two \u00e4", "three");
  engine.script((request) => request.connection.write(stream));
  const client = await RawClient.connect(router.port);
  client.write(rawRequest("POST", "/v1/chat/completions", '{"model":"test-model","stream":true}'));
  const response = await client.response();
  assert.ok(response.complete);
  const bodyOf = (bytes: Buffer): Buffer => bytes.subarray(bytes.indexOf("\r\n\r\n") + 4);
  assert.equal(bodyOf(client.received).toString(), bodyOf(stream).toString());
});

test("A2: wherever the engine's bytes are cut, the client reads the same events and never half of one", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const stream = wholeStream("one", "two");
  const frames = event("one") + event("two") + done;
  for (let cut = 1; cut < stream.length; cut++) {
    engine.script((request) => void sendPieces(request.connection, [stream.subarray(0, cut), stream.subarray(cut)]));
    const response = await relayed(router.port);
    assert.equal(response.text, frames, `cut at ${cut}`);
    assert.ok(response.complete);
    for (const piece of response.chunks)
      assert.ok(piece.toString().endsWith("\n\n"), `cut at ${cut}: a chunk ends in mid-frame`);
  }
});

test("A2: any stream of frames, in any HTTP chunks, in any segments, reaches the client equal", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const frame = fc.oneof(
    { weight: 4, arbitrary: fc.string({ unit: "grapheme", maxLength: 60 }).map(event) },
    { weight: 1, arbitrary: fc.string({ maxLength: 10 }).map((text) => `: ${text.replaceAll(/[\r\n]/g, "")}\n\n`) },
    { weight: 1, arbitrary: fc.string({ maxLength: 20 }).map((text) => event(text).replaceAll("\n", "\r\n")) },
    { weight: 1, arbitrary: fc.string({ maxLength: 20 }).map((text) => `event: x\nid: 1\n${event(text)}`) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 20_000 }).map((size) => event("x".repeat(size))) },
  );
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(frame, { minLength: 1, maxLength: 12 }),
      cuts,
      cuts,
      async (frames, chunkCuts, segmentCuts) => {
        // the first frame is an event, because comments before it are dropped
        const payload = Buffer.from([event("first"), ...frames, done].join(""));
        const framed = Buffer.concat([
          Buffer.from(streamHead()),
          ...cutAt(payload, chunkCuts).map((piece) => chunk(piece)),
          Buffer.from(lastChunk),
        ]);
        engine.script((request) => void sendPieces(request.connection, cutAt(framed, segmentCuts)));
        const response = await relayed(router.port);
        assert.equal(response.text, payload.toString());
        assert.ok(response.complete);
      },
    ),
    { numRuns: 150 },
  );
});

/** Non-empty pieces of the bytes, cut at these places between 0 and 1. */
function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => Math.floor(place * bytes.length)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).flatMap((end, i) => (end > (at[i] ?? 0) ? [bytes.subarray(at[i] ?? 0, end)] : []));
}

test("A2: a frame far larger than any read passes whole", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const big = event(randomBytes(400_000).toString("base64"));
  engine.script((request) =>
    request.connection.write(
      Buffer.concat([Buffer.from(streamHead()), chunk(event("a")), chunk(big), chunk(done), Buffer.from(lastChunk)]),
    ),
  );
  const response = await relayed(router.port);
  assert.equal(response.text, event("a") + big + done);
});

test("A2: an HTTP/1.0 client gets the events without chunk framing, to the end of the connection", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  engine.script((request) => request.connection.write(wholeStream("one", "two")));
  const response = await relayed(router.port, "/v1/chat/completions", "1.0");
  assert.equal(response.header("transfer-encoding"), undefined);
  assert.equal(response.text, event("one") + event("two") + done);
  assert.equal(response.end, "closed");
});

test("A2: the content type decides whether an answer is a stream, not the request", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  // unasked for, and the engine dies: it is a stream, so the client is told by an error frame
  engine.script((request) => {
    request.connection.write(Buffer.concat([Buffer.from(streamHead()), chunk(event("one"))]));
    request.connection.end();
  });
  const stream = await post(router.port, "/v1/chat/completions", '{"model":"test-model"}');
  assert.equal(stream.header("content-type"), "text/event-stream; charset=utf-8");
  assert.match(stream.text, /"code":"stream_interrupted"/);
  // asked for, in the way that Python takes for true, and the engine answers JSON
  engine.script((request) => request.connection.write(jsonAnswer({ object: "chat.completion" })));
  const json = await post(router.port, "/v1/chat/completions", '{"model":"test-model","stream":"yes"}');
  assert.equal(json.header("content-type"), "application/json");
  assert.deepEqual(json.json(), { object: "chat.completion" });
});

for (const framing of ["length", "chunked", "until close"] as const) {
  test(`A2: answers that are neither JSON nor a stream pass (text/srt, audio; framed by ${framing})`, async (t) => {
    const engine = await startRawEngine(t);
    const router = await startTestRouter(t, ["--static-backends", engine.url]);
    const sound = randomBytes(150_000);
    const answers: readonly [string, Buffer][] = [
      ["text/srt", Buffer.from("1\n00:00:00,000 --> 00:00:01,000\nHello\n\n")],
      ["audio/wav", sound],
    ];
    for (const [type, body] of answers) {
      engine.script((request) => {
        const field =
          framing === "length"
            ? `content-length: ${body.length}\r\n`
            : framing === "chunked"
              ? "transfer-encoding: chunked\r\n"
              : "";
        const bytes =
          framing === "chunked" ? Buffer.concat([...cutAt(body, [0.3, 0.7]).map(chunk), Buffer.from(lastChunk)]) : body;
        request.connection.write(
          Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n${field}\r\n`), bytes]),
        );
        if (framing === "until close") request.connection.end();
      });
      const response = await post(router.port, "/v1/audio/speech", '{"model":"test-model","input":"Hello"}');
      assert.equal(response.status, 200);
      assert.equal(response.header("content-type"), type);
      assert.ok(response.complete);
      assert.ok(response.body.equals(body));
    }
  });
}

test("A2: usage and text in a stream that names them oddly do not disturb it", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const frames = [
    event('a string with "error" and "usage":{ in it'),
    'data: {"error":null,"choices":[]}\n\n',
    'data: {"choices":[],"error":{"message":"not the first key: content of a tool"}}\n\n',
    "data: [DONE] is what the model said\n\n",
    "retry: 5\n\n",
    done,
  ];
  engine.script((request) =>
    request.connection.write(Buffer.concat([Buffer.from(streamHead()), ...frames.map(chunk), Buffer.from(lastChunk)])),
  );
  const response = await relayed(router.port);
  assert.equal(response.text, frames.join(""));
  assert.equal(dataOf(response).at(-1), "[DONE]");
});

test("A2: an HTTP/1.0 client gets a chunked JSON answer without its chunks", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const pieces = ['{"a":', '"b"', "}"].map(chunk);
  engine.script((request) =>
    request.connection.write(
      Buffer.concat([
        Buffer.from("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"),
        ...pieces,
        Buffer.from(lastChunk),
      ]),
    ),
  );
  const response = await relayed(router.port, "/v1/chat/completions", "1.0");
  assert.deepEqual(response.json(), { a: "b" });
  assert.equal(response.end, "closed");
});

test("A2: interim answers of an engine are its own business; the final one passes", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  engine.script((request) =>
    request.connection.write(
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n${jsonAnswer({ ok: true })}`,
    ),
  );
  const response = await relayed(router.port);
  assert.deepEqual(response.interim, []);
  assert.deepEqual(response.json(), { ok: true });
});

test("A1: an alias is spliced into a form as into JSON", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, [
    "--static-backends",
    engine.url,
    "--static-models",
    "test-model",
    "--static-aliases",
    "whisper:test-model",
  ]);
  const form = (model: string): string =>
    `--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n${model}\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nwhisper\r\n--b--\r\n`;
  const response = await post(router.port, "/v1/audio/transcriptions", form("whisper"), [
    "content-type: multipart/form-data; boundary=b",
  ]);
  assert.equal(response.status, 200, response.text);
  assert.equal(engine.requests[0]?.body.toString(), form("test-model"));
});

test("A2: an event stream that something has compressed passes as it is", async (t) => {
  // no event could be found in it, so it was held back to its end and then called broken
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const compressed = gzipSync(event("one") + done);
  engine.script(({ connection }) =>
    connection.write(
      Buffer.concat([Buffer.from(streamHead(["content-encoding: gzip"])), chunk(compressed), Buffer.from(lastChunk)]),
    ),
  );
  const response = await post(router.port, "/v1/chat/completions", '{"model":"test-model","stream":true}');
  assert.equal(response.header("content-encoding"), "gzip");
  assert.ok(response.complete);
  assert.equal(gunzipSync(response.body).toString(), event("one") + done);
});
