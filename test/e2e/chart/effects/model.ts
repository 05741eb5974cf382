// Keys of an entry of modelSpec that shape its pods and what stands beside them.
import type { Json, Rendered } from "../render.ts";
import type { Effect } from "./effect.ts";

const gib = (n: number): string => `${n}Gi`;
const workload = (r: Rendered, m: string) => r.engine(m);
const resourcesOf = (r: Rendered, m: string): Json => r.engine(m).container.resources;
const service = (r: Rendered, m: string): Json => r.get("Service", `lmstack-${m}-engine-service`);
const claim = (r: Rendered, m: string): Json => r.find("PersistentVolumeClaim", `lmstack-${m}-storage-claim`);
const scaler = (r: Rendered, m: string): Json => r.find("ScaledObject", `lmstack-${m}-scaledobject`)?.spec;
const budget = (r: Rendered, m: string): Json => r.find("PodDisruptionBudget", `lmstack-${m}-pdb`);

function flagged(flag: string) {
  return (r: Rendered, m: string): Json => r.engine(m).flag(flag);
}
function has(flag: string) {
  return (r: Rendered, m: string): Json => r.engine(m).args.includes(flag);
}
function variable(name: string) {
  return (r: Rendered, m: string): Json => r.engine(m).env(name);
}

/** Without `enableController: true`, which is refused, these mean nothing: here as there. */
const controllerKeys =
  "lmcacheConfig.instanceId lmcacheConfig.controllerPort lmcacheConfig.controllerReplyPort lmcacheConfig.workerPorts lmcacheConfig.p2pHost lmcacheConfig.p2pInitPorts lmcacheConfig.workerHeartbeatTime";

export const modelEffects: readonly Effect[] = [
  { keys: "name", values: {}, see: (r, m) => workload(r, m).template.metadata.labels.model === m, expect: true },
  {
    keys: "annotations",
    values: { annotations: { a: "b" } },
    see: (r, m) => workload(r, m).object.metadata.annotations,
    expect: { a: "b" },
  },
  {
    keys: "podAnnotations",
    values: { podAnnotations: { a: "b" } },
    see: (r, m) => workload(r, m).template.metadata.annotations,
    expect: { a: "b" },
  },
  {
    keys: "labels",
    values: { labels: { team: "x" } },
    see: (r, m) => workload(r, m).object.metadata.labels.team,
    expect: "x",
  },
  {
    keys: "podLabels",
    values: { podLabels: { team: "x" } },
    see: (r, m) => workload(r, m).template.metadata.labels.team,
    expect: "x",
  },
  {
    keys: "serviceAnnotations",
    values: { serviceAnnotations: { a: "b" } },
    see: (r, m) => service(r, m).metadata.annotations,
    expect: { a: "b" },
  },
  {
    keys: "serviceAccountName",
    values: { serviceAccountName: "reader" },
    see: (r, m) => workload(r, m).pod.serviceAccountName,
    expect: "reader",
  },
  {
    keys: "priorityClassName",
    values: { priorityClassName: "high" },
    see: (r, m) => workload(r, m).pod.priorityClassName,
    expect: "high",
  },
  {
    keys: "runtimeClassName",
    values: { runtimeClassName: "nvidia" },
    see: (r, m) => workload(r, m).pod.runtimeClassName,
    expect: "nvidia",
  },
  {
    keys: "repository tag",
    values: { repository: "registry/engine", tag: "v9" },
    see: (r, m) => workload(r, m).container.image,
    expect: "registry/engine:v9",
  },
  {
    keys: "imagePullSecret",
    values: { imagePullSecret: "registry" },
    see: (r, m) => workload(r, m).pod.imagePullSecrets,
    expect: [{ name: "registry" }],
  },
  {
    keys: "modelURL",
    values: { modelURL: "org/other" },
    see: (r, m) => workload(r, m).args.slice(0, 2),
    expect: ["serve", "org/other"],
  },
  { keys: "modelRevision", values: { modelRevision: "abc" }, see: flagged("--revision"), expect: "abc" },
  {
    keys: "chatTemplate chatTemplateConfigMap",
    values: { chatTemplate: "mine.jinja", chatTemplateConfigMap: "{{ messages }}" },
    see: (r, m) => [
      flagged("--chat-template")(r, m),
      workload(r, m).volume("/templates")?.configMap,
      r.find("ConfigMap", `lmstack-${m}-chat-templates`)?.["data"],
    ],
    expect: ["/templates/mine.jinja", { name: "lmstack-MODEL-chat-templates" }, { "mine.jinja": "{{ messages }}" }],
  },
  { keys: "replicaCount", values: { replicaCount: 3 }, see: (r, m) => workload(r, m).object.spec.replicas, expect: 3 },
  { keys: "replicaCount", values: { replicaCount: 0 }, see: (r, m) => workload(r, m).object.spec.replicas, expect: 0 },
  {
    keys: "keda.enabled keda.minReplicaCount keda.maxReplicaCount keda.pollingInterval keda.cooldownPeriod keda.idleReplicaCount keda.initialCooldownPeriod keda.fallback.failureThreshold keda.fallback.replicas keda.triggers",
    values: {
      keda: {
        enabled: true,
        minReplicaCount: 1,
        maxReplicaCount: 7,
        pollingInterval: 11,
        cooldownPeriod: 12,
        idleReplicaCount: 0,
        initialCooldownPeriod: 13,
        fallback: { failureThreshold: 3, replicas: 2 },
        triggers: [{ type: "cron", metadata: { timezone: "UTC" } }],
      },
    },
    see: (r, m) => ({ ...scaler(r, m), scaleTargetRef: scaler(r, m)?.scaleTargetRef.name }),
    expect: {
      scaleTargetRef: "lmstack-MODEL-deployment-vllm",
      minReplicaCount: 1,
      maxReplicaCount: 7,
      pollingInterval: 11,
      cooldownPeriod: 12,
      idleReplicaCount: 0,
      initialCooldownPeriod: 13,
      fallback: { failureThreshold: 3, replicas: 2 },
      triggers: [{ type: "cron", metadata: { timezone: "UTC" } }],
    },
  },
  {
    keys: "keda.advanced.restoreToOriginalReplicaCount keda.advanced.horizontalPodAutoscalerConfig.name keda.advanced.horizontalPodAutoscalerConfig.behavior keda.advanced.scalingModifiers.target keda.advanced.scalingModifiers.activationTarget keda.advanced.scalingModifiers.metricType keda.advanced.scalingModifiers.formula",
    values: {
      keda: {
        enabled: true,
        advanced: {
          restoreToOriginalReplicaCount: true,
          horizontalPodAutoscalerConfig: { name: "hpa", behavior: { scaleDown: { stabilizationWindowSeconds: 60 } } },
          scalingModifiers: { target: "5", activationTarget: "1", metricType: "AverageValue", formula: "a + b" },
        },
      },
    },
    see: (r, m) => scaler(r, m)?.advanced,
    expect: {
      restoreToOriginalReplicaCount: true,
      horizontalPodAutoscalerConfig: { name: "hpa", behavior: { scaleDown: { stabilizationWindowSeconds: 60 } } },
      scalingModifiers: { target: "5", activationTarget: "1", metricType: "AverageValue", formula: "a + b" },
    },
  },
  {
    keys: "pdb.enabled pdb.labels pdb.annotations pdb.minAvailable",
    values: { pdb: { enabled: true, labels: { l: "1" }, annotations: { a: "2" }, minAvailable: "50%" } },
    see: (r, m) => [
      budget(r, m)?.metadata.labels.l,
      budget(r, m)?.metadata.annotations,
      budget(r, m)?.spec.minAvailable,
      budget(r, m)?.spec.maxUnavailable,
    ],
    expect: ["1", { a: "2" }, "50%", undefined],
  },
  {
    keys: "pdb.maxUnavailable",
    values: { pdb: { enabled: true, maxUnavailable: 2 } },
    see: (r, m) => budget(r, m)?.spec.maxUnavailable,
    expect: 2,
  },
  {
    keys: "pdb.enabled",
    values: { pdb: { enabled: true } },
    see: (r, m) => budget(r, m)?.spec.maxUnavailable,
    expect: 1,
  },
  {
    keys: "resources",
    values: { resources: { requests: { cpu: "1" }, limits: { "amd.com/gpu": 1 } }, requestCPU: 7, requestGPU: 1 },
    see: resourcesOf,
    expect: { requests: { cpu: "1" }, limits: { "amd.com/gpu": 1 } },
  },
  {
    keys: "requestCPU requestMemory requestGPU limitCPU limitMemory",
    values: { requestCPU: 6, requestMemory: gib(16), requestGPU: 2, limitCPU: "8", limitMemory: gib(32) },
    see: resourcesOf,
    expect: {
      requests: { cpu: "6", memory: "16Gi", "nvidia.com/gpu": "2" },
      limits: { cpu: "8", memory: "32Gi", "nvidia.com/gpu": "2" },
    },
  },
  {
    keys: "requestGPUType",
    values: { requestGPU: 1, requestGPUType: "nvidia.com/mig-4g.71gb" },
    see: resourcesOf,
    expect: { requests: { "nvidia.com/mig-4g.71gb": "1" }, limits: { "nvidia.com/mig-4g.71gb": "1" } },
  },
  {
    // an extended resource that is only requested is invalid: the request is its limit as well
    keys: "requestGPUMem requestGPUMemPercentage requestGPUCores",
    values: { requestGPUMem: 3000, requestGPUMemPercentage: "80", requestGPUCores: "10" },
    see: (r, m) => [resourcesOf(r, m).requests, resourcesOf(r, m).limits],
    expect: [
      { "nvidia.com/gpumem": "3000", "nvidia.com/gpumem-percentage": "80", "nvidia.com/gpucores": "10" },
      { "nvidia.com/gpumem": "3000", "nvidia.com/gpumem-percentage": "80", "nvidia.com/gpucores": "10" },
    ],
  },
  {
    keys: "limitGPUMem limitGPUMemPercentage limitGPUCores",
    values: { limitGPUMem: 4000, limitGPUMemPercentage: "90", limitGPUCores: "20" },
    see: (r, m) => resourcesOf(r, m).limits,
    expect: { "nvidia.com/gpumem": "4000", "nvidia.com/gpumem-percentage": "90", "nvidia.com/gpucores": "20" },
  },
  {
    keys: "shmSize",
    values: { shmSize: gib(6) },
    see: (r, m) => workload(r, m).volume("/dev/shm")?.emptyDir,
    expect: { medium: "Memory", sizeLimit: "6Gi" },
  },
  {
    keys: "pvcStorage",
    values: { pvcStorage: gib(50) },
    see: (r, m) => [
      claim(r, m)?.spec.resources,
      claim(r, m)?.spec.accessModes,
      workload(r, m).volume("/data")?.persistentVolumeClaim,
      workload(r, m).env("HF_HOME"),
    ],
    expect: [
      { requests: { storage: "50Gi" } },
      ["ReadWriteOnce"],
      { claimName: "lmstack-MODEL-storage-claim" },
      "/data",
    ],
  },
  {
    keys: "pvcStorage",
    values: { pvcStorage: { emptyDir: { sizeLimit: gib(9) } } },
    see: (r, m) => [claim(r, m), workload(r, m).volume("/data")?.emptyDir],
    expect: [undefined, { sizeLimit: "9Gi" }],
  },
  {
    keys: "pvcAccessMode storageClass pvcMatchLabels pvcLabels pvcAnnotations",
    values: {
      pvcStorage: "1Ti",
      pvcAccessMode: ["ReadWriteMany"],
      storageClass: "nfs",
      pvcMatchLabels: { disk: "fast" },
      pvcLabels: { l: "1" },
      pvcAnnotations: { a: "2" },
    },
    see: (r, m) => {
      const found = claim(r, m);
      return [
        found?.spec.accessModes,
        found?.spec.storageClassName,
        found?.spec.selector,
        found?.metadata.labels.l,
        found?.metadata.annotations,
      ];
    },
    expect: [["ReadWriteMany"], "nfs", { matchLabels: { disk: "fast" } }, "1", { a: "2" }],
  },
  {
    keys: "pvcExistingClaimName",
    values: { pvcStorage: gib(5), pvcExistingClaimName: "mine" },
    see: (r, m) => [claim(r, m), workload(r, m).volume("/data")?.persistentVolumeClaim],
    expect: [undefined, { claimName: "mine" }],
  },
  {
    keys: "extraVolumes extraVolumeMounts",
    values: { extraVolumes: [{ name: "t", emptyDir: {} }], extraVolumeMounts: [{ name: "t", mountPath: "/t" }] },
    see: (r, m) => [workload(r, m).volume("/t"), workload(r, m).mount("/t")],
    expect: [
      { name: "t", emptyDir: {} },
      { name: "t", mountPath: "/t" },
    ],
  },
  {
    keys: "initContainer.name initContainer.image initContainer.command initContainer.args initContainer.env initContainer.resources initContainer.mountPvcStorage initContainer.extraVolumeMounts",
    values: {
      pvcStorage: gib(5),
      initContainer: {
        name: "fetch",
        image: "busybox:1.37",
        command: ["sh", "-c"],
        args: ["ls"],
        env: [{ name: "A", value: "b" }],
        resources: { limits: { cpu: "1" } },
        mountPvcStorage: true,
        extraVolumeMounts: [{ name: "t", mountPath: "/t" }],
      },
    },
    see: (r, m) => workload(r, m).pod.initContainers,
    expect: [
      {
        name: "fetch",
        image: "busybox:1.37",
        command: ["sh", "-c"],
        args: ["ls"],
        env: [
          { name: "RELEASE_NAME", value: "lmstack" },
          { name: "A", value: "b" },
        ],
        resources: { limits: { cpu: "1" } },
        volumeMounts: [
          { name: "lmstack-storage", mountPath: "/data" },
          { name: "t", mountPath: "/t" },
        ],
      },
    ],
  },
  {
    keys: "hf_token.secretName hf_token.secretKey",
    values: { hf_token: { secretName: "hf", secretKey: "token" } },
    see: variable("HF_TOKEN"),
    expect: { secretKeyRef: { name: "hf", key: "token" } },
  },
  {
    keys: "hf_token",
    values: { hf_token: "hf_abc" },
    see: (r, m) => [
      variable("HF_TOKEN")(r, m)?.secretKeyRef,
      r.find("Secret", "lmstack-secrets")?.["data"][`hf_token_${m}`],
    ],
    expect: [{ name: "lmstack-secrets", key: "hf_token_MODEL" }, Buffer.from("hf_abc").toString("base64")],
  },
  {
    keys: "envFromSecret.name",
    values: { envFromSecret: { name: "s3" } },
    see: (r, m) => workload(r, m).container.envFrom,
    expect: [{ secretRef: { name: "s3" } }],
  },
  { keys: "env", values: { env: [{ name: "A", value: "b" }] }, see: variable("A"), expect: "b" },
  {
    keys: "affinity",
    values: { affinity: { podAffinity: {} }, nodeSelectorTerms: [{ matchFields: [] }] },
    see: (r, m) => workload(r, m).pod.affinity,
    expect: { podAffinity: {} },
  },
  {
    keys: "nodeSelectorTerms",
    values: { nodeSelectorTerms: [{ matchExpressions: [{ key: "gpu", operator: "Exists" }] }] },
    see: (r, m) =>
      workload(r, m).pod.affinity?.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms,
    expect: [{ matchExpressions: [{ key: "gpu", operator: "Exists" }] }],
  },
  {
    keys: "nodeName",
    values: { nodeName: "node-7", nodeSelectorTerms: [{ matchFields: [] }] },
    see: (r, m) => [workload(r, m).pod.nodeName, workload(r, m).pod.affinity],
    expect: ["node-7", undefined],
  },
  {
    keys: "tolerations",
    values: { tolerations: [{ key: "own" }] },
    see: (r, m) => workload(r, m).pod.tolerations,
    expect: [{ key: "all" }, { key: "own" }],
  },
  {
    keys: "tolerationsPolicy",
    values: { tolerations: [{ key: "own" }], tolerationsPolicy: "override" },
    see: (r, m) => workload(r, m).pod.tolerations,
    expect: [{ key: "own" }],
  },
  {
    keys: "enableLoRA",
    values: { enableLoRA: true },
    see: (r, m) => [has("--enable-lora")(r, m), variable("VLLM_ALLOW_RUNTIME_LORA_UPDATING")(r, m)],
    expect: [true, "True"],
  },
  {
    keys: "enableTool toolCallParser",
    values: { enableTool: true, toolCallParser: "hermes" },
    see: (r, m) => [has("--enable-auto-tool-choice")(r, m), flagged("--tool-call-parser")(r, m)],
    expect: [true, "hermes"],
  },
];

/** Keys of a model that have no effect of their own to show, each with the reason. */
export const modelWithout: Readonly<Record<string, string>> = {
  enabled: "chart-mistakes.test.ts: nothing is made of a disabled model",
  "lmcacheConfig.enableController": "refused: chart-refusals.test.ts",
  "raySpec.enabled": "refused: chart-refusals.test.ts",
  "raySpec.headNode.requestCPU": "refused with raySpec.enabled",
  "raySpec.headNode.requestMemory": "refused with raySpec.enabled",
  "raySpec.headNode.requestGPU": "refused with raySpec.enabled",
  "raySpec.headNode.resources": "refused with raySpec.enabled",
  "raySpec.headNode.initContainer": "refused with raySpec.enabled",
  ...Object.fromEntries(controllerKeys.split(" ").map((key) => [key, "refused with lmcacheConfig.enableController"])),
};
