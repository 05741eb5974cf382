// A router whose engines are found: by pods of an API server, changed under way, and swapped for other sources.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { temporaryFile } from "../../helpers/files.ts";
import { errorOf, get, post } from "../../helpers/http-client.ts";
import { startRawEngine, type RawEngine } from "../../helpers/raw-engine.ts";
import { startTestRouter, type TestRouter } from "../../helpers/router.ts";
import { until } from "../../helpers/until.ts";
import { answer, event, kubeconfigFor, pod, podList, recorded, startApiServer, type PodOptions } from "./api-server.ts";

/** A pod in which an engine of the test runs. */
function podOf(engine: RawEngine, options: PodOptions): object {
  return pod({
    ip: "127.0.0.1",
    ...options,
    annotations: { "lmstack/port": String(engine.port), ...options.annotations },
  });
}

const urls = (router: TestRouter): string[] =>
  router.context.registry
    .list()
    .filter((endpoint) => !endpoint.leaving)
    .map(({ url }) => url);

const chat = (router: TestRouter, model = "test-model") => post(router.port, "/v1/chat/completions", { model });

async function startOn(t: TestContext, url: string, argv: readonly string[] = []): Promise<TestRouter> {
  const options = ["--service-discovery", "k8s", "--kubeconfig", kubeconfigFor(t, url), ...argv];
  return startTestRouter(t, options, { early: true });
}

test("G2: a router is ready when the first whole list is there, and says until then what it waits for", async (t) => {
  const server = await startApiServer(t);
  const engine = await startRawEngine(t);
  server.onList = (request) => answer(request, recorded.forbidden);
  const router = await startOn(t, server.url);
  await until(() => server.lists.length > 0, "it has asked");
  await until(() => router.metric('lmstack_discovery_failures_total{reason="forbidden"}') > 0, "it was refused");
  const early = await get(router.port, "/ready");
  assert.equal(early.status, 503);
  assert.match(
    (early.json() as { reason: string }).reason,
    /^waiting for the first list of endpoints: .* may not list pods in namespace default: add to a Role .* \[list, watch\]}$/,
  );
  assert.ok(router.metric("lmstack_discovery_stale_seconds") > 0);
  assert.equal(
    errorOf(await chat(router)).code,
    "no_endpoint",
    "whatever the model is, nobody can call it unknown yet",
  );
  server.onList = (request) => answer(request, podList([podOf(engine, { name: "a" })], 5));
  await until(() => urls(router).length === 1, "the pod is known");
  // In a rollout a new router was ready before it knew a model, and answered 503 where the old one would have served.
  let status = 0;
  while (status !== 200) status = (await get(router.port, "/ready")).status;
  assert.notEqual(router.context.registry.serving("test-model"), undefined);
  assert.equal((await chat(router)).status, 200);
  await until(() => router.metric("lmstack_discovery_stale_seconds") === 0, "it is up to date");
});

test("a list without pods makes a router ready too", async (t) => {
  const server = await startApiServer(t);
  server.onList = (request) => answer(request, recorded.emptyList);
  const router = await startOn(t, server.url);
  await until(() => router.context.registry.synced, "it is synced");
  assert.equal((await get(router.port, "/ready")).status, 200);
  assert.equal(errorOf(await chat(router)).code, "model_not_found");
});

test("while pods are coming up a model that nobody serves is waited for, not unknown", async (t) => {
  const server = await startApiServer(t);
  server.onList = (request) => answer(request, podList([pod({ name: "a", ready: false })], 5));
  const router = await startOn(t, server.url);
  await until(() => router.context.registry.synced, "it is synced");
  const said = errorOf(await chat(router));
  assert.equal(said.status, 503);
  assert.equal(said.code, "no_endpoint");
});

test("F3: a model whose last pod was taken away is known, and its requests wait until it has one again", async (t) => {
  const server = await startApiServer(t);
  const engine = await startRawEngine(t);
  server.onList = (request) => answer(request, podList([podOf(engine, { name: "a", uid: "first" })]));
  const router = await startOn(t, server.url, ["--hold-timeout-seconds", "60"]);
  await until(() => router.context.registry.serving("test-model") !== undefined, "its model is known");
  server.watch.response.write(event("DELETED", podOf(engine, { name: "a", uid: "first", version: 2 })));
  await until(() => router.context.registry.serving("test-model") === undefined, "no pod is left");
  const waits = chat(router);
  await until(() => router.metric('lmstack_queue_length{model="test-model"}') === 1, "the request waits");
  assert.equal(errorOf(await chat(router, "another")).code, "model_not_found");
  assert.match((await get(router.port, "/v1/models")).text, /"id":"test-model"/);
  server.watch.response.write(event("ADDED", podOf(engine, { name: "b", uid: "second", version: 3 })));
  assert.equal((await waits).status, 200);
});

test("all namespaces, and several, are one fleet once each was read", async (t) => {
  const server = await startApiServer(t);
  const [a, b] = [await startRawEngine(t), await startRawEngine(t)];
  let slow: (() => void) | null = null;
  server.onList = (request) => {
    if (request.path.includes("/namespaces/one/"))
      answer(request, podList([podOf(a, { name: "a", namespace: "one" })]));
    else slow = () => answer(request, podList([podOf(b, { name: "b", namespace: "two" })]));
  };
  const router = await startOn(t, server.url, ["--k8s-namespace", "one,two"]);
  await until(() => server.watches.length === 1 && slow !== null, "one of them is read");
  assert.equal(router.context.registry.synced, false);
  (slow as (() => void) | null)?.();
  await until(() => urls(router).length === 2, "both are there");
  const everywhere = await startApiServer(t);
  everywhere.onList = (request) => answer(request, podList([podOf(a, { name: "a", namespace: "one" })]));
  const all = await startOn(t, everywhere.url, ["--k8s-namespace", "*", "--k8s-label-selector", "app in (x, y)"]);
  await until(() => urls(all).length === 1, "it is there");
  assert.equal(everywhere.lists[0]?.path, "/api/v1/pods");
  assert.equal(everywhere.lists[0]?.query.get("labelSelector"), "app in (x, y)");
});

test("Services are listed where Services are asked for", async (t) => {
  const server = await startApiServer(t);
  server.onList = (request) =>
    answer(request, podList([{ metadata: { name: "s", namespace: "n", uid: "u" }, spec: { ports: [{ port: 80 }] } }]));
  const router = await startOn(t, server.url, ["--k8s-service-discovery-type", "service-name", "--k8s-namespace", "n"]);
  await until(() => urls(router).length === 1, "it is there");
  assert.deepEqual(urls(router), ["http://s.n.svc"]);
  assert.equal(server.lists[0]?.path, "/api/v1/namespaces/n/services");
});

test("an address that another pod gets is another engine: checked anew, asked for its own models", async (t) => {
  const server = await startApiServer(t);
  const engine = await startRawEngine(t);
  server.onList = (request) => answer(request, podList([podOf(engine, { name: "a", uid: "first" })]));
  const router = await startOn(t, server.url);
  await until(() => router.context.registry.serving("test-model") !== undefined, "its model is known");
  const [first] = router.context.registry.list();
  engine.models = ["other-model"];
  engine.answersChecks = false;
  server.watch.response.write(
    event("DELETED", podOf(engine, { name: "a", uid: "first", version: 2 })) +
      event("ADDED", podOf(engine, { name: "b", uid: "second", version: 3 })),
  );
  await until(() => router.context.registry.list()[0]?.identity === "second", "the other one is there");
  const [second] = router.context.registry.list();
  assert.notEqual(second, first);
  assert.equal(second?.known, false, "nothing of the first one's word counts");
  assert.equal(errorOf(await chat(router)).status, 503);
});

test("a pod that sleeps is listed and gets no request; awake it gets some again, without a check between", async (t) => {
  const server = await startApiServer(t);
  const [a, b] = [await startRawEngine(t), await startRawEngine(t)];
  server.onList = (request) => answer(request, podList([podOf(a, { name: "a" }), podOf(b, { name: "b" })]));
  const router = await startOn(t, server.url);
  await until(() => router.context.registry.serving("test-model")?.length === 2, "both are known");
  server.watch.response.write(event("MODIFIED", podOf(a, { name: "a", labels: { sleeping: "true" }, version: 2 })));
  await until(() => router.context.registry.list().some(({ sleeping }) => sleeping), "it sleeps");
  for (let i = 0; i < 6; i++) assert.equal((await chat(router)).status, 200);
  assert.equal(a.requests.length, 0);
  assert.equal(b.requests.length, 6);
  const engines = (await get(router.port, "/engines")).json() as { url: string; state: string }[];
  assert.equal(engines.find(({ url }) => url === a.url)?.state, "sleeping");
  server.watch.response.write(event("MODIFIED", podOf(b, { name: "b", labels: { sleeping: "true" }, version: 3 })));
  await until(() => router.context.registry.list().every(({ sleeping }) => sleeping), "all sleep");
  assert.equal(errorOf(await chat(router)).code, "no_endpoint");
  server.watch.response.write(event("MODIFIED", podOf(a, { name: "a", version: 4 })));
  await until(() => router.context.registry.list().some(({ sleeping }) => !sleeping), "one is awake");
  assert.equal((await chat(router)).status, 200);
  assert.equal(a.requests.length, 1);
});

test("when adapters of a pod change it is asked for its models at once", async (t) => {
  const server = await startApiServer(t);
  const engine = await startRawEngine(t);
  server.onList = (request) => answer(request, podList([podOf(engine, { name: "a" })]));
  const router = await startOn(t, server.url);
  await until(() => router.context.registry.serving("test-model") !== undefined, "its model is known");
  engine.models = ["test-model", "adapter"];
  const annotations = { "lora-modified": "2026-01-01" };
  server.watch.response.write(event("MODIFIED", podOf(engine, { name: "a", annotations, version: 2 })));
  // the next check in turn is ten seconds away
  await until(() => router.context.registry.serving("adapter") !== undefined, "the adapter is known", 5_000);
  assert.equal((await chat(router, "adapter")).status, 200);
});

test("a pod that leaves finishes its answer, while the next request goes elsewhere", async (t) => {
  const server = await startApiServer(t);
  const a = await startRawEngine(t, { handler: () => undefined });
  const b = await startRawEngine(t);
  server.onList = (request) => answer(request, podList([podOf(a, { name: "a" })]));
  const router = await startOn(t, server.url);
  await until(() => router.context.registry.serving("test-model") !== undefined, "its model is known");
  const running = chat(router);
  await until(() => a.requests.length === 1, "the request is on it");
  server.watch.response.write(
    event("ADDED", podOf(b, { name: "b", version: 2 })) +
      event("MODIFIED", podOf(a, { name: "a", terminating: true, version: 3 })),
  );
  await until(() => router.context.registry.serving("test-model")?.[0]?.url === b.url, "the other one serves");
  assert.equal((await chat(router)).status, 200);
  assert.equal(b.requests.length, 1);
  a.requests[0]?.connection.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}");
  assert.equal((await running).text, "{}");
  await until(() => router.context.registry.list().length === 1, "the old one is gone");
});

test("annotations that make no sense are told once", async (t) => {
  const server = await startApiServer(t);
  let release: (() => void) | null = null;
  const wrong = { name: "a", ip: "127.0.0.1", annotations: { "lmstack/port": "0" } };
  server.onList = (request) => (release = () => answer(request, podList([pod(wrong)])));
  const lines: string[] = [];
  const router = await startOn(t, server.url);
  t.mock.method(router.context.log, "error", (text: string) => lines.push(text));
  await until(() => release !== null, "it asks");
  (release as (() => void) | null)?.();
  await until(() => server.watches.length === 1 && lines.length > 0, "it is told");
  for (let version = 2; version < 5; version++) {
    server.watch.response.write(event("MODIFIED", pod({ ...wrong, version })));
  }
  server.watch.response.write(event("ADDED", pod({ name: "b", ip: "127.0.0.2", version: 9 })));
  await until(() => urls(router).length === 2, "the next one is there");
  assert.deepEqual(lines, [
    'discovery: pod default/a: annotation lmstack/port: "0" is not understood and ignored; give a port\'s number or its name',
  ]);
});

test("the dynamic file can turn from listed engines to found ones and back, without a moment without engines", async (t) => {
  const server = await startApiServer(t);
  const [a, b] = [await startRawEngine(t), await startRawEngine(t)];
  let release: (() => void) | null = null;
  server.onList = (request) => (release = () => answer(request, podList([podOf(b, { name: "b" })])));
  const listed = `service_discovery: static\nrouting_logic: roundrobin\nstatic_backends: ${a.url}\n`;
  const found = "service_discovery: k8s\nrouting_logic: roundrobin\nstatic_aliases: {short: test-model}\n";
  const file = temporaryFile(t, "dynamic.yaml", listed);
  const argv = ["--dynamic-config-yaml", file, "--kubeconfig", kubeconfigFor(t, server.url)];
  const router = await startTestRouter(t, argv);
  assert.equal((await chat(router)).status, 200);
  writeFileSync(file, found);
  await router.running.reload();
  await until(() => release !== null, "it asks the API server");
  assert.deepEqual(urls(router), [a.url], "the old ones stay until then");
  assert.equal((await chat(router, "short")).status, 200, "what else the file says counts at once");
  (release as (() => void) | null)?.();
  await until(() => urls(router)[0] === b.url, "the found one is there");
  const health = (await get(router.port, "/health")).json() as { dynamic_config: { service_discovery: string } };
  assert.equal(health.dynamic_config.service_discovery, "k8s");
  writeFileSync(file, listed);
  await router.running.reload();
  assert.deepEqual(urls(router), [a.url]);
  await until(() => server.watches.every(({ gone }) => gone), "nobody watches any more");
});
