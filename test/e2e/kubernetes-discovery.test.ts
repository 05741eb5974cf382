// Discovery in a real cluster, under load: the router and simulated engines run as pods, with a Role that holds just what
// discovery uses, while pods come, go, flip, die, and the control plane fails. After each: no request has failed, and the
// router's endpoints are the ready pods.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { metric } from "./chart/release.ts";
import { ownCluster, type Cluster, type KubernetesObject } from "./cluster.ts";
import { SteadyLoad, type LoadCounts } from "./steady-load.ts";

const model = "facebook/opt-125m";
const image = process.env["LMSTACK_TEST_IMAGE"] ?? "lmstack";
const requestsPerSecond = 100;
/** How soon the router must have followed. */
const followMs = 2_000;

const restricted = {
  runAsNonRoot: true,
  runAsUser: 65_532,
  readOnlyRootFilesystem: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
};

function role(namespace: string, resource: "pods" | "services"): KubernetesObject[] {
  const metadata = { name: `router-${resource}`, namespace };
  const apiGroup = "rbac.authorization.k8s.io";
  return [
    {
      apiVersion: `${apiGroup}/v1`,
      kind: "Role",
      metadata,
      rules: [{ apiGroups: [""], resources: [resource], verbs: ["list", "watch"] }],
    },
    {
      apiVersion: `${apiGroup}/v1`,
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup, kind: "Role", name: metadata.name },
      subjects: [{ kind: "ServiceAccount", name: "router" }],
    },
  ];
}

function engines(namespace: string, replicas: number): KubernetesObject {
  const labels = { app: "engine", model: "opt125m" };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "engines", namespace },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 15,
          containers: [
            {
              name: "engine",
              image,
              args: ["engine", "--host", "0.0.0.0", "--port", "8000", "--model", model],
              ports: [{ name: "http", containerPort: 8000 }],
              readinessProbe: {
                exec: { command: ["sh", "-c", "test ! -e /tmp/unready && curl -sf http://localhost:8000/health"] },
                periodSeconds: 1,
                failureThreshold: 1,
                timeoutSeconds: 5,
              },
              // what runs has time to end: an engine that is told to stop cuts its answers
              lifecycle: { preStop: { sleep: { seconds: 3 } } },
            },
          ],
        },
      },
    },
  };
}

function routerPod(namespace: string, name: string, args: readonly string[]): KubernetesObject {
  const options = ["router", "--host", "0.0.0.0", "--port", "8000", "--service-discovery", "k8s"];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { app: "router" } },
    spec: {
      serviceAccountName: "router",
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: "router",
          image,
          args: [...options, "--k8s-namespace", namespace, "--log-level", "info", "--log-format", "json", ...args],
          readinessProbe: { httpGet: { path: "/ready", port: 8000 }, periodSeconds: 1 },
          securityContext: restricted,
        },
      ],
    },
  };
}

interface PodObject {
  readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string };
  readonly status: {
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

interface EngineView {
  readonly url: string;
  readonly identity: string;
  readonly state: string;
}

/** A router in a namespace, and what a person would look at. */
class Stage {
  readonly kube: Cluster;
  readonly namespace: string;
  url = "";

  constructor(kube: Cluster, namespace: string) {
    this.kube = kube;
    this.namespace = namespace;
  }

  async startRouter(name: string, args: readonly string[], ready = true): Promise<void> {
    await this.kube.apply(routerPod(this.namespace, name, args));
    const condition = ready ? "--for=condition=Ready" : "--for=jsonpath={.status.podIP}";
    try {
      await this.kubectl("wait", condition, `pod/${name}`, "--timeout=60s");
    } catch (error) {
      // what stood in the way is known to the cluster alone
      const words = [await this.kubectl("describe", "pod", name), await this.kubectl("get", "nodes")];
      throw new Error(`the router's pod did not come: ${words.join("\n")}`, { cause: error });
    }
    const pod = (await this.kube.api("GET", `/api/v1/namespaces/${this.namespace}/pods/${name}`)) as PodObject;
    this.url = `http://${pod.status.podIP}:8000`;
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return this.kube.kubectl(["-n", this.namespace, ...args]);
  }

  /** All engine pods, those on their way out too. */
  async pods(): Promise<readonly PodObject[]> {
    const path = `/api/v1/namespaces/${this.namespace}/pods?labelSelector=app%3Dengine`;
    return ((await this.kube.api("GET", path)) as { items: readonly PodObject[] }).items;
  }

  async readyPods(): Promise<string[]> {
    return (await this.pods())
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .filter(({ status }) => status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True"))
      .map(({ metadata, status }) => `${metadata.uid} http://${status.podIP}:8000`)
      .sort();
  }

  async engines(): Promise<readonly EngineView[]> {
    const response = await fetch(`${this.url}/engines`);
    return (await response.json()) as readonly EngineView[];
  }

  /** Value of a series; 0 where there is none. */
  metric(series: string): Promise<number> {
    return metric(this.url, series);
  }

  /** Waits until so many pods are there, all of them ready, none on its way out. */
  async settles(count: number): Promise<void> {
    await this.kube.eventually(async () => {
      const [all, ready] = [await this.pods(), await this.readyPods()];
      if (all.length !== count || ready.length !== count) {
        throw new Error(`${ready.length} of ${all.length} pods are ready, ${count} are wanted`);
      }
    }, `${count} ready pods`);
  }

  /** Takes a pod out of the selection and back: a change that needs no controller, which after an outage take a minute. */
  async parks(): Promise<void> {
    const name = (await this.pods())[0]?.metadata.name ?? "";
    for (const app of ["parked", "engine"] as const) {
      await this.relabels(name, app);
      await this.follows();
    }
  }

  async relabels(name: string, app: "parked" | "engine"): Promise<void> {
    await this.kubectl("label", "pod", name, `app=${app}`, "--overwrite");
  }

  /** The router must show the ready pods, all of them usable, and nothing else, within two seconds from now. */
  async follows(): Promise<void> {
    const began = performance.now();
    for (;;) {
      const wanted = await this.readyPods();
      const shown = (await this.engines()).map(
        ({ url, identity, state }) => `${identity} ${url}${state === "ready" ? "" : ` ${state}`}`,
      );
      const took = performance.now() - began;
      if (JSON.stringify(shown.sort()) === JSON.stringify(wanted)) return;
      if (took > followMs) assert.deepEqual(shown, wanted, `the router has not followed within ${followMs} ms`);
      await pause(50);
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The process of a command of lmstack in a pod's container, by its host name. */
function processIn(pod: string, command: "engine" | "router"): number {
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (readFileSync(join("/proc", entry, "root", "etc/hostname"), "utf8").trim() !== pod) continue;
      if (readFileSync(`/proc/${entry}/cmdline`, "utf8").includes(`\0${command}\0`)) return Number(entry);
    } catch {
      // it has ended, or is somebody else's
    }
  }
  throw new Error(`no process of pod ${pod}`);
}

interface Usage {
  readonly cpuSeconds: number;
  /** The most that was ever resident. */
  readonly peakBytes: number;
}

function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13)
    .map(Number);
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  // clock ticks: a hundred a second on every Linux
  return { cpuSeconds: (user + system) / 100, peakBytes: Number(peak) * 1024 };
}

async function start(t: TestContext, kube: Cluster, prefix: string): Promise<Stage> {
  const namespace = await kube.namespace(t, prefix);
  await kube.apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "router", namespace } });
  return new Stage(kube, namespace);
}

test("a router that may not look says so and waits, and is ready as soon as it may", async (t) => {
  const kube = ownCluster(t);
  if (kube === null) return;
  const stage = await start(t, kube, "rights");
  await stage.startRouter("router", [], false);
  await kube.eventually(async () => {
    const response = await fetch(`${stage.url}/ready`);
    assert.equal(response.status, 503);
    assert.match(await response.text(), /may not list pods in namespace rights-\w+: add to a Role/);
  }, "it says what it lacks");
  await kube.apply(...role(stage.namespace, "pods"));
  const began = performance.now();
  await kube.eventually(async () => assert.equal((await fetch(`${stage.url}/ready`)).status, 200), "it is ready");
  assert.ok(performance.now() - began < followMs);
});

test("Services are engines too, by name and on their own port", async (t) => {
  const kube = ownCluster(t);
  if (kube === null) return;
  const stage = await start(t, kube, "services");
  const { namespace } = stage;
  await kube.apply(...role(namespace, "services"), engines(namespace, 1), {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "engine-service", namespace, labels: { model: "opt125m" } },
    spec: { selector: { app: "engine" }, ports: [{ name: "service-port", port: 80, targetPort: "http" }] },
  });
  await stage.settles(1);
  const options = ["--k8s-service-discovery-type", "service-name", "--k8s-label-selector", "model=opt125m"];
  await stage.startRouter("router", options);
  const body = JSON.stringify({ model, prompt: "hello", max_tokens: 4 });
  const headers = { "content-type": "application/json" };
  await kube.eventually(async () => {
    const response = await fetch(`${stage.url}/v1/completions`, { method: "POST", headers, body });
    assert.equal(response.status, 200, await response.text());
  }, "an answer");
  assert.deepEqual(
    (await stage.engines()).map(({ url }) => url),
    [`http://engine-service.${namespace}.svc`],
  );
});

/** Addresses of engines that are not there but for what a check asks: one process answers for all of them. */
async function answerChecks(t: TestContext, addresses: readonly string[]): Promise<void> {
  const models = JSON.stringify({ object: "list", data: [{ id: model, object: "model" }] });
  const servers = await Promise.all(
    addresses.map(
      (address) =>
        new Promise<http.Server>((resolve, reject) => {
          const server = http.createServer((request, response) => {
            response.end(request.url === "/v1/models" ? models : "");
          });
          server.once("error", reject);
          server.listen(8000, address, () => resolve(server));
        }),
    ),
  );
  t.after(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });
}

test("a thousand pods that come within seconds are followed with less than a core and 200 MB, and then there is quiet", async (t) => {
  const kube = ownCluster(t);
  if (kube === null) return;
  const stage = await start(t, kube, "thousand");
  const { namespace } = stage;
  await kube.apply(...role(namespace, "pods"));
  // a name of its own: the router of the test before may still be on its way out, and its process be found in place of this one
  await stage.startRouter("router-of-a-thousand", ["--k8s-label-selector", "app=engine"]);
  const addresses = Array.from({ length: 1000 }, (_, i) => `127.200.${Math.floor(i / 250)}.${1 + (i % 250)}`);
  await answerChecks(t, addresses);
  const path = `/api/v1/namespaces/${namespace}/pods`;
  // from outside: to ask for the metrics of a thousand endpoints is not for nothing
  const pid = processIn("router-of-a-thousand", "router");
  const begin = async (address: string, i: number): Promise<void> => {
    await kube.api("POST", path, {
      metadata: { name: `engine-${i}`, labels: { app: "engine", model: "opt125m" } },
      // objects only: nobody will ever place them
      spec: {
        schedulerName: "nobody",
        containers: [{ name: "engine", image, ports: [{ name: "http", containerPort: 8000 }] }],
      },
    });
    const conditions = [{ type: "Ready", status: "True" }];
    const status = { phase: "Running", podIP: address, podIPs: [{ ip: address }], conditions };
    await kube.api("PATCH", `${path}/engine-${i}/status`, { status }, "application/merge-patch+json");
  };
  const before = usageOf(pid);
  const began = performance.now();
  await Promise.all(addresses.map(begin));
  const appeared = performance.now();
  await stage.follows();
  const after = usageOf(pid);
  const cores = (after.cpuSeconds - before.cpuSeconds) / ((performance.now() - began) / 1000);
  const quietFrom = performance.now();
  await pause(10_000);
  const calm = usageOf(pid);
  const quiet = (calm.cpuSeconds - after.cpuSeconds) / ((performance.now() - quietFrom) / 1000);
  t.diagnostic(
    `${((appeared - began) / 1000).toFixed(1)} s for 1,000 pods; ${cores.toFixed(2)} cores meanwhile, ${quiet.toFixed(2)} in quiet; ` +
      `at most ${before.peakBytes / 1e6} MB before, ${calm.peakBytes / 1e6} MB after`,
  );
  assert.ok(cores < 1, `${cores} cores`);
  assert.ok(calm.peakBytes < 200e6, `${calm.peakBytes} bytes`);
  assert.ok(quiet < 0.25, `${quiet} cores in quiet`);
});

// The last one: kubelets learn to wait up to a minute for an API server that was away, and a pod of the next test that came
// to such a node had no address within its 60 s.
test("under load, whatever happens to pods and control plane, no request fails and the router follows", async (t) => {
  const kube = ownCluster(t);
  if (kube === null) return;
  const stage = await start(t, kube, "discovery");
  const { namespace } = stage;
  await kube.apply(...role(namespace, "pods"), engines(namespace, 2));
  // short watches, so that a right that is taken away is felt: a watch that is open is never cut for it
  await stage.startRouter("router", ["--k8s-label-selector", "app=engine", "--k8s-watcher-timeout-seconds", "4"]);
  await stage.settles(2);
  await stage.follows();
  const load = new SteadyLoad(stage.url, model, requestsPerSecond);
  t.after(() => load.stop());

  /** Judges what happened since the step before. */
  const none = async (step: TestContext, mayCut = false): Promise<LoadCounts> => {
    const counts = await load.take();
    step.diagnostic(
      `${counts.sent} requests, ${counts.ok} good, ${counts.cut} streams cut, ${counts.failed.length} failed`,
    );
    assert.deepEqual(counts.failed.slice(0, 5), []);
    if (!mayCut) assert.equal(counts.cut, 0, "streams were cut");
    assert.ok(counts.sent > 0);
    return counts;
  };

  await t.test("scaled from 2 to 6 to 1", async (step) => {
    await stage.kubectl("scale", "deployment/engines", "--replicas=6");
    await stage.settles(6);
    await stage.follows();
    await stage.kubectl("scale", "deployment/engines", "--replicas=1");
    await stage.settles(1);
    await stage.follows();
    await none(step);
  });

  await t.test("restarted one after the other", async (step) => {
    await stage.kubectl("scale", "deployment/engines", "--replicas=2");
    await stage.settles(2);
    const before = await stage.readyPods();
    await stage.kubectl("rollout", "restart", "deployment/engines");
    await stage.kubectl("rollout", "status", "deployment/engines", "--timeout=90s");
    await stage.settles(2);
    await stage.follows();
    assert.ok((await stage.readyPods()).every((pod) => !before.includes(pod)));
    await none(step);
  });

  await t.test("a pod deleted by force", async (step) => {
    const [pod] = await stage.pods();
    await stage.kubectl("delete", "pod", pod?.metadata.name ?? "", "--force", "--grace-period=0");
    await kube.eventually(
      async () => assert.ok((await stage.pods()).every(({ metadata }) => metadata.uid !== pod?.metadata.uid)),
      "it is gone",
    );
    await stage.follows();
    await stage.settles(2);
    await stage.follows();
    await none(step, true);
  });

  await t.test("a pod that is not ready for a while", async (step) => {
    const name = (await stage.pods())[0]?.metadata.name ?? "";
    await stage.kubectl("exec", name, "--", "touch", "/tmp/unready");
    await kube.eventually(async () => assert.equal((await stage.readyPods()).length, 1), "it is not ready");
    await stage.follows();
    await stage.kubectl("exec", name, "--", "rm", "/tmp/unready");
    await stage.settles(2);
    await stage.follows();
    await none(step);
  });

  await t.test("an engine's process killed", async (step) => {
    const name = (await stage.pods())[0]?.metadata.name ?? "";
    process.kill(processIn(name, "engine"), "SIGKILL");
    await kube.eventually(async () => assert.equal((await stage.readyPods()).length, 1), "it is not ready");
    await stage.follows();
    await stage.settles(2);
    await stage.follows();
    await none(step, true);
  });

  await t.test("the API server away for 30 seconds", async (step) => {
    kube.killApiServer();
    const before = await stage.engines();
    await pause(30_000);
    assert.deepEqual(
      (await stage.engines()).map(({ url, state }) => `${url} ${state}`),
      before.map(({ url, state }) => `${url} ${state}`),
    );
    assert.ok((await stage.metric("lmstack_discovery_stale_seconds")) > 20);
    assert.equal((await fetch(`${stage.url}/ready`)).status, 200);
    await kube.revive();
    await stage.follows();
    assert.equal(await stage.metric("lmstack_discovery_stale_seconds"), 0);
    await stage.parks();
    await none(step);
  });

  await t.test("etcd compacted while the watch is down", async (step) => {
    const expired = 'lmstack_discovery_failures_total{reason="expired"}';
    const before = await stage.metric(expired);
    kube.killApiServer();
    await kube.compactEtcd();
    await kube.revive();
    await kube.eventually(async () => assert.ok((await stage.metric(expired)) > before), "the router was told 410");
    await stage.follows();
    await stage.parks();
    await none(step);
  });

  await t.test("the right to look taken away and given back", async (step) => {
    const refused = 'lmstack_discovery_failures_total{reason="forbidden"}';
    const before = await stage.metric(refused);
    await stage.kubectl("delete", "rolebinding", "router-pods");
    await kube.eventually(async () => assert.ok((await stage.metric(refused)) > before), "the router is refused");
    assert.ok((await stage.metric("lmstack_discovery_stale_seconds")) > 0);
    const log = await stage.kubectl("logs", "router");
    assert.ok(
      log.includes(
        `system:serviceaccount:${namespace}:router may not watch pods in namespace ${namespace}: add to a Role of namespace ${namespace} that is bound to it the rule {apiGroups: [\\"\\"], resources: [pods], verbs: [list, watch]}`,
      ),
      log,
    );
    const [shown] = await stage.engines();
    const uid = shown?.identity;
    const name = (await stage.pods()).find(({ metadata }) => metadata.uid === uid)?.metadata.name ?? "";
    await stage.relabels(name, "parked");
    await pause(2 * followMs);
    assert.ok(
      (await stage.engines()).some(({ identity }) => identity === uid),
      "it can't know",
    );
    assert.equal((await fetch(`${stage.url}/ready`)).status, 200);
    await kube.apply(...role(namespace, "pods"));
    await stage.follows();
    assert.ok(!(await stage.engines()).some(({ identity }) => identity === uid), "it knows");
    await stage.relabels(name, "engine");
    await stage.follows();
    await none(step);
  });
});
