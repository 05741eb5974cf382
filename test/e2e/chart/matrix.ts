// Values that between them turn everything on and off: the examples, the README's file, and combinations.
import { globSync } from "node:fs";
import { basename, join } from "node:path";

import { chartFolder, withModel, type RenderOptions } from "./render.ts";

export interface MatrixRow {
  readonly name: string;
  readonly values: object;
  readonly options: RenderOptions;
}

/** `vllm` in front of an image that has it; everything optional on, in one release. */
const everything = withModel(
  {
    kind: "StatefulSet",
    pvcStorage: "10Gi",
    shmSize: "1Gi",
    pdb: { enabled: true },
    keda: { enabled: true, maxReplicaCount: 3 },
    route: { enabled: true, parentRefs: [{ name: "gw" }] },
    inferencePool: { enabled: true, endpointPickerRef: { name: "epp", port: { number: 9002 } } },
    enableLoRA: true,
    chatTemplate: "{{ messages }}",
    hf_token: "hf_x",
    lmcacheConfig: { enabled: true, cpuOffloadingBufferSize: 1 },
    kvEvents: { enabled: true },
    role: "decode",
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "ScheduleAnyway" }],
  },
  {
    commonLabels: { team: "x" },
    routerSpec: {
      autoscaling: { enabled: true, targetRequestsInFlight: 100 },
      vpa: { enabled: true },
      pdb: { enabled: true },
      ingress: { enabled: true, hosts: [{ host: "h.example" }] },
      route: { main: { enabled: true, parentRefs: [{ name: "gw" }] } },
      serviceMonitor: { enabled: true },
      options: { "log-format": "json" },
      apiKeys: { secretName: "k", secretKey: "c" },
      tls: { secretName: "t" },
      engineTls: { caSecretName: "ca" },
      tolerations: [{ key: "cpu", operator: "Exists" }],
      sidecars: [{ name: "s", image: "busybox:1.37" }],
    },
    loraAdapters: [
      {
        name: "a",
        baseModel: "opt125m",
        adapterSource: {
          type: "http",
          adapterPath: "https://h.example/a.tgz",
          credentials: { secretName: "s", secretKey: "k" },
        },
      },
    ],
    sharedPvcStorage: { enabled: true, hostPath: "/models" },
    networkPolicy: {
      enabled: true,
      routerIngressFrom: [{ podSelector: {} }],
      routerEgressTo: [{ ipBlock: { cidr: "10.0.0.0/8" } }],
    },
    prometheusRule: { enabled: true },
    grafanaDashboards: { enabled: true },
  },
);

const examples = globSync("examples/*.yaml", { cwd: chartFolder }).toSorted();

export const matrix: readonly MatrixRow[] = [
  { name: "defaults", values: {}, options: {} },
  ...[...examples, "values-customized.yaml"].map((file) => ({
    name: basename(file, ".yaml"),
    values: {},
    options: { files: [join(chartFolder, file)] },
  })),
  { name: "everything", values: everything, options: {} },
  { name: "another release and namespace", values: everything, options: { release: "blue", namespace: "llm" } },
  {
    name: "several namespaces",
    values: withModel({}, { routerSpec: { k8sNamespaces: ["a", "b"] } }),
    options: {},
  },
  { name: "all namespaces", values: withModel({}, { routerSpec: { k8sNamespaces: ["*"] } }), options: {} },
  { name: "KEDA for the router", values: withModel({}, { routerSpec: { keda: { enabled: true } } }), options: {} },
  {
    name: "pod monitor",
    values: withModel(
      {},
      {
        servingEngineSpec: {
          podMonitor: { enabled: true },
          modelSpec: [{ name: "a", modelURL: "b", engine: { simulated: true } }],
        },
      },
    ),
    options: {},
  },
];
