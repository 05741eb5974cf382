// Row E4, the most frequent bug of routers: after any mix of successes, faults, aborts and retries every count of load is
// back at 0 and no socket is left. The mixes are drawn from a seed, against simulated engines with their own faults.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { startEngine, type Fault, type RunningEngine } from "../../src/engine/serve.ts";
import { Random } from "../../src/engine/core/index.ts";
import { RawClient, rawRequest } from "../helpers/http-client.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { turns, until } from "../helpers/until.ts";

const faults = [
  "",
  "",
  "",
  "error_status:500",
  "error_status:503",
  "error_status:429",
  "error_status:400",
  "queue_full",
  "error_frame:0",
  "error_frame:2",
  "cut_mid_stream:reset:0",
  "cut_mid_stream:reset:2",
  "cut_mid_stream:clean:1",
  "cut_mid_stream:half_frame:1",
  "cut_mid_stream:half_chunk:1",
  "stall_mid_stream:1",
  "hang_before_headers",
  "hang",
] as const;

const paths = ["/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/messages"] as const;

/** One client: what it asks for, and when it leaves, if it does. */
async function visit(port: number, random: Random): Promise<void> {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.unit() * list.length)] as T;
  const path = pick(paths);
  const stream = random.unit() < 0.6 && path !== "/v1/embeddings";
  const fault = pick(faults);
  const text = { model: random.unit() < 0.05 ? "unknown" : "m", max_tokens: 1 + Math.floor(random.unit() * 8), stream };
  const input =
    path === "/v1/completions"
      ? { prompt: "x" }
      : path === "/v1/embeddings"
        ? { input: "x" }
        : { messages: [{ role: "user", content: "x" }] };
  const client = await RawClient.connect(port);
  const bytes = rawRequest(
    "POST",
    path,
    JSON.stringify({ ...text, ...input }),
    fault === "" ? [] : [`x-sim-fault: ${fault}`],
  );
  client.write(random.unit() < 0.05 ? bytes.subarray(0, bytes.length - 3) : bytes);
  const patience = random.unit();
  if (patience < 0.5) {
    // stays to the end, or until a hung engine has taught that there is none
    await Promise.race([client.response().catch(() => undefined), turns(400)]);
  } else if (patience < 0.75) await turns(Math.floor(random.unit() * 30));
  if (random.unit() < 0.3) client.reset();
  else client.close();
}

async function settle(router: TestRouter, engines: readonly RunningEngine[]): Promise<void> {
  await router.idle();
  const { context } = router;
  assert.equal(context.bufferedBytes, 0);
  await until(
    () =>
      engines.every(
        (engine) => engine.state().inFlight === 0 && engine.state().running === 0 && engine.state().waiting === 0,
      ),
    "no engine works for anybody",
  );
  router.running.apply({ ...context.config.dynamic, endpoints: [] }, "none");
  await until(() => context.registry.list().length === 0, "no endpoint is left");
  await until(() => router.metric("lmstack_client_connections") === 0, "no client is connected");
  // checks that were under way may still hold a connection each
  await until(() => engines.every((engine) => engine.state().connections === 0), "no connection to an engine is left");
}

async function storm(t: TestContext, seed: number, visitors: number): Promise<void> {
  const always: readonly (readonly Fault[])[] = [
    [],
    [{ fault: "error_status", status: 503, share: 0.3 }],
    [{ fault: "cut_mid_stream", share: 0.3, after: 1 }],
  ];
  const engines = await Promise.all(
    always.map((list, i) => startEngine({ models: ["m"], preset: "fast", simApi: true, seed: seed + i, faults: list })),
  );
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  const random = new Random(seed);
  const router = await startTestRouter(
    t,
    [
      "--static-backends",
      engines.map((engine) => engine.url).join(","),
      "--first-event-timeout-seconds",
      "0.3",
      "--idle-timeout-seconds",
      "0.3",
      "--total-timeout-seconds",
      "1",
    ],
    { random: () => random.unit() },
  );
  for (let at = 0; at < visitors; at += 25) {
    await Promise.all(Array.from({ length: 25 }, (_, i) => visit(router.port, new Random(seed * 100_003 + at + i))));
  }
  await settle(router, engines);
}

for (const seed of [1, 2, 3, 4]) {
  test(`E4: load is back at 0 after a storm of faults and leaving clients (seed ${seed})`, async (t) => {
    await storm(t, seed, 150);
  });
}

test("E4: load is back at 0 after a storm in which engines crash", async (t) => {
  const engines = await Promise.all(
    [0, 1, 2].map((i) => startEngine({ models: ["m"], preset: "fast", simApi: true, seed: i })),
  );
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  const router = await startTestRouter(t, [
    "--static-backends",
    engines.map((engine) => engine.url).join(","),
    "--total-timeout-seconds",
    "1",
  ]);
  for (const doomed of engines) {
    const crowd = Promise.all(Array.from({ length: 40 }, (_, i) => visit(router.port, new Random(i + doomed.port))));
    await turns(20);
    doomed.crash();
    await crowd;
  }
  await router.idle();
});
