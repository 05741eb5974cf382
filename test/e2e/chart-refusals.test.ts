// What the chart refuses, and that it says what to do instead.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { keysOf } from "./chart/compatibility-keys.ts";
import { model, requireChart, withModel } from "./chart/render.ts";

interface Case {
  readonly why: string;
  readonly values: object;
  readonly says: readonly RegExp[];
}

const adapter = { name: "sql", baseModel: "opt125m", adapterSource: { type: "local", adapterPath: "/a" } };

const unbuilt: readonly Case[] = [
  {
    why: "Ray",
    values: withModel({ raySpec: { enabled: true, headNode: { requestCPU: 1 } } }),
    says: [/modelSpec\[0\]\.raySpec\.enabled/, /multiNode\.size/, /LeaderWorkerSet/],
  },
  {
    why: "the LMCache controller",
    values: withModel({
      lmcacheConfig: {
        enabled: true,
        enableController: true,
        instanceId: "a",
        controllerPort: 9000,
        workerPorts: [1, 2],
      },
    }),
    says: [/lmcacheConfig\.enableController/, /prefixaware/, /kvEvents\.enabled: true/],
  },
  {
    why: "the cache server",
    values: withModel({}, { cacheserverSpec: { enabled: true, replicaCount: 1 } }),
    says: [/cacheserverSpec\.enabled/, /lmcacheConfig\.enabled/],
  },
  {
    why: "the LoRA controller",
    values: withModel({}, { loraController: { enableLoraController: true } }),
    says: [/loraController\.enableLoraController/, /loraAdapters\[\]/],
  },
  {
    why: "the LoRA controller's choice of engines",
    values: withModel(
      { replicaCount: 3 },
      { loraAdapters: [{ ...adapter, loraAdapterDeploymentConfig: { algorithm: "equalized", replicas: 2 } }] },
    ),
    says: [
      /loraAdapters\[0\]\.loraAdapterDeploymentConfig\.replicas: 2 of up to 3 engines of opt125m.* \(algorithm equalized\)/,
      /give 2 engines a modelSpec entry of their own, and its name as baseModel/,
    ],
  },
  {
    why: "the LoRA controller's choice among engines that KEDA counts",
    values: withModel(
      { keda: { enabled: true, maxReplicaCount: 5 } },
      { loraAdapters: [{ ...adapter, loraAdapterDeploymentConfig: { replicas: 4 } }] },
    ),
    says: [/replicas: 4 of up to 5 engines/],
  },
  {
    why: "the key that the LoRA controller shows",
    values: withModel({}, { loraAdapters: [{ ...adapter, vllmApiKey: { secretName: "s", secretKey: "k" } }] }),
    says: [/loraAdapters\[0\]\.vllmApiKey: .*no(ne)? .*servingEngineSpec\.vllmApiKey/],
  },
];

const mistakes: readonly Case[] = [
  {
    why: "production-stack's router image",
    values: withModel({}, { routerSpec: { repository: "lmcache/lmstack-router", tag: "latest" } }),
    says: [/routerSpec\.repository/, /lmstack\/lmstack/],
  },
  {
    why: "a model without a name",
    values: { servingEngineSpec: { modelSpec: [{ ...model, name: null }] } },
    says: [/modelSpec\[0\]\.name is not set/],
  },
  {
    why: "a name that can't be one",
    values: withModel({ name: "Llama_3" }),
    says: [/"Llama_3" can't be part of a Kubernetes name/],
  },
  { why: "a name that is too long", values: withModel({ name: "x".repeat(50) }), says: [/63 are allowed/] },
  {
    why: "a name that is there twice",
    values: { servingEngineSpec: { modelSpec: [model, model] } },
    says: [/"opt125m" is there twice/],
  },
  { why: "no model", values: withModel({ modelURL: "" }), says: [/modelURL is not set/] },
  {
    why: "no image",
    values: withModel({ repository: null, tag: null }),
    says: [/repository is not set/, /tag is not set/, /engine\.simulated: true/],
  },
  { why: "a volume of no size", values: withModel({ pvcStorage: {} }), says: [/pvcStorage: give a size/] },
  {
    why: "both budgets",
    values: withModel({ pdb: { enabled: true, minAvailable: 1, maxUnavailable: 1 } }),
    says: [/exclude each other/],
  },
  {
    why: "static discovery without engines",
    values: withModel({}, { routerSpec: { serviceDiscovery: "static" } }),
    says: [/routerSpec\.staticBackends is not set/],
  },
  {
    why: "a grace that cuts requests",
    values: withModel({}, { routerSpec: { terminationGracePeriodSeconds: 30 } }),
    says: [/shorter than draining takes/, /at least 610/],
  },
  {
    why: "two autoscalers",
    values: withModel({}, { routerSpec: { autoscaling: { enabled: true }, keda: { enabled: true } } }),
    says: [/disable one/],
  },
  {
    why: "half a reference",
    values: withModel({}, { routerSpec: { apiKeys: { secretName: "k" } } }),
    says: [/apiKeys\.secretKey is not set/],
  },
  {
    why: "an Ingress without hosts",
    values: withModel({}, { routerSpec: { ingress: { enabled: true } } }),
    says: [/ingress\.hosts is empty/],
  },
  {
    why: "an adapter of no model",
    values: withModel(
      {},
      { loraAdapters: [{ name: "a", baseModel: "b", adapterSource: { type: "local", adapterPath: "/a" } }] },
    ),
    says: [/"b" is no model of this release/, /opt125m, facebook\/opt-125m/],
  },
  {
    why: "an adapter from nowhere",
    values: withModel({}, { loraAdapters: [{ name: "a", baseModel: "opt125m", adapterSource: { type: "s3" } }] }),
    says: [/adapterSource\.repository is not set/],
  },
  {
    why: "an InferencePool without a picker",
    values: withModel({ inferencePool: { enabled: true } }),
    says: [/endpointPickerRef\.name is not set/],
  },
  {
    why: "a type that is wrong",
    values: withModel({ replicaCount: "many" }),
    says: [/modelSpec\/0\/replicaCount/, /integer/],
  },
  {
    why: "a word that is none of a list",
    values: withModel({}, { routerSpec: { serviceDiscovery: "consul" } }),
    says: [/serviceDiscovery/, /'k8s', 'static'/],
  },
  {
    why: "one text for the two keys of S3",
    values: withModel(
      {},
      {
        loraAdapters: [
          { name: "a", baseModel: "opt125m", adapterSource: { type: "s3", repository: "b", credentials: "x" } },
        ],
      },
    ),
    says: [/adapterSource\.credentials: one text is not enough/, /AWS_ACCESS_KEY_ID/],
  },
  {
    why: "a token in no key of its Secret",
    values: withModel(
      {},
      {
        loraAdapters: [
          {
            name: "a",
            baseModel: "opt125m",
            adapterSource: { type: "huggingface", repository: "b", credentials: { secretName: "hub" } },
          },
        ],
      },
    ),
    says: [/adapterSource\.credentials\.secretKey is not set/, /the Secret hub holds the token/],
  },
  {
    why: "a placement that is none",
    values: withModel({}, { loraAdapters: [{ ...adapter, loraAdapterDeploymentConfig: { algorithm: "random" } }] }),
    says: [/loraAdapterDeploymentConfig\/algorithm/, /'default', 'ordered', 'equalized'/],
  },
  {
    why: "an option that the router does not have",
    values: withModel({}, { routerSpec: { options: { retrys: 1 } } }),
    says: [/routerSpec\.options\.retrys: unknown key; did you mean routerSpec\.options\.retries\?/],
  },
];

const misspelt: readonly (readonly [values: object, says: string])[] = [
  [{ routerspec: {} }, "routerspec: unknown key; did you mean routerSpec?"],
  [{ router: {} }, "router: unknown key; did you mean routerSpec?"],
  [{ tolerations: [] }, "tolerations: unknown key; did you mean servingEngineSpec.tolerations?"],
  [{ routerSpec: { replicas: 2 } }, "did you mean routerSpec.replicaCount?"],
  [{ routerSpec: { evn: [] } }, "did you mean routerSpec.env?"],
  [{ routerSpec: { drain: { timeoutSecond: 2 } } }, "did you mean routerSpec.drain.timeoutSeconds?"],
  [{ routerSpec: { route: { main: { hostname: [] } } } }, "did you mean routerSpec.route.main.hostnames?"],
  [{ servingEngineSpec: { lables: {} } }, "did you mean servingEngineSpec.labels?"],
  [withModel({ requestCpu: 1 }), "did you mean servingEngineSpec.modelSpec[0].requestCPU?"],
  [withModel({ modelUrl: "x" }), "did you mean servingEngineSpec.modelSpec[0].modelURL?"],
  [
    withModel({ vllmConfig: { max_model_len: 1 } }),
    "did you mean servingEngineSpec.modelSpec[0].vllmConfig.maxModelLen?",
  ],
  [
    withModel({ keda: { advanced: { scalingModifier: {} } } }),
    "did you mean servingEngineSpec.modelSpec[0].keda.advanced.scalingModifiers?",
  ],
  [withModel({ engine: { simulate: true } }), "did you mean servingEngineSpec.modelSpec[0].engine.simulated?"],
  [{ loraAdapters: [{ name: "a", adapterSources: {} }] }, "did you mean loraAdapters[0].adapterSource?"],
  [{ sharedPvcStorage: { zzz: 1 } }, "sharedPvcStorage.zzz: unknown key; docs/helm-values.md lists the keys"],
];

describe("refused, with the way that is built", () => {
  for (const { why, values, says } of [...unbuilt, ...mistakes]) {
    test(why, (t) => {
      const chart = requireChart(t);
      if (chart === null) return;
      const words = chart.refusal(values);
      for (const pattern of says) assert.match(words, pattern);
    });
  }
});

describe("a misspelt key is refused with the one that was meant", () => {
  for (const [values, says] of misspelt) {
    test(says, (t) => {
      const chart = requireChart(t);
      if (chart === null) return;
      assert.ok(chart.refusal(values).includes(says), chart.refusal(values));
    });
  }
});

/** Two neighbouring letters changed places, as fingers do it; null where that is another key, or none. */
function misspell(key: string, siblings: readonly string[]): string | null {
  for (let at = Math.max(0, key.length - 2); at >= 0; at--) {
    const word = key.slice(0, at) + key.charAt(at + 1) + key.charAt(at) + key.slice(at + 2);
    if (word !== key && !siblings.includes(word)) return word;
  }
  return null;
}

interface Slip {
  readonly path: readonly string[];
  readonly meant: string;
  readonly written: string;
}

/** A slip in every key of a section, maps on the way to it included. */
function slips(keys: readonly string[]): Slip[] {
  const parents = new Map<string, Set<string>>();
  for (const key of keys) {
    const parts = key.split(".");
    for (const [at, part] of parts.entries()) {
      const parent = parts.slice(0, at).join(".");
      parents.set(parent, (parents.get(parent) ?? new Set<string>()).add(part));
    }
  }
  return [...parents].flatMap(([parent, children]) =>
    [...children].flatMap((meant) => {
      const written = misspell(meant, [...children]);
      return written === null ? [] : [{ path: parent === "" ? [] : parent.split("."), meant, written }];
    }),
  );
}

/** Values with all of the slips, below a section. */
function withSlips(list: readonly Slip[]): object {
  const values: Record<string, object> = {};
  for (const { path, written } of list) {
    let place: Record<string, object> = values;
    for (const part of path) place = (place[part] ??= {}) as Record<string, object>;
    place[written] = {};
  }
  return values;
}

describe("a slip in any key that production-stack's users have is refused with the key that was meant", () => {
  const places = {
    model: {
      at: "servingEngineSpec.modelSpec[0]",
      values: (slip: object): object => ({ servingEngineSpec: { modelSpec: [slip] } }),
    },
    servingEngineSpec: { at: "servingEngineSpec", values: (slip: object): object => ({ servingEngineSpec: slip }) },
    routerSpec: {
      at: "routerSpec",
      values: (slip: { readonly ingress?: { readonly hosts?: object } }): object => ({
        routerSpec: { ...slip, ingress: { ...slip.ingress, hosts: [slip.ingress?.hosts] } },
      }),
    },
    loraAdapters: { at: "loraAdapters[0]", values: (slip: object): object => ({ loraAdapters: [slip] }) },
    sharedPvcStorage: { at: "sharedPvcStorage", values: (slip: object): object => ({ sharedPvcStorage: slip }) },
    cacheserverSpec: { at: "cacheserverSpec", values: (slip: object): object => ({ cacheserverSpec: slip }) },
    loraController: { at: "loraController", values: (slip: object): object => ({ loraController: slip }) },
  } as const satisfies Record<keyof typeof keysOf, unknown>;

  for (const [section, { at, values }] of Object.entries(places)) {
    test(section, (t) => {
      const chart = requireChart(t);
      if (chart === null) return;
      // routes have names of their own
      const list = slips(keysOf[section as keyof typeof keysOf]).filter(({ meant }) => meant !== "main");
      assert.ok(list.length > 5);
      const words = chart.refusal(values(withSlips(list)));
      const unhelpful = list
        .map(({ path, meant, written }) => {
          const place = [at, ...path].join(".").replace("ingress.hosts", "ingress.hosts[0]");
          return `${place}.${written}: unknown key; did you mean ${place}.${meant}?`;
        })
        .filter((line) => !words.includes(line));
      assert.deepEqual(unhelpful, []);
    });
  }
});

test("all mistakes are said at once", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const words = chart.refusal({
    ...withModel({ raySpec: { enabled: true }, requestCpu: 1 }),
    cacheserverSpec: { enabled: true },
  });
  assert.equal(words.match(/^ {2}- /gm)?.length, 3, words);
});

test("what is refused when enabled is accepted when it is not: files that mention it stay usable", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const controller = {
    instanceId: "a",
    controllerPort: 9000,
    controllerReplyPort: 1,
    workerPorts: [1],
    p2pHost: "h",
    p2pInitPorts: [2],
    workerHeartbeatTime: 3,
  };
  const off = withModel(
    {
      raySpec: { enabled: false, headNode: { requestCPU: 1 } },
      lmcacheConfig: { enableController: false, ...controller },
    },
    {
      cacheserverSpec: {
        enabled: false,
        replicaCount: 1,
        containerPort: 8080,
        servicePort: 81,
        serde: "naive",
        repository: "lmcache/vllm-openai",
        tag: "latest",
        labels: { a: "b" },
        resources: {},
      },
      loraController: {
        enableLoraController: false,
        replicaCount: 1,
        image: { repository: "x" },
        metrics: { enabled: true },
        webhook: { enabled: true },
      },
      sharedPvcStorage: { enabled: false, image: { repository: "busybox", tag: "1.37" } },
    },
  );
  assert.deepEqual(chart.render(off).objects, chart.render(withModel()).objects);
});

test("what a LoRA controller would do is accepted where engines do just that: all of them have the adapter", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const key = { secretName: "keys", secretKey: "k" };
  const values = (settings: object): object => ({
    servingEngineSpec: { vllmApiKey: key, modelSpec: [{ ...model, replicaCount: 2 }] },
    loraAdapters: [{ ...adapter, ...settings }],
  });
  const same = { vllmApiKey: key, loraAdapterDeploymentConfig: { algorithm: "ordered", replicas: 2 } };
  assert.deepEqual(chart.render(values(same)).objects, chart.render(values({})).objects);
});

test("every key of what is refused is known, so that the refusal is what is said and not the key", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  for (const section of ["cacheserverSpec", "loraController"] as const) {
    const values: Record<string, unknown> = {};
    for (const key of keysOf[section]) values[key.split(".")[0] ?? ""] = null;
    assert.equal(chart.refusal(withModel({}, { [section]: values })), "");
  }
});

test("a section with nothing behind it counts as left out", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const empty = {
    otel: null,
    pdb: null,
    autoscaling: null,
    ingress: null,
    route: null,
    vllmApiKey: null,
    lmcacheConfig: null,
    serviceMonitor: null,
  };
  const rendered = chart.render({
    servingEngineSpec: {
      vllmApiKey: { secretName: "", secretKey: "" },
      sidecar: null,
      serviceMonitor: null,
      modelSpec: [
        {
          ...model,
          vllmConfig: null,
          lmcacheConfig: null,
          keda: null,
          pdb: null,
          hf_token: { secretName: "", secretKey: "" },
          initContainer: null,
          nodeName: "",
        },
      ],
    },
    routerSpec: empty,
    cacheserverSpec: null,
    loraController: null,
    loraAdapters: null,
    sharedPvcStorage: null,
  });
  assert.equal(rendered.engine("opt125m").env("HF_TOKEN"), undefined);
  assert.equal(rendered.router().flag("--api-key-file"), undefined);
});

test("the notes say what comes next, and what differs from what was asked for", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const notes = (values: object): string =>
    chart
      .run(["install", "lmstack", `${import.meta.dirname}/../../helm`, "--dry-run=client", "-f", "-"], values)
      .text.split("NOTES:")[1] ?? "";
  const plain = notes(withModel());
  assert.match(plain, /kubectl port-forward -n default svc\/lmstack-router-service 30080:80/);
  assert.match(plain, /helm test/);
  const [, body = ""] = /v1\/completions .* -d '(.*)'/.exec(plain) ?? [];
  assert.equal((JSON.parse(body) as { model: string }).model, "facebook/opt-125m");
  const asleep = notes(withModel({ replicaCount: 0 }, { routerSpec: { extraArgs: ["--hold-timeout-seconds", 900] } }));
  assert.match(asleep, /opt125m may be without engines\. .* for 900 s at most/);
  assert.doesNotMatch(plain, /Note:/);
  assert.match(notes(withModel({ replicaCount: 2, pvcStorage: "1Gi" })), /one ReadWriteOnce claim/);
});
