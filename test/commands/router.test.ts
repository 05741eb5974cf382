// `lmstack router` and `lmstack engine` as two processes, put together by what they print.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../helpers/until.ts";
import { cli, start, startProgram } from "./process.ts";

test("router prints where it listens, relays to an engine of the command line, and drains on SIGTERM", async (t) => {
  const engine = start(t, ["engine", "--host", "127.0.0.1", "--port", "0", "--preset", "fast", "--model", "tiny"]);
  const [, engineUrl = ""] = await engine.says(/lmstack engine listening on (http:\S+)/);
  const router = start(t, ["router", "--host", "127.0.0.1", "--port", "0", "--static-backends", engineUrl]);
  const [, url = ""] = await router.says(/lmstack router listening on (http:\/\/127\.0\.0\.1:\d+)/);
  await router.says(/is ready and serves tiny/);

  const body = JSON.stringify({ model: "tiny", prompt: "Once", max_tokens: 20, stream: true });
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}/v1/completions`, { method: "POST", headers, body });
  assert.equal(response.status, 200);
  assert.match(await response.text(), /data: \[DONE\]\n\n$/);
  assert.equal((await fetch(`${url}/`)).status, 404, "the page belongs to up");

  router.child.kill("SIGTERM");
  await router.says(/draining/);
  assert.equal((await fetch(`${url}/ready`)).status, 503);
  // it keeps accepting for the drain delay; nobody has to wait that long here
  router.child.kill("SIGTERM");
  assert.deepEqual(await router.exit(), { code: 0, signal: null });
  assert.equal(router.err, "");
  engine.child.kill("SIGTERM");
  assert.deepEqual(await engine.exit(), { code: 0, signal: null });
});

test("router takes its options from the environment and says what it does not know", async (t) => {
  const router = start(t, ["router"], {
    LMSTACK_HOST: "127.0.0.1",
    LMSTACK_PORT: "0",
    LMSTACK_STATIC_BACKENDS: "http://127.0.0.1:9",
    LMSTACK_LOG_FORMAT: "json",
  });
  await router.says(/"msg":"lmstack router listening on http:\/\/127\.0\.0\.1:\d+"/);
  await until(() => router.out.includes("127.0.0.1:9"), "it says that the engine can't be reached");
  for (const line of router.out.trimEnd().split("\n")) assert.doesNotThrow(() => JSON.parse(line) as unknown, line);
});

test("F5: a router that may open few files says so when it starts, and one that may open enough does not", async (t) => {
  for (const limit of [256, 4096]) {
    const argv = [cli, "router", "--host", "127.0.0.1", "--port", "0", "--static-backends", "http://127.0.0.1:9"];
    const shell = ["-c", `ulimit -n ${limit}; exec "$0" "$@"`, process.execPath, ...argv];
    const router = startProgram(t, "sh", shell);
    await router.says(/lmstack router listening on/);
    const told = /may open 256 files, enough for about 96 requests at a time .* raise the limit to 4096 or more/.test(
      router.out,
    );
    assert.equal(told, limit === 256, router.out);
  }
});
