// Whatever happens, in whatever order: the copy of the API comes to the truth, and the registry is what was published.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../../../src/clock.ts";
import type { EndpointSpec } from "../../../src/config/types.ts";
import { KubernetesSource } from "../../../src/fleet/discovery/kubernetes/kubernetes.ts";
import type { FoundEndpoints } from "../../../src/fleet/discovery/source.ts";
import type { Endpoint } from "../../../src/fleet/endpoint.ts";
import { Registry } from "../../../src/fleet/registry.ts";
import type { EnginePool } from "../../../src/http/engine-pool.ts";
import { Sweeper } from "../../../src/http/sweeper.ts";
import { turns } from "../../helpers/until.ts";
import { ModelApi } from "./model-api.ts";

const names = ["a", "b", "c", "d", "e", "f", "g"];
const name = fc.constantFrom(...names);

type Step = readonly [what: string, act: (api: ModelApi, clock: ManualClock) => void];

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: name.map((n): Step => [`create ${n}`, (api) => api.create(n)]) },
  { weight: 8, arbitrary: name.map((n): Step => [`flip ${n}`, (api) => api.flip(n)]) },
  { weight: 5, arbitrary: name.map((n): Step => [`remove ${n}`, (api) => api.remove(n)]) },
  { weight: 2, arbitrary: fc.constant<Step>(["cut", (api) => api.cut()]) },
  { weight: 2, arbitrary: fc.constant<Step>(["end", (api) => api.end()]) },
  { weight: 2, arbitrary: fc.constant<Step>(["compact", (api) => api.compact()]) },
  { weight: 1, arbitrary: fc.constant<Step>(["silence", (api) => api.silence()]) },
  { weight: 1, arbitrary: fc.constant<Step>(["bookmark", (api) => api.bookmark()]) },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.constantFrom<number | "refused">("refused", 403, 401, 410, 429, 500, 503), {
        minLength: 1,
        maxLength: 4,
      })
      .map((faults): Step => [`faults ${faults.join()}`, (api) => api.faults.push(...faults)]),
  },
  {
    weight: 5,
    arbitrary: fc.constantFrom(10, 100, 1_000, 20_000).map((ms): Step => [`${ms} ms`, (_, clock) => clock.advance(ms)]),
  },
);

test("after any history of changes and failures the endpoints are the ready pods", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), fc.nat(), async (steps, seed) => {
      const api = new ModelApi();
      const clock = new ManualClock();
      let last: FoundEndpoints | null = null;
      let random = seed;
      const source = new KubernetesSource({
        api,
        clock,
        addressing: "pod-ip",
        namespaces: ["default"],
        labelSelector: "",
        enginePort: 8000,
        watchTimeoutMs: 0,
        kubeconfigFile: null,
        context: null,
        apiServer: null,
        random: () => (random = (random * 48_271 + 11) % 2_147_483_647) / 2_147_483_647,
        events: {
          publish: (found) => (last = found),
          failed: () => undefined,
          complain: () => undefined,
          recovered: () => undefined,
        },
      });
      try {
        for (const [, act] of steps) {
          act(api, clock);
          await turns(3);
        }
        // all is well from now on; the longest that anything may take is the silence of a watch
        api.faults.length = 0;
        for (let i = 0; i < 40; i++) {
          clock.advance(i < 20 ? 8_000 : 100);
          await turns(4);
        }
        const ready = [...api.pods.values()].filter((one) => one.ready === true);
        const wanted = new Map(ready.map(({ ip, uid }) => [`http://${ip}:8000`, uid]));
        const found: FoundEndpoints = last ?? assert.fail("nothing was published");
        // pods that share an address are a moment's illusion in a cluster; any of them will do here
        assert.deepEqual(found.endpoints.map(({ url }) => url).sort(), [...wanted.keys()].sort());
        for (const { url, identity } of found.endpoints) {
          assert.ok(ready.some((one) => `http://${one.ip}:8000` === url && one.uid === identity));
        }
        assert.equal(
          found.expecting,
          [...api.pods.values()].some((one) => one.ready !== true),
        );
        assert.equal(source.problem, null);
        assert.equal(source.staleSinceMs, null);
      } finally {
        source.stop();
        await turns(2);
      }
    }),
    { numRuns: 120 },
  );
});

const spec: fc.Arbitrary<EndpointSpec> = fc.record({
  url: fc.constantFrom("http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://10.0.0.3:8000", "http://10.0.0.4:8000"),
  models: fc.constantFrom(null, ["m"], ["m", "n"]),
  label: fc.constantFrom(null, "prefill"),
  modelType: fc.constant(null),
  identity: fc.constantFrom("u1", "u2", "u3"),
  sleeping: fc.boolean(),
});

const published = fc.uniqueArray(spec, { selector: ({ url }) => url, maxLength: 4 });

test("the registry is what was published last, and nothing of the old is used or kept", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(published, fc.nat(3)), { minLength: 1, maxLength: 20 }), (sets) => {
      const clock = new ManualClock();
      const sweeper = new Sweeper<EnginePool>(clock, 500);
      const registry = new Registry({ clock, sweeper, keepAliveMs: 4000, engineTls: null });
      const running: { readonly endpoint: Endpoint; readonly release: () => void }[] = [];
      for (const [set, ending] of sets) {
        const before = new Map(registry.list().map((endpoint) => [endpoint, endpoint.leaving]));
        registry.reconcile(set, { aliases: new Map(), knownModels: [] });
        const present = registry.list().filter((endpoint) => !endpoint.leaving);
        const shown = present.map(({ url, identity, label, configuredModels, sleeping }) =>
          JSON.stringify({ url, models: configuredModels, label, identity, sleeping }),
        );
        const wanted = set.map(({ url, models, label, identity, sleeping }) =>
          JSON.stringify({ url, models, label, identity, sleeping }),
        );
        assert.deepEqual(shown.sort(), wanted.sort());
        for (const endpoint of present) {
          // whoever left does not come back: another one at its address is another one
          assert.notEqual(before.get(endpoint), true);
          if (endpoint.inFlight === 0) running.push(start(endpoint));
        }
        for (const one of running.splice(0, ending)) one.release();
        const leaving = registry.list().filter((endpoint) => endpoint.leaving);
        const busy = new Set(running.map(({ endpoint }) => endpoint));
        // those on their way out are there as long as a request is on them
        assert.ok(leaving.every((endpoint) => busy.has(endpoint)));
        assert.ok([...busy].every((endpoint) => registry.list().includes(endpoint)));
      }
      for (const one of running) one.release();
      assert.ok(registry.list().every((endpoint) => !endpoint.leaving && endpoint.inFlight === 0));
    }),
    { numRuns: 300 },
  );
});

function start(endpoint: Endpoint): { endpoint: Endpoint; release: () => void } {
  const ticket = endpoint.load.send(10, 10, null, 0);
  return { endpoint, release: () => ticket.release(0) };
}
