// The corpus of request smuggling through a real router on real sockets, before an engine that writes down every byte:
// what is ambiguous is refused and nothing of it gets through; what is accepted gets through as exactly the requests it
// is.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { loadRouterConfig } from "../../src/config/parse-command.ts";
import { systemClock } from "../../src/clock.ts";
import { startRouter, type RunningRouter } from "../../src/proxy/start-router.ts";
import { RawClient } from "../helpers/http-client.ts";
import { until } from "../helpers/until.ts";
import { methodNumber } from "./fuzz/llhttp.ts";
import { RecordingEngine, valuesOf } from "./recording-engine.ts";
import { smugglingCases, type EngineRequest, type SmugglingCase } from "./smuggling-cases.ts";

const engine = new RecordingEngine();
let router: RunningRouter;

before(async () => {
  await engine.listen();
  const argv = [
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--static-backends",
    `http://127.0.0.1:${engine.port}`,
    "--static-models",
    "m",
  ];
  const { config } = loadRouterConfig([...argv, "--log-level", "critical", "--log-format", "json"], {});
  router = await startRouter(config, { clock: systemClock, random: Math.random, version: "test", page: null });
  await until(() => router.context.registry.list().every((endpoint) => endpoint.known), "the engine is known");
});

after(() => {
  router.close();
  engine.close();
});

const sentinelBody = '{"model":"m","prompt":"sentinel"}';
const sentinel = `POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: ${sentinelBody.length}\r\n\r\n${sentinelBody}`;
const sentinelSeen: EngineRequest = { method: "POST", target: "/v1/completions", body: sentinelBody };

/** Hop-by-hop, or written by the router alone. */
const neverSent = ["transfer-encoding", "te", "trailer", "upgrade", "proxy-connection", "keep-alive", "expect"];

test("the corpus is not shrinking", () => {
  assert.ok(smugglingCases.length >= 60, `${smugglingCases.length} cases`);
  assert.equal(new Set(smugglingCases.map(({ name }) => name)).size, smugglingCases.length, "names are unique");
});

for (const attack of smugglingCases) {
  test(`A10: smuggling: ${attack.name}`, async () => {
    const seenBefore = engine.requests().length;
    const client = await RawClient.connect(router.port);
    client.write(Buffer.from(attack.bytes, "latin1"));
    const headRequest = attack.bytes.startsWith("HEAD");
    for (const status of attack.answers) {
      const answer = await client.response(headRequest);
      assert.equal(answer.status, status, client.received.toString("latin1"));
      assert.ok(answer.complete);
      if (status === 400 && attack.engine.length === 0)
        assert.equal(typeof (answer.json() as { error: { code: string } }).error.code, "string");
    }
    const other = await endConnection(client, attack);
    const seen = engine.requests().slice(seenBefore);
    for (const message of seen) {
      assert.deepEqual(valuesOf(message, "host"), [`127.0.0.1:${engine.port}`]);
      assert.deepEqual(valuesOf(message, "content-length").length, 1, "framed once");
      for (const name of [...neverSent, ...(attack.stripped ?? [])])
        assert.deepEqual(valuesOf(message, name), [], name);
    }
    const plain = seen.map(({ method, url, body }) => ({
      method: method === methodNumber("POST") ? "POST" : `method ${method}`,
      target: url,
      body: Buffer.concat(body).toString("latin1"),
    }));
    assert.deepEqual(plain, [...attack.engine, sentinelSeen]);
    other.close();
    client.close();
  });
}

/**
 * Sends one more request: on the same connection where it must be fit for it, which shows that client and router agree
 * on where the messages end, else on a new one. When its answer is here, whatever the case had sent has been acted on.
 */
async function endConnection(client: RawClient, attack: SmugglingCase): Promise<RawClient> {
  const received = client.received.length;
  if (attack.closes) {
    assert.equal(await client.ended(), "closed");
    assert.equal(client.received.length, received, "nothing comes behind the last answer");
  }
  const other = attack.closes || attack.waits === true ? await RawClient.connect(router.port) : client;
  other.write(sentinel);
  assert.equal((await other.response()).status, 200);
  if (attack.waits === true) assert.equal(client.received.length, 0, "no answer before the request is whole");
  return other;
}
