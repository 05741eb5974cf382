// `lmstack check URL` on a running router: what it says of engines that are well, that are away, and that publish no events.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkStack } from "../../src/commands/check-stack.ts";
import { startEngine } from "../../src/engine/serve.ts";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

async function said(url: string, key: string | null = null): Promise<{ code: number; text: string }> {
  let text = "";
  const code = await checkStack(url, key, (piece) => (text += piece));
  return { code, text };
}

test("all well is said line by line, with exit code 0", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const { code, text } = await said(`${router.url}/`);
  assert.equal(text, `ok     the router is ready\nok     127.0.0.1:${engine.port} ready: test-model\n`);
  assert.equal(code, 0);
});

test("an engine that is away, and one that publishes no events though the policy wants them", async (t) => {
  const engine = await startEngine({ preset: "fast", models: ["m"] });
  t.after(() => engine.close());
  const away = "http://127.0.0.1:1";
  const argv = ["--routing-logic", "kvaware", "--static-backends", `${engine.url},${away}`];
  const router = await startTestRouter(t, argv, { early: true });
  const { sources } = router.context.kv;
  await until(() => sources.stateOf(`127.0.0.1:${engine.port}`) === "no_events", "the engine was asked");
  await until(() => router.context.registry.list()[1]?.asked === true, "the other was asked");
  const { code, text } = await said(router.url);
  assert.match(text, /^WRONG  127\.0\.0\.1:1 starting: no model; .*ECONNREFUSED/m);
  assert.match(text, /^WRONG  127\.0\.0\.1:\d+ KV events no_events: it publishes none: give it --kv-events-config; /m);
  assert.equal(code, 1);
});

test("nobody there, and something else there", async (t) => {
  const gone = await startRawEngine(t);
  gone.kill();
  const { code, text } = await said(gone.url);
  assert.match(text, /^WRONG  http:\/\/127\.0\.0\.1:\d+ does not answer: .*(ECONNREFUSED|ECONNRESET)/);
  assert.equal(code, 1);
  const other = await startRawEngine(t, {
    handler: (request) => request.connection.write("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"),
  });
  assert.match((await said(other.url)).text, /is that an lmstack router\?/);
});
