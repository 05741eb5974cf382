// What is read from a pod and from a Service: when it is an engine, where, and of which kind.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readPod, type Pod } from "../../../src/fleet/discovery/kubernetes/pod.ts";
import { readService, type Service } from "../../../src/fleet/discovery/kubernetes/service.ts";
import { pod, recorded, type PodOptions } from "./api-server.ts";

const read = (options: Omit<PodOptions, "name">) =>
  readPod(pod({ name: "p", ip: "10.1.2.3", ...options }) as Pod, 8000);
const url = (options: Omit<PodOptions, "name">) => read(options).spec?.url;

test("recorded pods of a real cluster are engines", () => {
  const { items } = JSON.parse(recorded.list.body) as { items: Pod[] };
  const found = items.map((item) => readPod(item, 1));
  assert.deepEqual(
    found.map(({ state }) => state),
    ["ready", "ready"],
  );
  const [first] = found;
  assert.match(first?.spec?.url ?? "", /^http:\/\/127\.\d+\.\d+\.\d+:8000$/);
  assert.equal(first?.spec?.label, "opt");
  assert.equal(first?.spec?.models, null);
  assert.equal(first?.spec?.identity, items[0]?.metadata.uid);
});

test("a recorded pod goes through its life: coming, ready, leaving", () => {
  const states = recorded.watch.body
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { type: string; object: Pod })
    .filter(({ type }) => type !== "BOOKMARK")
    .map(({ object }) => `${object.metadata.name} ${readPod(object, 8000).state}`);
  const of = (name: string) => [...new Set(states.filter((state) => state.startsWith(name)))];
  assert.deepEqual(of("engine-c"), ["engine-c coming", "engine-c ready"]);
  assert.deepEqual(of("engine-a"), ["engine-a ready", "engine-a none"]);
});

test("only a pod that is ready, has an address and stays is an engine", () => {
  assert.equal(read({}).state, "ready");
  assert.equal(read({ ready: false }).state, "coming");
  assert.equal(readPod(pod({ name: "p" }) as Pod, 8000).state, "coming", "without an address");
  assert.equal(read({ terminating: true }).state, "none", "still ready, but on its way out");
  for (const phase of ["Succeeded", "Failed"]) {
    const over = { ...pod({ name: "p", ip: "10.1.2.3" }), status: { phase, podIP: "10.1.2.3" } } as unknown as Pod;
    assert.equal(readPod(over, 8000).state, "none");
  }
  assert.equal(readPod({ metadata: { name: "p", uid: "u" } }, 8000).state, "coming", "a pod that nobody has looked at");
});

test("the port is the annotation's, else the container port's by name, else the option's", () => {
  assert.equal(url({}), "http://10.1.2.3:8000");
  assert.equal(url({ port: 9000 }), "http://10.1.2.3:9000");
  assert.equal(url({ port: 9000, annotations: { "lmstack/port": "7000" } }), "http://10.1.2.3:7000");
  assert.equal(url({ port: 9000, annotations: { "lmstack/port": "http" } }), "http://10.1.2.3:9000");
  const chart = {
    ...pod({ name: "p", ip: "10.1.2.3" }),
    spec: {
      containers: [
        {
          ports: [
            { name: "http", containerPort: 1 },
            { name: "container-port", containerPort: 2 },
            { name: "kv-events", containerPort: 5557 },
          ],
        },
      ],
    },
  } as unknown as Pod;
  assert.equal(readPod(chart, 8000).spec?.url, "http://10.1.2.3:2");
});

test("an annotation that makes no sense is said and counts as absent", () => {
  const cases = [
    ["lmstack/port", "99999", /port: "99999" is not understood/],
    ["lmstack/port", "absent", /no container port is called absent; 8000 is used/],
    ["lmstack/scheme", "ftp", /give http or https/],
    [
      "lmstack/kv-events",
      "5557:x",
      /lmstack\/kv-events: "5557:x" is not understood and ignored; give `ask`, `off`, or PORT/,
    ],
  ] as const;
  for (const [name, value, expected] of cases) {
    const { spec, mistakes } = read({ annotations: { [name]: value } });
    assert.equal(spec?.url, "http://10.1.2.3:8000");
    assert.equal(mistakes.length, 1);
    assert.match(mistakes[0] ?? "", expected);
    assert.match(mistakes[0] ?? "", /^pod default\/p: /);
  }
});

test("IPv6 addresses stand in brackets", () => {
  assert.equal(url({ ip: "fd00::7" }), "http://[fd00::7]:8000");
});

test("labels and annotations say models, pool, sleep, adapters and KV events", () => {
  const { spec } = read({
    labels: { model: "opt125m", sleeping: "true" },
    annotations: {
      "lmstack/models": "a/b, c ,,c",
      "lora-modified": "7",
      "lmstack/kv-events": "5557:5558:2",
      "lmstack/scheme": "https",
    },
  });
  assert.deepEqual(spec, {
    url: "https://10.1.2.3:8000",
    models: ["a/b", "c"],
    label: "opt125m",
    modelType: null,
    identity: "uid-p",
    sleeping: true,
    modelsRevision: "7",
    kvEvents: { port: 5557, replayPort: 5558, ranks: 2, topic: "" },
  });
  assert.equal(read({ labels: { model: "opt125m", "lmstack/role": "prefill" } }).spec?.label, "prefill");
  assert.equal(read({ annotations: { "lmstack/kv-events": "off" } }).spec?.kvEvents, "off");
  assert.equal(read({ labels: { sleeping: "false" } }).spec?.sleeping, false);
});

test("a Service is addressed by its name, on its own port and not on the engine's", () => {
  const service = (ports: object[], annotations = {}): Service => ({
    metadata: { name: "s", namespace: "n", uid: "u", annotations },
    spec: { ports },
  });
  const at = (ports: object[], annotations = {}) => readService(service(ports, annotations)).spec?.url;
  assert.equal(at([{ name: "service-port", port: 80 }]), "http://s.n.svc");
  assert.equal(at([{ port: 8000 }]), "http://s.n.svc:8000");
  assert.equal(
    at([
      { name: "metrics", port: 9 },
      { name: "http", port: 8080 },
    ]),
    "http://s.n.svc:8080",
  );
  assert.equal(
    at([
      { name: "x", port: 9, protocol: "UDP" },
      { name: "y", port: 10 },
    ]),
    "http://s.n.svc:10",
  );
  assert.equal(at([{ port: 8000 }], { "lmstack/port": "9000" }), "http://s.n.svc:9000");
  const wrong = readService(service([{ port: 8000 }], { "lmstack/port": "absent" }));
  assert.equal(wrong.spec?.url, "http://s.n.svc:8000");
  assert.match(wrong.mistakes[0] ?? "", /service n\/s: no port is called absent/);
  assert.equal(readService(service([])).spec, null);
});
