// The chart on a real control plane: installed, asked, changed under load, taken away. Engines are simulated, everything else
// is what a cluster runs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";

import { matrix } from "./chart/matrix.ts";
import { complete, forward, names, quick, readmeValues, restricted, simulated } from "./chart/release.ts";
import { chartFolder, requireChart, type Chart, type Json, type KubeObject } from "./chart/render.ts";
import { cluster, ownCluster, type Cluster } from "./cluster.ts";
import { requireDefinitions } from "./requires.ts";

/** Short waits: what is tested is that there are some. */
const quickDrain = [
  "--set",
  "routerSpec.drain.timeoutSeconds=60",
  "--set",
  "servingEngineSpec.drain.timeoutSeconds=60",
];

const everyKind =
  "all,configmaps,secrets,serviceaccounts,persistentvolumeclaims,roles,rolebindings,poddisruptionbudgets,horizontalpodautoscalers,ingresses,networkpolicies,endpointslices";

test("the README's sequence: install, ask, test, take away", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "readme", restricted);
  const before = await kube.eventually(async () => {
    const found = await names(kube, namespace, everyKind);
    assert.ok(found.includes("configmap/kube-root-ca.crt"));
    return found;
  }, "the namespace to be furnished");

  await kube.helm([
    "install",
    "lmstack",
    chartFolder,
    "-n",
    namespace,
    "-f",
    readmeValues,
    "--set",
    simulated,
    ...quick,
  ]);

  const all = await names(kube, namespace, "all");
  for (const name of [
    "service/lmstack-engine-service",
    "service/lmstack-opt125m-engine-service",
    "service/lmstack-router-service",
    "deployment.apps/lmstack-deployment-router",
    "deployment.apps/lmstack-opt125m-deployment-vllm",
  ]) {
    assert.ok(all.includes(name), `${name} is not among ${all.join(" ")}`);
  }
  const pods = await kube.kubectl(["get", "pods", "-n", namespace, "--no-headers"]);
  assert.deepEqual(
    pods
      .trim()
      .split("\n")
      .map((line) => line.split(/\s+/).slice(1, 3).join(" ")),
    ["1/1 Running", "1/1 Running"],
  );

  const origin = await forward(t, kube, namespace);
  const answer: Json = await kube.eventually(async () => {
    const response = await complete(origin);
    assert.equal(response.status, 200, await response.clone().text());
    return response.json();
  }, "an answer through the router's Service");
  assert.match(answer.id, /^cmpl-/);
  assert.equal(answer.model, "facebook/opt-125m");
  assert.equal(answer.usage.completion_tokens, 30);
  for (const key of ["stop_reason", "prompt_logprobs"]) assert.ok(key in answer.choices[0], key);

  assert.match(await kube.helm(["test", "lmstack", "-n", namespace, "--logs"]), /facebook\/opt-125m answers/);

  await t.test("its processes run as nobody, on a root file system that they can't write", async () => {
    for (const workload of ["deployment/lmstack-deployment-router", "deployment/lmstack-opt125m-deployment-vllm"]) {
      const inside = (command: string): Promise<string> =>
        kube.kubectl(["exec", "-n", namespace, workload, "--", "sh", "-c", command]);
      assert.equal((await inside("id -u")).trim(), "65532");
      await assert.rejects(inside("touch /nope"), /read-only/i);
    }
  });

  await t.test("the router may list and watch pods in its namespace, and nothing else", async () => {
    const may = async (...what: readonly string[]): Promise<boolean> => {
      const who = `--as=system:serviceaccount:${namespace}:lmstack-router-service-account`;
      const said = await kube.kubectl(["auth", "can-i", ...what, who]).catch(() => "no");
      return said.trim().startsWith("yes");
    };
    assert.ok(await may("list", "pods", "-n", namespace));
    assert.ok(await may("watch", "pods", "-n", namespace));
    for (const [verb = "", resource = "", place = namespace] of [
      ["get", "pods"],
      ["delete", "pods"],
      ["list", "services"],
      ["get", "secrets"],
      ["list", "configmaps"],
      ["list", "pods", "default"],
      ["list", "nodes"],
    ]) {
      assert.ok(!(await may(verb, resource, "-n", place)), `${verb} ${resource} in ${place}`);
    }
  });

  await kube.helm(["uninstall", "lmstack", "-n", namespace, "--wait", "--timeout", "120s"]);
  await kube.eventually(
    async () => assert.deepEqual((await names(kube, namespace, everyKind)).toSorted(), before.toSorted()),
    "nothing to be left",
  );
  // whoever provisioned the claim's volume takes it away in its own time
  await kube.eventually(async () => {
    const claims = "jsonpath={.items[*].spec.claimRef.namespace}";
    const volumes = await kube.kubectl(["get", "persistentvolumes", "-o", claims]);
    assert.ok(!volumes.split(" ").includes(namespace), volumes);
  }, "its volume to be gone");
});

/** Requests from inside the cluster, until it is told to stop. */
class Load {
  readonly #kube: Cluster;
  readonly #namespace: string;

  constructor(kube: Cluster, namespace: string) {
    this.#kube = kube;
    this.#namespace = namespace;
  }

  async start(model: string, rate: number): Promise<void> {
    const script = readFileSync(join(import.meta.dirname, "fixtures/load.mjs"), "utf8");
    await this.#kube.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "load", namespace: this.#namespace },
      spec: {
        restartPolicy: "Never",
        enableServiceLinks: false,
        terminationGracePeriodSeconds: 1,
        securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            name: "load",
            image: "lmstack/lmstack:0.1.0",
            command: [
              "node",
              "--input-type=module",
              "-e",
              script,
              "--",
              "http://lmstack-router-service",
              model,
              String(rate),
            ],
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ["ALL"] },
            },
          },
        ],
      },
    });
    await this.#kube.kubectl(["wait", "-n", this.#namespace, "--for=condition=Ready", "pod/load", "--timeout=60s"]);
  }

  async stop(): Promise<{ sent: number; answered: number; again: number; failed: number; failures: Json[] }> {
    await this.#kube.kubectl(["exec", "-n", this.#namespace, "load", "--", "sh", "-c", "kill -USR2 1"]);
    await this.#kube.kubectl([
      "wait",
      "-n",
      this.#namespace,
      "--for=jsonpath={.status.phase}=Succeeded",
      "pod/load",
      "--timeout=60s",
    ]);
    return JSON.parse(await this.#kube.kubectl(["logs", "-n", this.#namespace, "load"])) as Awaited<
      ReturnType<Load["stop"]>
    >;
  }
}

test("under 100 requests a second no request fails, whatever is done to the release", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "life", restricted);
  const values = ["-f", readmeValues, "--set", simulated, ...quickDrain];
  const two = ["--set", "routerSpec.replicaCount=2", "--set", "servingEngineSpec.modelSpec[0].replicaCount=2"];
  const helm = (...args: readonly string[]): Promise<string> => kube.helm([...args, "-n", namespace]);
  const ready = (deployment: string, n: number): Promise<unknown> =>
    kube.eventually(async () => {
      const status: Json = JSON.parse(
        await kube.kubectl(["get", "deployment", deployment, "-n", namespace, "-o", "json"]),
      );
      assert.deepEqual([status.status.readyReplicas, status.status.replicas, status.status.updatedReplicas], [n, n, n]);
    }, `${n} of ${deployment}`);
  const rollout = async (deployment: string): Promise<void> => {
    await kube.kubectl(["rollout", "restart", `deployment/${deployment}`, "-n", namespace]);
    await kube.kubectl(["rollout", "status", `deployment/${deployment}`, "-n", namespace, "--timeout=120s"]);
  };

  await helm("install", "lmstack", chartFolder, ...values, ...two, ...quick);
  const load = new Load(kube, namespace);
  await load.start("facebook/opt-125m", 100);

  await t.test("rolling restart of the routers", () => rollout("lmstack-deployment-router"));
  await t.test("rolling restart of the engines", () => rollout("lmstack-opt125m-deployment-vllm"));
  await t.test("upgrade: other labels, another setting, more engines", async () => {
    await helm(
      "upgrade",
      "lmstack",
      chartFolder,
      ...values,
      "--set",
      "servingEngineSpec.modelSpec[0].replicaCount=4",
      "--set",
      "servingEngineSpec.modelSpec[0].podLabels.team=x",
      "--set",
      "routerSpec.labels.environment=prod",
      "--set",
      "routerSpec.options.retries=3",
      "--set",
      "routerSpec.replicaCount=2",
      ...quick,
    );
    await ready("lmstack-opt125m-deployment-vllm", 4);
  });
  await t.test("scale down by hand", async () => {
    await kube.kubectl(["scale", "deployment/lmstack-opt125m-deployment-vllm", "-n", namespace, "--replicas=1"]);
    await ready("lmstack-opt125m-deployment-vllm", 1);
  });
  await t.test("rollback", async () => {
    // Helm 4 gives way to whoever scaled by hand, unless it is told not to
    await helm("rollback", "lmstack", "1", "--force-conflicts", ...quick);
    await ready("lmstack-opt125m-deployment-vllm", 2);
    await ready("lmstack-deployment-router", 2);
  });

  const { sent, answered, again, failed, failures } = await load.stop();
  t.diagnostic(`${sent} requests, ${answered} answered, ${failed} failed, ${again} sent again`);
  assert.equal(failed, 0, JSON.stringify(failures, null, 1));
  assert.ok(sent > 1000, `only ${sent} requests were sent`);
});

test("an engine that is taken away finishes what it runs first, by vLLM's own command line", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "drain");
  const values = [
    "--set",
    "servingEngineSpec.modelSpec[0].name=opt125m",
    "--set",
    "servingEngineSpec.modelSpec[0].repository=vllm/vllm-openai",
    "--set-string",
    "servingEngineSpec.modelSpec[0].tag=stand-in",
    "--set",
    "servingEngineSpec.modelSpec[0].modelURL=facebook/opt-125m",
    "--set",
    "servingEngineSpec.modelSpec[0].requestGPU=1",
    "--set",
    "servingEngineSpec.startupProbe.periodSeconds=1",
    "--set",
    "servingEngineSpec.startupProbe.initialDelaySeconds=0",
    "--set",
    "servingEngineSpec.vllmApiKey=sesame",
    // another port than the usual: the router must be told
    "--set",
    "servingEngineSpec.containerPort=9000",
  ];
  await kube.helm(["install", "lmstack", chartFolder, "-n", namespace, ...values, ...quick]);
  const origin = await forward(t, kube, namespace);
  const key = { authorization: "Bearer sesame" };
  await kube.eventually(async () => assert.equal((await complete(origin, key)).status, 200), "an answer");
  assert.equal((await complete(origin)).status, 401);
  assert.equal((await complete(origin, { authorization: "Bearer other" })).status, 401);
  assert.match(await kube.helm(["test", "lmstack", "-n", namespace, "--logs"]), /answers/);

  const stream = await fetch(`${origin}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...key },
    body: JSON.stringify({
      model: "facebook/opt-125m",
      prompt: "Tell it all: ",
      stream: true,
      max_tokens: 800,
      ignore_eos: true,
    }),
  });
  assert.equal(stream.status, 200);
  const text = stream.text();
  await kube.kubectl(["delete", "pod", "-n", namespace, "-l", "model=opt125m", "--wait=true", "--timeout=60s"]);
  const whole = await text;
  assert.match(whole, /"finish_reason":"length"/);
  assert.match(whole, /data: \[DONE\]\s*$/);
});

test("engines by their Services: with another port, and rights to Services alone", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "service", restricted);
  const values = [
    "--set",
    "routerSpec.k8sServiceDiscoveryType=service-name",
    "--set",
    "servingEngineSpec.servicePort=8080",
    "--set",
    "servingEngineSpec.containerPort=9000",
  ];
  await kube.helm([
    "install",
    "lmstack",
    chartFolder,
    "-n",
    namespace,
    "-f",
    readmeValues,
    "--set",
    simulated,
    ...values,
    ...quick,
  ]);
  const origin = await forward(t, kube, namespace);
  await kube.eventually(async () => assert.equal((await complete(origin)).status, 200), "an answer");
  const engines = (await (await fetch(`${origin}/engines`)).json()) as Json[];
  assert.equal(engines.length, 1, JSON.stringify(engines));
});

test("two releases in one namespace serve their own models only", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "two", restricted);
  const models = { blue: "org/blue", green: "org/green" };
  await Promise.all(
    Object.entries(models).map(([release, url]) =>
      kube.helm([
        "install",
        release,
        chartFolder,
        "-n",
        namespace,
        "-f",
        readmeValues,
        "--set",
        simulated,
        "--set",
        `servingEngineSpec.modelSpec[0].modelURL=${url}`,
        "--set",
        "servingEngineSpec.modelSpec[0].pvcStorage=null",
        ...quick,
      ]),
    ),
  );
  for (const [release, url] of Object.entries(models)) {
    const origin = await forward(t, kube, namespace, release);
    const served: string = await kube.eventually(async () => {
      const { data } = (await (await fetch(`${origin}/v1/models`)).json()) as Json;
      assert.equal(data.length, 1);
      return data[0].id;
    }, `the model of ${release}`);
    assert.equal(served, url);
  }
});

/** Groups that an API server does not bring: operators install them. */
const ofOperators = [
  "autoscaling.k8s.io",
  "gateway.networking.k8s.io",
  "inference.networking.k8s.io",
  "keda.sh",
  "leaderworkerset.x-k8s.io",
  "monitoring.coreos.com",
];

const isOfOperator = ({ apiVersion }: KubeObject): boolean =>
  ofOperators.some((group) => apiVersion.startsWith(`${group}/`));

/** All that the matrix makes, in one namespace. */
function everyObject(chart: Chart, namespace: string): KubeObject[] {
  return matrix.flatMap(({ values, options }) =>
    chart
      .render(values, { ...options, namespace })
      // roles in other namespaces than the release's
      .objects.map((object) =>
        object.metadata.namespace === undefined ? object : { ...object, metadata: { ...object.metadata, namespace } },
      ),
  );
}

function dryRun(kube: Cluster, objects: readonly KubeObject[]): Promise<string> {
  const list = { apiVersion: "v1", kind: "List", items: objects };
  return kube.kubectl(
    ["create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"],
    JSON.stringify(list),
  );
}

describe("the API server", () => {
  test("takes every object of the matrix, in strict mode", async (t) => {
    const kube = cluster(t);
    const chart = requireChart(t);
    if (kube === null || chart === null) return;
    const namespace = await kube.namespace(t, "strict");
    const objects = everyObject(chart, namespace).filter((object) => !isOfOperator(object));
    assert.ok(objects.length > 200);
    await dryRun(kube, objects);
  });

  test("takes what the chart makes for operators, by the operators' own definitions", async (t) => {
    const kube = ownCluster(t);
    const chart = requireChart(t);
    if (kube === null || chart === null) return;
    const folder = requireDefinitions(t);
    if (folder === null) return;
    // some are too long for what kubectl writes down at a client-side apply
    await kube.kubectl(["apply", "--server-side", "-f", folder]);
    t.after(() => kube.kubectl(["delete", "-f", folder, "--wait=false"]));
    await kube.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "-f", folder]);

    await t.test("every object of the matrix, in strict mode", async (step) => {
      const namespace = await kube.namespace(step, "operators");
      const objects = everyObject(chart, namespace).filter(isOfOperator);
      assert.deepEqual([...new Set(objects.map(({ kind }) => kind))].toSorted(), [
        "HTTPRoute",
        "InferencePool",
        "LeaderWorkerSet",
        "PodMonitor",
        "PrometheusRule",
        "ScaledObject",
        "ServiceMonitor",
        "VerticalPodAutoscaler",
      ]);
      await dryRun(kube, objects);
      const scaler = objects.find(({ kind }) => kind === "ScaledObject");
      assert.ok(scaler);
      const wrong = { ...scaler, spec: { ...scaler.spec, minReplicas: 1 } };
      await assert.rejects(dryRun(kube, [wrong]), /unknown field "(spec\.)?minReplicas"/);
    });

    await t.test(
      "monitors, rules and dashboards, which docs/kubernetes.md upgrades to, and uninstall takes away",
      async (step) => {
        const namespace = await kube.namespace(step, "monitoring");
        const values = ["-n", namespace, "-f", readmeValues];
        const monitoring = ["-f", join(chartFolder, "examples/values-monitoring.yaml")];
        await kube.helm(["install", "lmstack", chartFolder, ...values, "--set", simulated, ...quick]);
        await kube.helm(["upgrade", "lmstack", chartFolder, ...values, ...monitoring, ...quick]);
        const made = async (): Promise<string[]> => {
          const all = await names(kube, namespace, "servicemonitors,prometheusrules,configmaps");
          return all.filter((name) => name.includes("lmstack")).toSorted();
        };
        assert.deepEqual(await made(), [
          "configmap/lmstack-dashboard-capacity-and-cost",
          "configmap/lmstack-dashboard-engines",
          "configmap/lmstack-dashboard-router",
          "configmap/lmstack-dashboard-serving-overview",
          "prometheusrule.monitoring.coreos.com/lmstack-rules",
          "servicemonitor.monitoring.coreos.com/lmstack-engine-service-monitor",
          "servicemonitor.monitoring.coreos.com/lmstack-router-service-monitor",
        ]);
        await kube.helm(["uninstall", "lmstack", "-n", namespace, "--wait", "--timeout", "60s"]);
        assert.deepEqual(await made(), []);
      },
    );
  });

  test("refuses vLLM's pods where pods are restricted, unless the example's values are there", async (t) => {
    const kube = cluster(t);
    const chart = requireChart(t);
    if (kube === null || chart === null) return;
    const namespace = await kube.namespace(t, "restricted", restricted);
    const create = (files: readonly string[]): Promise<string> => {
      const { template } = chart.render({}, { namespace, files }).engine("opt125m");
      const pod = {
        apiVersion: "v1",
        kind: "Pod",
        ...template,
        metadata: { ...template.metadata, name: "engine", namespace },
      };
      return kube.kubectl(["create", "--dry-run=server", "-f", "-"], JSON.stringify(pod));
    };
    await assert.rejects(create([readmeValues]), /violates PodSecurity "restricted/);
    await create([join(chartFolder, "examples/values-restricted.yaml")]);
  });
});
