// The cluster itself does what the tests of discovery and chart ask of it; when this fails, they need not be looked at.
import assert from "node:assert/strict";
import { test } from "node:test";
import { temporaryFile } from "../helpers/files.ts";
import { cluster, ownCluster } from "./cluster.ts";

test("a simulated engine runs as a pod and becomes ready", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "cluster");
  await kube.apply({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "engine", namespace },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: "engine",
          image: process.env["LMSTACK_TEST_IMAGE"] ?? "lmstack",
          args: ["engine", "--host", "0.0.0.0", "--port", "8000"],
          readinessProbe: { httpGet: { path: "/health", port: 8000 }, periodSeconds: 1 },
        },
      ],
    },
  });
  await kube.kubectl(["wait", "--for=condition=Ready", "pod/engine", "-n", namespace, "--timeout=60s"]);
  // from inside: not every cluster's pods can be reached from where tests run
  const ask = 'fetch("http://localhost:8000/v1/models").then(({ status }) => console.log(status))';
  const status = await kube.kubectl(["exec", "-n", namespace, "engine", "--", "node", "-e", ask]);
  assert.equal(status.trim(), "200");
});

test("a service account without rights is told so", async (t) => {
  const kube = cluster(t);
  if (kube === null) return;
  const namespace = await kube.namespace(t, "rights");
  const file = await kube.serviceAccountKubeconfig(namespace, "default", temporaryFile(t, "kubeconfig", ""));
  await assert.rejects(kube.kubectl(["get", "pods", "-n", namespace, "--kubeconfig", file]), /forbidden/i);
});

test("the API server can be killed and brought back, and etcd compacted", async (t) => {
  const kube = ownCluster(t);
  if (kube === null) return;
  kube.killApiServer();
  await assert.rejects(kube.api("GET", "/readyz"));
  await kube.revive();
  await kube.compactEtcd();
  const pods = (await kube.api("GET", "/api/v1/pods")) as { items: unknown[] };
  assert.ok(Array.isArray(pods.items));
});
