// Models on a real control plane that are not simply there: without an engine until somebody asks, on engines that publish
// what they hold, on a volume that is somebody else's.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { complete, forward, metric, quick, readmeValues, restricted, simulated } from "./chart/release.ts";
import { chartFolder, type Json } from "./chart/render.ts";
import { cluster, ownCluster } from "./cluster.ts";

const deployment = "deployment/lmstack-opt125m-deployment-vllm";
const waiting = 'lmstack_queue_length{model="facebook/opt-125m"}';

test("requests for a model that is scaled to zero wait, are counted for the autoscaler, and are answered once it has an engine", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "zero", restricted);
  const values = ["-f", readmeValues, "--set", simulated, "--set", "servingEngineSpec.modelSpec[0].replicaCount=0"];
  await kube.helm(["install", "lmstack", chartFolder, "-n", namespace, ...values, ...quick]);
  const origin = await forward(t, kube, namespace);
  const { data } = (await (await fetch(`${origin}/v1/models`)).json()) as Json;
  assert.deepEqual(
    data.map(({ id }: Json) => id),
    ["facebook/opt-125m"],
  );

  const said = await kube.helm(["test", "lmstack", "-n", namespace, "--logs"]);
  assert.match(said, /facebook\/opt-125m is listed/);

  const wake = async (): Promise<void> => {
    const answers = Promise.all([complete(origin), complete(origin), complete(origin)]);
    await kube.eventually(async () => assert.equal(await metric(origin, waiting), 3), "three that wait");
    await kube.kubectl(["scale", deployment, "-n", namespace, "--replicas=1"]);
    assert.deepEqual(
      (await answers).map(({ status }) => status),
      [200, 200, 200],
    );
    assert.equal(await metric(origin, waiting), 0);
  };
  await wake();
  assert.equal((await complete(origin, {}, { model: "nobody/knows" })).status, 404);

  // by hand, which the chart does not see
  await kube.kubectl(["scale", deployment, "-n", namespace, "--replicas=0"]);
  await kube.eventually(async () => {
    assert.deepEqual(await (await fetch(`${origin}/engines`)).json(), []);
  }, "the last engine to go");
  await wake();
});

test("engines that publish KV events are found by their pods' annotation, and a conversation goes where it is held", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "events", restricted);
  const values = [
    "-f",
    join(chartFolder, "examples/values-kv-events.yaml"),
    "--set",
    simulated,
    "--set",
    "servingEngineSpec.modelSpec[0].replicaCount=2",
    // other ports than everybody's: engines are not asked for them
    "--set",
    "servingEngineSpec.modelSpec[0].kvEvents.port=7557",
    "--set",
    "servingEngineSpec.modelSpec[0].kvEvents.replayPort=7558",
  ];
  await kube.helm(["install", "lmstack", chartFolder, "-n", namespace, ...values, ...quick]);
  const origin = await forward(t, kube, namespace);
  /** As metrics name them. */
  const engines = async (): Promise<string[]> => {
    const found = (await (await fetch(`${origin}/engines`)).json()) as { url: string }[];
    return found.map(({ url }) => new URL(url).host);
  };
  await kube.eventually(async () => {
    const found = await engines();
    assert.equal(found.length, 2);
    for (const host of found) {
      assert.equal(await metric(origin, `lmstack_kv_event_state{endpoint="${host}",state="exact"}`), 1, host);
    }
  }, "both engines to be followed");

  const prompt = Array.from({ length: 400 }, (_, i) => `word${i}`).join(" ");
  const ask = async (): Promise<{ endpoint: string; cached: number }> => {
    const settings = { model: "meta-llama/Llama-3.1-8B-Instruct", prompt, max_tokens: 4 };
    const answer = await complete(origin, { "x-lmstack-explain": "1" }, settings);
    assert.equal(answer.status, 200, await answer.clone().text());
    const { endpoint }: Json = JSON.parse(answer.headers.get("x-lmstack-explain") ?? "{}");
    const { usage } = (await answer.json()) as Json;
    return { endpoint, cached: usage.prompt_tokens_details.cached_tokens };
  };
  const first = await ask();
  assert.equal(first.cached, 0);
  const stored = 'event="stored"';
  await kube.eventually(async () => {
    const counts = await Promise.all(
      (await engines()).map((host) => metric(origin, `lmstack_kv_events_total{endpoint="${host}",${stored}}`)),
    );
    assert.ok(counts.some((count) => count > 0));
  }, "its events");
  const second = await ask();
  assert.equal(second.endpoint, first.endpoint);
  assert.ok(second.cached > 0);
  assert.ok((await metric(origin, 'lmstack_kv_lookups_total{view="exact",reason="exact"}')) > 0);
  assert.equal(await metric(origin, 'lmstack_kv_predictions_total{result="less"}'), 0);
});

test("engines that are not root may write on a shared volume that root has made", async (t) => {
  // the folder is on the node: it must be this machine
  const kube = ownCluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "shared");
  const folder = mkdtempSync(join(tmpdir(), "lmstack-shared-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const values = [
    "-f",
    readmeValues,
    "--set",
    simulated,
    "--set",
    "sharedPvcStorage.enabled=true",
    "--set",
    `sharedPvcStorage.hostPath=${folder}`,
    "--set",
    "sharedPvcStorage.image.repository=busybox",
    "--set-string",
    "sharedPvcStorage.image.tag=1.37",
  ];
  assert.equal(statSync(folder).uid, 0);
  await kube.helm(["install", "shared", chartFolder, "-n", namespace, ...values, ...quick]);
  // a volume belongs to no namespace
  t.after(() => kube.helm(["uninstall", "shared", "-n", namespace, "--wait"]));
  const engine = ["exec", "-n", namespace, "deployment/shared-opt125m-deployment-vllm", "-c", "vllm", "--"];
  await kube.kubectl([...engine, "touch", "/data/shared-pvc-storage/mine"]);
  assert.equal(statSync(join(folder, "mine")).uid, 65_532);
});
