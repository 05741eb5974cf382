// The workload by which routers were compared, in real time: real sockets, simulated engines whose caches are too small for all.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import { multiTurn, peersWorkload } from "../helpers/multi-turn.ts";
import { startTestRouter } from "../helpers/router.ts";

const sum = (list: readonly number[]): number => list.reduce((total, n) => total + n, 0);

for (const replicas of [1, 2, 4]) {
  const least = replicas === 1 ? 0.785 : replicas === 2 ? 0.75 : 0.72;
  test(`multi-turn chat on four engines behind ${replicas} router(s): ${least} of 0.797 is found cached, without a session header`, async (t) => {
    // an engine as in that comparison: 3,500 blocks of 64 characters, 0.3 ms for each that it has not
    const preset = { id: "peers", b0Us: 5000, b1Us: 18.75, b2Us: 100, b3Us: 0, kvBlocks: 3500 };
    const engines = await Promise.all(
      [0, 1, 2, 3].map((seed) =>
        startEngine({ models: ["m"], seed, preset, blockSize: 16, enablePromptTokensDetails: true }),
      ),
    );
    t.after(() => Promise.all(engines.map((engine) => engine.close())));
    const argv = [
      "--static-backends",
      engines.map(({ url }) => url).join(","),
      "--engine-stats-interval",
      "0.25",
      "--router-replicas",
      String(replicas),
    ];
    const routers = await Promise.all(Array.from({ length: replicas }, () => startTestRouter(t, argv)));
    await multiTurn(
      routers.map(({ port }) => port),
      "m",
      peersWorkload,
    );
    const states = engines.map((engine) => engine.state());
    const hits = sum(states.map((state) => state.hitTokens)) / sum(states.map((state) => state.queryTokens));
    const finished = states.map((state) => state.finished);
    const busiest = Math.max(...finished) / (sum(finished) / 4);
    t.diagnostic(`hit rate ${hits.toFixed(4)}, busiest/mean ${busiest.toFixed(2)}`);
    assert.ok(hits >= least, `hit rate ${hits}`);
    // several that know nothing of each other's load but what engines say differ more from run to run, in real time that others
    // disturb: two 1.09 to 1.21 in 22 runs and once 1.32, four 1.07 to 1.31; one that knows its own 1.03 to 1.13
    assert.ok(busiest <= (replicas === 1 ? 1.3 : 1.5), `busiest/mean ${busiest}: ${finished.join(" ")}`);
    if (replicas > 1) return;
    const [router] = routers;
    const predicted = router?.metric('lmstack_predicted_cached_tokens_total{model="m"}') ?? 0;
    const actual = router?.metric('lmstack_cached_tokens_total{model="m"}') ?? 0;
    assert.ok(Math.abs(predicted / actual - 1) < 0.06, `predicted ${predicted}, actual ${actual}`);
  });
}
