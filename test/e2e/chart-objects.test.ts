// What the chart renders is valid: for all values of the matrix, for every Kubernetes that Chart.yaml names.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { matrix } from "./chart/matrix.ts";
import { chartFolder, requireChart, type Json, type KubeObject } from "./chart/render.ts";
import { typeErrors } from "./chart/typed.ts";

test("helm lint --strict has nothing to say", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  for (const { values, options, name } of matrix) {
    const files = (options.files ?? []).flatMap((file) => ["-f", file]);
    const { status, text } = chart.run(["lint", "--strict", chartFolder, ...files, "-f", "-"], values);
    assert.equal(status, 0, `${name}: ${text}`);
    assert.doesNotMatch(text, /WARNING|ERROR/, name);
  }
});

test("no object has a field that its kind does not have, and none lacks one that it needs", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const objects = matrix.flatMap(({ name, values, options }) =>
    chart.render(values, options).objects.map((object) => ({ from: name, object })),
  );
  assert.equal(typeErrors(t, objects), "");
  const kinds = new Set(objects.map(({ object }) => object.kind));
  for (const kind of [
    "ConfigMap",
    "Deployment",
    "HTTPRoute",
    "HorizontalPodAutoscaler",
    "InferencePool",
    "Ingress",
    "LeaderWorkerSet",
    "NetworkPolicy",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "PodMonitor",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ScaledObject",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
    "StatefulSet",
    "VerticalPodAutoscaler",
  ]) {
    assert.ok(kinds.has(kind), `the matrix makes no ${kind}`);
  }
});

test("a field that a kind does not have is found", (t) => {
  if (requireChart(t) === null) return;
  const object = {
    apiVersion: "keda.sh/v1alpha1",
    kind: "ScaledObject",
    metadata: { name: "x" },
    spec: { scaleTargetRef: { name: "x" }, triggers: [], minReplicas: 1 },
  };
  assert.match(typeErrors(t, [{ from: "test", object }]), /minReplicas/);
});

describe("Kubernetes", () => {
  for (const minor of [28, 29, 30, 31, 32, 33, 34, 35]) {
    test(`1.${minor}: everything is rendered`, (t) => {
      const chart = requireChart(t);
      if (chart === null) return;
      for (const { values, options } of matrix.filter(
        ({ name }) => name === "everything" || name === "values-customized",
      )) {
        const rendered = chart.render(values, { ...options, kube: `1.${minor}.0` });
        // the sleep action is on by default from 1.30 on
        const hook = rendered.router().container.lifecycle.preStop;
        assert.ok(minor < 30 ? hook.exec !== undefined : hook.sleep !== undefined);
      }
    });
  }

  test("1.27 is refused, since nothing is tested there", (t) => {
    const chart = requireChart(t);
    if (chart === null) return;
    assert.match(chart.refusal({}, { kube: "1.27.0" }), /incompatible with Kubernetes v1\.27/);
  });
});

/** Pods of an object, with the name of it. */
function podSpecs(object: KubeObject): Json[] {
  const { spec } = object;
  if (object.kind === "Pod") return [spec];
  const templates = [
    spec?.template,
    spec?.leaderWorkerTemplate?.leaderTemplate,
    spec?.leaderWorkerTemplate?.workerTemplate,
  ];
  return templates.filter((template) => template?.spec !== undefined).map((template) => template.spec);
}

test("router, simulator and test pods ask for no rights: they run under the restricted pod security standard", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const rendered = chart.render({}, { files: [`${chartFolder}/examples/values-simulated.yaml`] });
  const pods = rendered.objects.flatMap(podSpecs);
  assert.equal(pods.length, 4);
  for (const pod of pods) {
    assert.equal(pod.securityContext.runAsNonRoot, true);
    assert.ok(pod.securityContext.runAsUser > 0);
    assert.deepEqual(pod.securityContext.seccompProfile, { type: "RuntimeDefault" });
    for (const { securityContext } of pod.containers) {
      assert.equal(securityContext.readOnlyRootFilesystem, true);
      assert.equal(securityContext.allowPrivilegeEscalation, false);
      assert.deepEqual(securityContext.capabilities, { drop: ["ALL"] });
    }
  }
});

test("every object carries the release and a component, and names no namespace but the release's", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const { values } = matrix.find(({ name }) => name === "everything") ?? { values: {} };
  for (const { kind, metadata } of chart.render(values, { release: "blue", namespace: "llm" }).objects) {
    assert.equal(metadata.labels["app.kubernetes.io/instance"], "blue", `${kind} ${metadata.name}`);
    assert.ok(metadata.labels["app.kubernetes.io/component"], `${kind} ${metadata.name}`);
    assert.equal(metadata.labels["team"], "x", `${kind} ${metadata.name}`);
    assert.ok(
      kind === "PersistentVolume" ? metadata.namespace === undefined : metadata.namespace === "llm",
      `${kind} ${metadata.name}`,
    );
    assert.ok(metadata.name.startsWith("blue-"), `${kind} ${metadata.name}`);
  }
});
