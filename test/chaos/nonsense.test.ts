// A port scan of nonsense neither stops service to others nor leaves a socket. The long form with its times is in
// test/e2e/nonsense.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { goodAnswer } from "../conformance/stand.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";
import { Load } from "./load.ts";
import { Nonsense } from "./nonsense.ts";

test("A10, E4: slow sockets, broken requests and random bytes fail nobody else's requests, and leave no socket", async (t) => {
  const engine = await startRawEngine(t, { models: ["m"], handler: goodAnswer });
  const router = await startTestRouter(t, ["--static-backends", engine.url, "--head-timeout-seconds", "1"]);
  const load = new Load(t, { port: router.port, perSecond: 40, model: "m", tokens: 1 });
  const nonsense = new Nonsense({ port: router.port, sockets: 300, perSecond: 100, seed: 1 });
  t.after(() => nonsense.stop());
  await until(() => nonsense.sitting === 300, "all sit there");
  // those that sit are cut and replaced, so that more than 300 have been there
  await until(
    () => nonsense.connections > 1200 && load.ended > 80,
    "the load and the nonsense have gone on for a while",
    60_000,
  );
  nonsense.stop();
  await load.stop();
  assert.deepEqual(load.failures, []);
  await until(() => router.metric("lmstack_client_connections") === 0, "no connection of a client is left");
  await router.idle();
});
