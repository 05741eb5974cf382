// Every key that users of production-stack's chart have in their files does here what it does there.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { keysOf } from "./chart/compatibility-keys.ts";
import type { Effect } from "./chart/effects/effect.ts";
import { engineEffects } from "./chart/effects/engine.ts";
import { modelEffects, modelWithout } from "./chart/effects/model.ts";
import { routerEffects } from "./chart/effects/router.ts";
import { adapterEffects, adapterWithout, baseAdapter, storageEffects, storageModels } from "./chart/effects/storage.ts";
import { vllmEffects } from "./chart/effects/vllm.ts";
import { model, requireChart, withModel, type Chart, type Json } from "./chart/render.ts";

const allOfModel = [...modelEffects, ...vllmEffects];

const refused = (section: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    keysOf[section as keyof typeof keysOf].map((key) => [key, "refused, or not used: chart-refusals.test.ts"]),
  );

const sections: Readonly<
  Record<keyof typeof keysOf, { effects: readonly Effect[]; without: Readonly<Record<string, string>> }>
> = {
  model: { effects: allOfModel, without: modelWithout },
  servingEngineSpec: { effects: engineEffects, without: {} },
  routerSpec: { effects: routerEffects, without: {} },
  loraAdapters: { effects: adapterEffects, without: adapterWithout },
  sharedPvcStorage: { effects: storageEffects, without: {} },
  cacheserverSpec: { effects: [], without: refused("cacheserverSpec") },
  loraController: { effects: [], without: refused("loraController") },
};

test("every key of production-stack's chart has an effect below, or a reason why it has none", () => {
  const missing = Object.entries(sections).flatMap(([section, { effects: list, without }]) => {
    const shown = new Set(list.flatMap(({ keys }) => keys.split(" ")));
    return keysOf[section as keyof typeof keysOf]
      .filter((key) => !shown.has(key) && !(key in without))
      .map((key) => `${section}: ${key}`);
  });
  assert.deepEqual(missing, []);
});

/** The table's MODEL is the model's name. */
function named(expected: Json, name: string): Json {
  return expected === undefined ? undefined : replaceUndefined(expected, name);
}

function replaceUndefined(value: Json, name: string): Json {
  if (typeof value === "string") return value.replaceAll("MODEL", name);
  if (Array.isArray(value)) return value.map((entry) => replaceUndefined(entry, name));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, replaceUndefined(entry, name)]));
}

describe("modelSpec[]", () => {
  // One rendering for all: each entry of the table is a model of its own, beside one that says nothing.
  let rendered: ReturnType<Chart["render"]> | null = null;
  const entries = allOfModel.map((effect, at) => ({ effect, name: `m${at}` }));

  for (const { effect, name } of entries) {
    test(`${effect.keys} (${name})`, (t) => {
      const chart = requireChart(t);
      if (chart === null) return;
      rendered ??= chart.render({
        servingEngineSpec: {
          tolerations: [{ key: "all" }],
          modelSpec: [
            ...entries.map((entry) => ({ ...model, name: entry.name, ...entry.effect.values })),
            { ...model, name: "plain" },
          ],
        },
      });
      assert.deepEqual(effect.see(rendered, name), named(effect.expect, name));
      if (Object.keys(effect.values).length > 0) {
        assert.notDeepEqual(
          effect.see(rendered, "plain"),
          named(effect.expect, "plain"),
          "it is there without the key",
        );
      }
    });
  }
});

function table(section: string, list: readonly Effect[], values: (effect: Effect | null) => object): void {
  describe(section, () => {
    for (const effect of list) {
      test(effect.keys, (t) => {
        const chart = requireChart(t);
        if (chart === null) return;
        assert.deepEqual(effect.see(chart.render(values(effect)), "opt125m"), effect.expect);
        assert.notDeepEqual(
          effect.see(chart.render(values(null)), "opt125m"),
          effect.expect,
          "it is there without the key",
        );
      });
    }
  });
}

table("servingEngineSpec", engineEffects, (effect) => ({
  servingEngineSpec: { modelSpec: [model], ...effect?.values },
}));
table("routerSpec", routerEffects, (effect) => withModel({}, { routerSpec: effect?.values ?? {} }));
table("loraAdapters[]", adapterEffects, (effect) =>
  withModel(
    {},
    {
      loraAdapters: effect === null ? [{ ...baseAdapter, name: "other" }] : [{ ...baseAdapter, ...effect.values }],
    },
  ),
);
table("sharedPvcStorage", storageEffects, (effect) => ({
  servingEngineSpec: { modelSpec: storageModels.map((settings) => ({ ...model, ...settings })) },
  sharedPvcStorage: effect?.values ?? {},
}));

test("what production-stack's pods always have, engines have", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const engine = chart.render(withModel()).engine("opt125m");
  assert.equal(engine.env("PYTHONHASHSEED"), "123");
  assert.equal(engine.env("HF_HOME"), "/tmp");
  assert.deepEqual(engine.env("POD_IP"), { fieldRef: { fieldPath: "status.podIP" } });
  assert.equal(engine.env("PROMETHEUS_MULTIPROC_DIR"), "/tmp");
});

test("names, ports and labels are those of production-stack", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const rendered = chart.render({}, { files: [`${import.meta.dirname}/../../helm/values-customized.yaml`] });
  for (const [kind, name] of [
    ["Deployment", "lmstack-deployment-router"],
    ["Deployment", "lmstack-opt125m-deployment-vllm"],
    ["Service", "lmstack-engine-service"],
    ["Service", "lmstack-opt125m-engine-service"],
    ["Service", "lmstack-router-service"],
  ] as const) {
    assert.equal(rendered.get(kind, name).metadata.namespace, "default");
  }
  for (const name of ["lmstack-engine-service", "lmstack-router-service"]) {
    const { spec } = rendered.get("Service", name);
    assert.equal(spec.type, "ClusterIP");
    assert.equal(spec.ports[0].port, 80);
  }
  assert.equal(rendered.get("Service", "lmstack-router-service").spec.ports[0].name, "router-sport");
  assert.equal(rendered.get("Service", "lmstack-engine-service").spec.ports[0].name, "service-port");
  const labels = rendered.engine("opt125m").template.metadata.labels;
  assert.deepEqual([labels.model, labels.environment, labels.release], ["opt125m", "test", "test"]);
  // the values put it last, so it wins over what the chart renders
  assert.deepEqual(rendered.router().args.slice(-2), ["--routing-logic", "roundrobin"]);
});
