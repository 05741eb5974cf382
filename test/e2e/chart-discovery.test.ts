// The chart and discovery agree: what the chart writes on pods is what the router reads there. The chart once wrote the ports of
// KV events in annotations of other names than discovery knew, so kvaware had to ask engines that could not tell.
import assert from "node:assert/strict";
import { test } from "node:test";

import type { EndpointSpec } from "../../src/config/types.ts";
import { readPod } from "../../src/fleet/discovery/kubernetes/pod.ts";
import { chartFolder, model, requireChart, type Chart, type Json, type Rendered } from "./chart/render.ts";

/** The engine that the router finds in a pod of a model, once it is ready. */
function found(rendered: Rendered, name: string, kind = "Deployment"): EndpointSpec | null {
  const { template } = rendered.engine(name, kind);
  const { spec, mistakes } = readPod(
    {
      metadata: { ...template.metadata, name, namespace: "default", uid: "u" },
      spec: template.spec,
      status: { phase: "Running", podIP: "10.0.0.1", conditions: [{ type: "Ready", status: "True" }] },
    },
    1,
  );
  assert.deepEqual(mistakes, []);
  return spec;
}

const render = (chart: Chart, settings: object, spec: object = {}): Rendered =>
  chart.render({ servingEngineSpec: { ...spec, modelSpec: [{ ...model, ...settings }] } });

test("an engine's port", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  assert.equal(found(render(chart, {}), "opt125m")?.url, "http://10.0.0.1:8000");
  assert.equal(found(render(chart, {}, { containerPort: 9000 }), "opt125m")?.url, "http://10.0.0.1:9000");
  assert.equal(
    found(render(chart, { multiNode: { size: 2 } }), "opt125m", "LeaderWorkerSet")?.url,
    "http://10.0.0.1:8000",
  );
});

test("where an engine publishes KV events", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const events = (settings: object): unknown => found(render(chart, settings), "opt125m")?.kvEvents;
  assert.equal(events({}), undefined);
  assert.deepEqual(events({ kvEvents: { enabled: true } }), { port: 5557, replayPort: 5558, ranks: 1, topic: "" });
  assert.deepEqual(
    events({
      kvEvents: { enabled: true, port: 7000, replayPort: 8000, topic: "kv@opt" },
      vllmConfig: { extraArgs: ["--data-parallel-size", 2] },
    }),
    { port: 7000, replayPort: 8000, ranks: 2, topic: "kv@opt" },
  );
});

test("the part of an engine in prefill/decode", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const rendered = chart.render({}, { files: [`${chartFolder}/examples/values-prefill-decode.yaml`] });
  assert.equal(found(rendered, "llama3-prefill")?.label, "prefill");
  assert.equal(found(rendered, "llama3-decode")?.label, "decode");
  assert.equal(rendered.router().flag("--prefill-model-labels"), "prefill");
  assert.equal(rendered.router().flag("--decode-model-labels"), "decode");
});

test("models that may have no engine while all is well are known to the router, with their adapters; others are found", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const known = (settings: object, rest: object = {}): string | undefined =>
    chart
      .render({
        servingEngineSpec: { modelSpec: [model, { ...model, name: "other", modelURL: "org/other", ...settings }] },
        ...rest,
      })
      .router()
      .flag("--known-models");
  assert.equal(known({}), undefined);
  assert.equal(known({ replicaCount: 0 }), "org/other");
  assert.equal(known({ keda: { enabled: true } }), "org/other");
  assert.equal(known({ keda: { enabled: true, minReplicaCount: 1, idleReplicaCount: 0 } }), "org/other");
  assert.equal(known({ keda: { enabled: true, minReplicaCount: 1 } }), undefined);
  assert.equal(known({ replicaCount: 0, enabled: false }), undefined);
  const sql = { name: "sql", baseModel: "other", adapterSource: { type: "local", adapterPath: "/a" } };
  assert.equal(known({ replicaCount: 0, servedModelName: "small" }, { loraAdapters: [sql] }), "small,sql");
});

test("helm test asks models that make text and have an engine, and looks for the others", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const rendered = chart.render({
    servingEngineSpec: {
      modelSpec: [
        model,
        { ...model, name: "rests", modelURL: "org/rests", replicaCount: 0 },
        { ...model, name: "embeds", modelURL: "org/embeds", vllmConfig: { runner: "pooling" } },
      ],
    },
  });
  const { args } = rendered.get("Pod", "lmstack-test-completion").spec.containers[0];
  assert.deepEqual(JSON.parse(args.at(-1)), [
    { model: "facebook/opt-125m", asked: true },
    { model: "org/rests", asked: false },
    { model: "org/embeds", asked: false },
  ]);
});

test("helm test may ask a router that network policies close to others", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const rendered = chart.render({}, { files: [`${chartFolder}/examples/values-secure.yaml`] });
  const { ingress } = rendered.get("NetworkPolicy", "lmstack-router").spec;
  const { labels } = rendered.get("Pod", "lmstack-test-completion").metadata;
  const selectors: Json[] = ingress[0].from.map((peer: Json) => peer.podSelector?.matchLabels).filter(Boolean);
  assert.ok(selectors.some((wanted) => Object.entries(wanted).every(([key, value]) => labels[key] === value)));
});
