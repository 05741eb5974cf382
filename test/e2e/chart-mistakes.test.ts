// Thirteen mistakes of the chart that users come from, each held here, by its number in the list that was made of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { stringify } from "yaml";

import { chartFolder, model, requireChart, withModel, type Json } from "./chart/render.ts";

test("1: another port of engines reaches the router, by pods and by Services", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const engines = { containerPort: 9000, servicePort: 8080, modelSpec: [model] };
  const byPod = chart.render({ servingEngineSpec: engines });
  assert.equal(byPod.router().flag("--k8s-port"), "9000");
  assert.equal(byPod.engine("opt125m").container.ports[0].containerPort, 9000);
  const byService = chart.render({
    servingEngineSpec: engines,
    routerSpec: { k8sServiceDiscoveryType: "service-name" },
  });
  assert.equal(byService.router().flag("--k8s-port"), "8080");
  // one Service per model has the labels that are looked for; that of all engines has not
  const wanted = (byService.router().flag("--k8s-label-selector") ?? "").split(",").map((pair) => pair.split("="));
  const found = byService.objects.filter(
    ({ kind, metadata }) => kind === "Service" && wanted.every(([key = "", value]) => metadata.labels[key] === value),
  );
  assert.deepEqual(
    found.map(({ metadata }) => metadata.name),
    ["lmstack-opt125m-engine-service"],
  );
});

test("2: a disabled model leaves no object, and there is none by default", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const off = {
    ...model,
    name: "idle",
    enabled: false,
    pvcStorage: "50Gi",
    keda: { enabled: true },
    pdb: { enabled: true },
    chatTemplate: "{{ a }}",
    hf_token: "t",
  };
  const rendered = chart.render({ servingEngineSpec: { modelSpec: [model, off] } });
  assert.doesNotMatch(stringify(rendered.objects), /lmstack-idle|hf_token_idle/);
  const plain = chart.render();
  assert.deepEqual(plain.kinds(), ["Deployment", "Pod", "Role", "RoleBinding", "Service", "ServiceAccount"]);
});

test("3: the default trigger of KEDA asks by the label and the name that vLLM gives, and raySpec does not matter", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const query = (settings: object): string =>
    chart
      .render(withModel({ keda: { enabled: true }, ...settings }))
      .get("ScaledObject", "lmstack-opt125m-scaledobject").spec.triggers[0].metadata.query;
  assert.equal(
    query({}),
    '(sum(vllm:num_requests_waiting{namespace="default",model_name="facebook/opt-125m"}) or vector(0)) + ' +
      '(sum(lmstack_queue_length{namespace="default",model="facebook/opt-125m"}) or vector(0))',
  );
  assert.match(query({ servedModelName: "small" }), /model_name="small"/);
  assert.match(query({ vllmConfig: { extraArgs: ["--served-model-name", "tiny"] } }), /model_name="tiny"/);
  assert.match(query({ vllmConfig: { extraArgs: ["--served-model-name=tiny"] } }), /model_name="tiny"/);
  assert.match(query({ raySpec: { enabled: false } }), /model_name/);
});

test("what nobody said is left to KEDA and to LMCache: a key that is missing is no 0 and no empty text", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  // an idle count of 0 had scaled every model to nothing, if a polling interval of 0 had not been refused before
  const rendered = chart.render(
    withModel({ keda: { enabled: true, minReplicaCount: 1 }, lmcacheConfig: { enabled: true, enablePD: true } }),
  );
  const { spec } = rendered.get("ScaledObject", "lmstack-opt125m-scaledobject");
  assert.deepEqual(Object.keys(spec).toSorted(), ["minReplicaCount", "scaleTargetRef", "triggers"]);
  const empty = rendered.engine("opt125m").container.env.filter(({ value }: Json) => value === "");
  assert.deepEqual(empty, []);
});

test("4: prefix caching is left to vLLM unless somebody says something", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const { args } = chart.render(withModel({ vllmConfig: { maxModelLen: 4096 } })).engine("opt125m");
  assert.deepEqual(
    args.filter((arg) => /prefix|chunked/.test(arg)),
    [],
  );
});

test("5: no port of an LMCache controller is there that nobody listens on", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const rendered = chart.render(withModel());
  assert.deepEqual(rendered.router().container.ports, [{ name: "router-cport", containerPort: 8000 }]);
  assert.equal(rendered.get("Service", "lmstack-router-service").spec.ports.length, 1);
});

test("6: shared storage alone makes valid YAML, and the router's token is no plain text", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const rendered = chart.render(
    withModel({}, { sharedPvcStorage: { enabled: true }, routerSpec: { hf_token: "hf_plain" } }),
  );
  assert.deepEqual(rendered.engine("opt125m").container.volumeMounts, [
    { name: "lmstack-shared-pvc-storage", mountPath: "/data/shared-pvc-storage" },
  ]);
  const withoutSecret = rendered.objects.filter(({ kind }) => kind !== "Secret");
  assert.doesNotMatch(stringify(withoutSecret), /hf_plain/);
});

test("7: without a router there is no autoscaler of one, and prefill/decode opens nothing of the host", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const off = chart.render(
    withModel(
      {},
      {
        routerSpec: {
          enableRouter: false,
          autoscaling: { enabled: true },
          pdb: { enabled: true },
          ingress: { enabled: true },
          serviceMonitor: { enabled: true },
        },
      },
    ),
  );
  assert.deepEqual(off.kinds(), ["Deployment", "Service"]);
  const { pod } = chart.render(withModel({ lmcacheConfig: { enabled: true, enablePD: true } })).engine("opt125m");
  for (const key of ["hostIPC", "hostPID", "hostNetwork"]) assert.equal(pod[key], undefined);
});

test("8: a chat template needs no volume made by hand", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const inline = chart.render(withModel({ chatTemplate: "{% for m in messages %}{{ m }}{% endfor %}" }));
  assert.equal(inline.engine("opt125m").flag("--chat-template"), "/templates/template.jinja");
  assert.equal(
    inline.get("ConfigMap", "lmstack-opt125m-chat-templates")["data"]["template.jinja"],
    "{% for m in messages %}{{ m }}{% endfor %}",
  );
  const inImage = chart.render(withModel({ chatTemplate: "examples/tool_chat_template_hermes.jinja" }));
  assert.equal(inImage.engine("opt125m").flag("--chat-template"), "examples/tool_chat_template_hermes.jinja");
  assert.equal(inImage.engine("opt125m").pod.volumes, undefined);
  // whoever has that volume names it
  const claim = chart
    .render(withModel({ chatTemplate: "mine.jinja", chatTemplatePvc: "vllm-templates-pvc" }))
    .engine("opt125m");
  assert.equal(claim.flag("--chat-template"), "/templates/mine.jinja");
  assert.equal(claim.volume("/templates").persistentVolumeClaim.claimName, "vllm-templates-pvc");
});

test("9: the router's pods can be placed, drained and extended, and may use more memory than they ask for", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const plain = chart.render(withModel()).router();
  const bytes = (text: string): number => Number.parseInt(text, 10) * (text.endsWith("Gi") ? 1024 : 1);
  const { requests, limits } = plain.container.resources;
  assert.ok(bytes(limits.memory) >= 2 * bytes(requests.memory));
  assert.deepEqual(plain.container.lifecycle.preStop, { sleep: { seconds: 3 } });
  const { preStop } = plain.container.lifecycle;
  const needed =
    preStop.sleep.seconds + Number(plain.flag("--drain-delay-seconds")) + Number(plain.flag("--drain-timeout-seconds"));
  assert.ok(plain.pod.terminationGracePeriodSeconds > needed);
  assert.equal(plain.object.spec.revisionHistoryLimit, 10);
  const set: Json = {
    tolerations: [{ key: "a" }],
    topologySpreadConstraints: [{ maxSkew: 1 }],
    initContainers: [{ name: "i" }],
    sidecars: [{ name: "s" }],
    revisionHistoryLimit: 3,
    lifecycle: { preStop: { exec: { command: ["x"] } } },
    terminationGracePeriodSeconds: 900,
  };
  const router = chart.render(withModel({}, { routerSpec: set })).router();
  assert.deepEqual(router.pod.tolerations, set.tolerations);
  assert.deepEqual(router.pod.topologySpreadConstraints, set.topologySpreadConstraints);
  assert.deepEqual(router.pod.initContainers, set.initContainers);
  assert.deepEqual(router.pod.containers[1], { name: "s" });
  assert.deepEqual(router.container.lifecycle, set.lifecycle);
  assert.equal(router.object.spec.revisionHistoryLimit, 3);
  assert.equal(router.pod.terminationGracePeriodSeconds, 900);
});

test("10: the kinds that were missing are there", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const settings = { route: { enabled: true }, inferencePool: { enabled: true, endpointPickerRef: { name: "epp" } } };
  const rendered = chart.render({
    servingEngineSpec: {
      podMonitor: { enabled: true },
      modelSpec: [
        { ...model, ...settings },
        { ...model, name: "many", multiNode: { size: 2 } },
        { ...model, name: "kept", kind: "StatefulSet" },
      ],
    },
    routerSpec: { vpa: { enabled: true }, autoscaling: { enabled: true, targetRequestsInFlight: 200 } },
    networkPolicy: { enabled: true },
  });
  for (const kind of [
    "NetworkPolicy",
    "HorizontalPodAutoscaler",
    "VerticalPodAutoscaler",
    "LeaderWorkerSet",
    "StatefulSet",
    "InferencePool",
    "HTTPRoute",
    "PodMonitor",
  ]) {
    assert.ok(rendered.kinds().includes(kind), kind);
  }
  const metrics: Json[] = rendered.get("HorizontalPodAutoscaler", "lmstack-hpa-router").spec.metrics;
  assert.deepEqual(
    metrics.map((metric) => metric.resource?.name ?? metric.pods.metric.name),
    ["cpu", "lmstack_requests_in_flight"],
  );
  // several nodes, without Ray: ranks of vLLM itself
  const lws = rendered.get("LeaderWorkerSet", "lmstack-many-deployment-vllm").spec.leaderWorkerTemplate;
  const [leader, worker] = [lws.leaderTemplate, lws.workerTemplate];
  assert.ok(leader.spec.containers[0].args.includes("$(LWS_LEADER_ADDRESS)"));
  assert.ok(worker.spec.containers[0].args.includes("--headless"));
  assert.equal(worker.spec.containers[0].readinessProbe, undefined);
  // the router must not take a worker for an engine
  const selector = (rendered.router().flag("--k8s-label-selector") ?? "").split(",").map((pair) => pair.split("="));
  assert.ok(selector.some(([key = "", value]) => worker.metadata.labels[key] !== value));
  assert.ok(selector.every(([key = "", value]) => leader.metadata.labels[key] === value));
});

test("10: PrometheusRule and dashboards are made of whatever files there are", async (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const { cpSync, mkdtempSync, rmSync, writeFileSync, mkdirSync } = await import("node:fs");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const folder = mkdtempSync(join(tmpdir(), "lmstack-chart-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(chartFolder, folder, { recursive: true });
  for (const part of ["rules", "dashboards"]) {
    rmSync(join(folder, "files", part), { recursive: true, force: true });
    mkdirSync(join(folder, "files", part), { recursive: true });
  }
  const on = {
    prometheusRule: { enabled: true, additionalLabels: { release: "prom" } },
    grafanaDashboards: { enabled: true },
  };
  assert.ok(
    !chart
      .render(on, { chart: folder })
      .kinds()
      .some((kind) => kind === "PrometheusRule" || kind === "ConfigMap"),
  );
  writeFileSync(
    join(folder, "files/rules/a.yaml"),
    'groups: [{name: a, rules: [{alert: A, expr: "up == 0", annotations: {summary: "{{ $labels.job }} is down"}}]}]\n',
  );
  writeFileSync(join(folder, "files/rules/b.yaml"), "groups: [{name: b, rules: []}]\n");
  writeFileSync(join(folder, "files/dashboards/Serving_overview.json"), '{"title": "{{model}}"}\n');
  const rendered = chart.render(on, { chart: folder });
  const rule = rendered.get("PrometheusRule", "lmstack-rules");
  assert.deepEqual(
    rule.spec.groups.map(({ name }: Json) => name),
    ["a", "b"],
  );
  // Prometheus' own templates pass through Helm's
  assert.equal(rule.spec.groups[0].rules[0].annotations.summary, "{{ $labels.job }} is down");
  assert.equal(rule.metadata.labels.release, "prom");
  const dashboard = rendered.get("ConfigMap", "lmstack-dashboard-serving-overview");
  assert.equal(dashboard.metadata.labels.grafana_dashboard, "1");
  assert.deepEqual(dashboard["data"], { "Serving_overview.json": '{"title": "{{model}}"}\n' });
});

test("11: probes ask the server, and two releases in one namespace share no name and no selector", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const values = withModel(
    { pvcStorage: "1Gi", chatTemplate: "{{ a }}", hf_token: "x", keda: { enabled: true } },
    { networkPolicy: { enabled: true }, routerSpec: { options: { retries: 1 } } },
  );
  const [blue, green] = [chart.render(values, { release: "blue" }), chart.render(values, { release: "green" })];
  const names = ({ objects }: typeof blue): string[] => objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
  assert.deepEqual(
    names(blue).filter((name) => names(green).includes(name)),
    [],
  );
  for (const release of [blue, green]) {
    for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"]) {
      assert.equal(release.engine("opt125m").container[probe].httpGet.path, "/health");
    }
  }
  assert.notEqual(blue.router().flag("--k8s-label-selector"), green.router().flag("--k8s-label-selector"));
  const selected = (release: string, r: typeof blue): Json =>
    r.get("Service", `${release}-engine-service`).spec.selector;
  assert.notDeepEqual(selected("blue", blue), selected("green", green));
});

test("12: no label of a user and no version is in a selector, so all of them can be changed", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const selectors = (values: object): Json[] =>
    chart
      .render(values)
      .objects.flatMap(({ kind, spec }) => (kind === "Deployment" || kind === "Service" ? [spec.selector] : []));
  const changed = {
    commonLabels: { a: "1" },
    servingEngineSpec: {
      labels: { environment: "prod", release: "x" },
      modelSpec: [{ ...model, podLabels: { b: "2" }, labels: { c: "3" } }],
    },
    routerSpec: { labels: { environment: "prod", "app.kubernetes.io/component": "mine" }, tag: "9.9" },
  };
  assert.deepEqual(selectors(changed), selectors(withModel()));
  assert.doesNotMatch(stringify(selectors(changed)), /version|chart/);
});

test("13: no image is latest by default, and none is pulled again and again", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const rendered = chart.render(withModel({ name: "sim", engine: { simulated: true }, repository: null, tag: null }));
  const text = stringify(rendered.objects);
  assert.doesNotMatch(text, /:latest|imagePullPolicy/);
  assert.equal(rendered.router().container.image, "lmstack/lmstack:0.1.0");
});

test("labels, annotations and node selectors are texts, also where people write numbers and true", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const loose = { number: 1.5, flag: true, word: "x" };
  const written = { number: "1.5", flag: "true", word: "x" };
  const everywhere = { annotations: loose, podAnnotations: loose, serviceAnnotations: loose, nodeSelector: loose };
  const rendered = chart.render({
    commonLabels: loose,
    servingEngineSpec: {
      modelSpec: [
        {
          ...model,
          ...everywhere,
          labels: loose,
          podLabels: loose,
          pvcStorage: "1Gi",
          pvcLabels: loose,
          pvcAnnotations: loose,
          pvcMatchLabels: loose,
          pdb: { enabled: true, labels: loose, annotations: loose },
          route: { enabled: true, labels: loose, annotations: loose },
        },
        { ...model, name: "kept", kind: "StatefulSet", pvcStorage: "1Gi", pvcLabels: loose, pvcAnnotations: loose },
        { ...model, name: "many", multiNode: { size: 2, annotations: loose } },
      ],
    },
    routerSpec: {
      ...everywhere,
      labels: loose,
      ingress: { enabled: true, annotations: loose, hosts: [{ host: "h.example" }] },
      pdb: { enabled: true, labels: loose, annotations: loose },
      serviceMonitor: { enabled: true, additionalLabels: loose },
    },
    grafanaDashboards: { enabled: true, labels: loose, annotations: loose },
  });
  const maps: Json[] = [];
  JSON.stringify(rendered.objects, (key, value: Json) => {
    if (["annotations", "labels", "matchLabels", "nodeSelector"].includes(key)) maps.push(value);
    return value;
  });
  const wrong = maps.flatMap((map) => Object.entries(map)).filter(([, value]) => typeof value !== "string");
  assert.deepEqual(wrong, []);
  const { annotations } = rendered.get("Ingress", "lmstack-ingress-router").metadata;
  assert.deepEqual(annotations, written);
});

test("an annotation that is made of digits by chance stays a text", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  // of these options the sum begins with sixteen digits: the API server refused the number that YAML made of them
  const options = { retries: 3 };
  const { annotations } = chart.render(withModel({}, { routerSpec: { options } })).router().template.metadata;
  assert.equal(annotations["checksum/config"], "8915568215298725");
});
