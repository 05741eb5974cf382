// Keys of an entry of servingEngineSpec.modelSpec: one model, served by one Deployment of engines.
import { pdb, podKeys, probe, resources, routeKeys } from "./shared.ts";
import {
  choice,
  flag,
  integer,
  listOf,
  object,
  quantity,
  raw,
  secret,
  text,
  texts,
  words,
  type Keys,
  type Value,
} from "./value.ts";

const keda: Keys = {
  enabled: flag("Make a ScaledObject. Needs KEDA."),
  minReplicaCount: integer(
    "Fewest replicas; KEDA's own default, 0, if it is not said. Without an engine requests wait in the router and wake one.",
  ),
  maxReplicaCount: integer("Most replicas.", undefined, 1),
  pollingInterval: integer("Seconds between two looks at the triggers.", undefined, 1),
  cooldownPeriod: integer("Seconds without a trigger before it scales to idle."),
  idleReplicaCount: integer("Replicas while no trigger is active."),
  initialCooldownPeriod: integer("Seconds after creation before it may scale to idle."),
  fallback: object("When a trigger can't be read.", {
    failureThreshold: integer("After so many failures.", undefined, 1),
    replicas: integer("So many replicas."),
  }),
  prometheusAddress: text(
    "Prometheus of the default trigger. `http://prometheus-operated.monitoring.svc:9090` if it is not said.",
  ),
  threshold: quantity("Waiting requests per replica of the default trigger; 5 if it is not said."),
  triggers: raw(
    "list",
    "Triggers. By default requests that wait in this model's engines and, where it has none, in the routers; both must be scraped.",
  ),
  advanced: object("Settings of the HPA that KEDA makes.", {
    restoreToOriginalReplicaCount: flag("Put the replica count back when the ScaledObject goes."),
    horizontalPodAutoscalerConfig: object("The HPA.", {
      name: text("Its name."),
      behavior: raw("map", "Its behavior."),
    }),
    scalingModifiers: object("A formula over triggers.", {
      target: quantity("Target of the formula's value."),
      activationTarget: quantity("Value from which on it is active."),
      metricType: text("AverageValue or Value."),
      formula: text("The formula."),
    }),
  }),
};

const vllmConfig: Keys = {
  v0: quantity('"1": vLLM\'s V0 engine, which old versions have.'),
  v1: quantity('"0": the same said the other way.'),
  enablePrefixCaching: flag("Reuse the KV blocks of equal prefixes. vLLM's own default (on) if it is not said."),
  enableChunkedPrefill: flag("Split long prompts. vLLM's own default if it is not said."),
  maxModelLen: quantity("Longest prompt and answer together, in tokens."),
  dtype: text("Data type of weights."),
  tensorParallelSize: quantity("GPUs that share each layer."),
  pipelineParallelSize: quantity("Groups of GPUs that take turns with the layers."),
  maxNumSeqs: quantity("Requests in one step."),
  maxLoras: quantity("Different adapters in one step."),
  gpuMemoryUtilization: quantity("Share of the GPU's memory, 0 to 1."),
  runner: text("auto, generate or pooling."),
  convert: text("Make an embedding or scoring model of a generating one."),
  prometheusMultiprocDir: text("Folder in which vLLM's processes share metrics; `/tmp` if it is not said."),
  extraArgs: words("Further arguments of `vllm serve`; they come last, so they win."),
};

const controllerOnly = "Of the LMCache controller; without it there is no effect.";
const lmcacheConfig: Keys = {
  enabled: flag("Load LMCache's connector."),
  cpuOffloadingBufferSize: quantity("GB of CPU memory for KV blocks; 0 is none."),
  diskOffloadingBufferSize: quantity("GB of disk for KV blocks."),
  logLevel: text("LMCache's log level; DEBUG if it is not said."),
  kvRole: text("kv_both, kv_producer or kv_consumer; kv_both if it is not said."),
  enablePD: flag("Hand KV blocks from prefill to decode engines."),
  enableNixl: flag("By NIXL."),
  nixlRole: text("sender or receiver."),
  nixlPeerHost: text("Host of the other side."),
  nixlPeerPort: quantity("Port of the other side."),
  nixlBufferSize: quantity("Bytes of the transfer buffer."),
  nixlBufferDevice: text("cuda or cpu."),
  nixlEnableGc: flag("Free what nobody fetched."),
  cudaVisibleDevices: quantity("GPUs that vLLM sees."),
  enableController: flag(
    "Refused when true: no LMCache controller is embedded. `kvEvents` and the policy kvaware are the way here.",
  ),
  instanceId: text(controllerOnly),
  controllerPort: quantity(controllerOnly),
  controllerReplyPort: quantity(controllerOnly),
  workerPort: quantity(controllerOnly),
  workerPorts: { ...quantity(controllerOnly), type: "any", schema: {} },
  p2pHost: text(controllerOnly),
  p2pInitPorts: { ...quantity(controllerOnly), type: "any", schema: {} },
  workerHeartbeatTime: quantity(controllerOnly),
};

const raySpec: Value = object("Refused when enabled: `multiNode` is the way here.", {
  enabled: flag("Must be false or left out."),
  headNode: object("Not used.", {
    requestCPU: quantity("Not used."),
    requestMemory: quantity("Not used."),
    requestGPU: quantity("Not used."),
    resources: raw("map", "Not used."),
    initContainer: raw("map", "Not used."),
  }),
});

const engine: Keys = {
  simulated: flag(
    "Run the simulator in place of vLLM, from the router's image: no GPU, small requests. What the simulator knows of the model's settings it takes.",
  ),
  repository: text("Image of the simulator; the router's if it is not said."),
  tag: text("Its tag; the router's if it is not said."),
  args: words("Further arguments of `lmstack engine`, such as `--preset` or `--speed`."),
  resources: resources("Its resources; 50m CPU and 128Mi to 512Mi of memory if it is not said."),
};

const multiNode: Keys = {
  size: integer(
    "Pods per replica, leader included; from 2 on a LeaderWorkerSet is made. Needs its operator.",
    undefined,
    1,
  ),
  masterPort: integer("Port at which the leader gathers the workers; 29500 if it is not said.", undefined, 1),
  workerResources: resources("Resources of workers; those of the model if it is not said."),
  restartPolicy: text("`RecreateGroupOnPodRestart` if it is not said: a group that lost a pod can't go on."),
  annotations: texts("Annotations, such as the one for an exclusive topology."),
};

/** Keys of one model. */
export const modelKeys: Keys = {
  name: text("Name of the model in this release: part of the names of its objects, and the pod label `model`."),
  enabled: flag("false: no object of this model is made. true if it is not said."),
  kind: choice("What runs the pods; Deployment if it is not said.", ["Deployment", "StatefulSet"]),
  annotations: texts("Annotations of the Deployment."),
  podAnnotations: texts("Annotations of the pods."),
  labels: texts("Further labels of the Deployment."),
  podLabels: texts("Further labels of the pods."),
  serviceAnnotations: texts("Annotations of the model's Service."),
  serviceAccountName: text("Service account of the pods, which exists. They get no token otherwise."),
  priorityClassName: text("Priority class."),
  runtimeClassName: text("Runtime class; `servingEngineSpec.runtimeClassName` if it is not said, none if it is empty."),
  repository: text("Image of the engine, as in `vllm/vllm-openai`."),
  tag: quantity("Its tag."),
  imagePullSecret: text("Secret for the image's registry."),
  modelURL: text("What `vllm serve` gets: a name of the hub, or a path."),
  modelRevision: text("Revision of the model."),
  servedModelName: text("Name under which it is served; modelURL if it is not said."),
  chatTemplate: text(
    "Chat template: a file name (with chatTemplateConfigMap or chatTemplatePvc), a path in the image, or the template itself.",
  ),
  chatTemplateConfigMap: text("Text of the chat template; a ConfigMap is made of it."),
  chatTemplatePvc: text("Claim with chat templates, which exists; mounted at /templates."),
  replicaCount: integer(
    "Engines; 1 if it is not said. Left out when KEDA scales. With 0 the router knows the model, and its requests wait.",
  ),
  keda: object("Autoscaling by KEDA.", keda),
  pdb: pdb("PodDisruptionBudget of the engines."),
  resources: resources("Resources as Kubernetes writes them; wins over the keys below."),
  requestCPU: quantity("CPUs."),
  requestMemory: quantity("Memory."),
  requestGPU: quantity("GPUs."),
  requestGPUType: text("Resource that counts GPUs; `nvidia.com/gpu` if it is not said."),
  requestGPUMem: quantity("HAMi: MB of GPU memory."),
  requestGPUMemPercentage: quantity("HAMi: per cent of GPU memory."),
  requestGPUCores: quantity("HAMi: per cent of GPU cores."),
  limitCPU: quantity("Limit of CPUs; none if it is not said."),
  limitMemory: quantity("Limit of memory; none if it is not said."),
  limitGPUMem: quantity("HAMi: limit of GPU memory in MB."),
  limitGPUMemPercentage: quantity("HAMi: limit of GPU memory in per cent."),
  limitGPUCores: quantity("HAMi: limit of GPU cores in per cent."),
  shmSize: quantity("Size of /dev/shm. 20Gi where several GPUs work together, the runtime's 64 MB otherwise."),
  pvcStorage: {
    type: "quantity, or {emptyDir: {}}",
    schema: { type: ["string", "object"] },
    default: undefined,
    help: "Volume at /data, which is also where the model is kept: a claim of this size, or an emptyDir.",
  },
  pvcAccessMode: raw("list", "Access modes of the claim; ReadWriteOnce if it is not said."),
  storageClass: text("Storage class of the claim; the cluster's default if it is not said."),
  pvcMatchLabels: texts("Labels of the volume that the claim takes."),
  pvcLabels: texts("Labels of the claim."),
  pvcAnnotations: texts("Annotations of the claim."),
  pvcExistingClaimName: text("A claim that exists, instead of a new one."),
  extraVolumes: raw("list", "Further volumes."),
  extraVolumeMounts: raw("list", "Further mounts of the engine's container."),
  initContainer: object("A container that runs before the engine.", {
    name: text("Its name."),
    image: text("Its image."),
    command: words("Its command."),
    args: words("Its arguments."),
    env: raw("list", "Its environment."),
    resources: resources("Its resources."),
    mountPvcStorage: flag("Mount the model's volume at /data."),
    extraVolumeMounts: raw("list", "Further mounts."),
  }),
  vllmConfig: object("Arguments of `vllm serve`.", vllmConfig),
  lmcacheConfig: object("LMCache inside the engine.", lmcacheConfig),
  hf_token: secret("Token of the model hub."),
  envFromSecret: object("A Secret whose keys become environment variables.", { name: text("Its name.") }),
  env: raw("list", "Further environment."),
  affinity: raw("map", "Affinity; wins over nodeSelectorTerms."),
  nodeSelectorTerms: raw("list", "Terms that a node must match."),
  nodeSelector: texts("Labels that a node must have."),
  nodeName: text("The node; wins over affinity and nodeSelectorTerms."),
  tolerations: raw("list", "Tolerations of this model."),
  tolerationsPolicy: choice("What becomes of `servingEngineSpec.tolerations`; append if it is not said.", [
    "append",
    "override",
  ]),
  enableLoRA: flag("Serve adapters, also such as are loaded later."),
  enableTool: flag("Let the model choose tools (`--enable-auto-tool-choice`)."),
  toolCallParser: text("Parser of tool calls."),
  raySpec,
  role: choice("Part in prefill/decode disaggregation.", ["prefill", "decode"]),
  kvEvents: object("Tell the router what the prefix cache holds.", {
    enabled: flag("Publish KV events."),
    port: integer("Port of the events; 5557 if it is not said.", undefined, 1),
    replayPort: integer("Port of the replay; 5558 if it is not said.", undefined, 1),
    topic: text("Topic; none if it is not said."),
  }),
  engine: object("What runs.", engine),
  multiNode: object("One model over several nodes.", multiNode),
  startupProbe: probe("Instead of `servingEngineSpec.startupProbe`.", null),
  livenessProbe: probe("Instead of `servingEngineSpec.livenessProbe`.", null),
  readinessProbe: probe("Instead of `servingEngineSpec.readinessProbe`.", null),
  securityContext: raw("map", "Pod security context; instead of that of servingEngineSpec."),
  containerSecurityContext: raw("map", "Container security context; instead of that of servingEngineSpec."),
  route: object("A route of the Gateway API for this model alone, to the router.", routeKeys),
  inferencePool: object("InferencePool of the Gateway API inference extension.", {
    enabled: flag("Make one. Needs its CRDs."),
    endpointPickerRef: raw("map", "The endpoint picker, as the API writes it: it decides, not our router."),
  }),
  ...Object.fromEntries(Object.entries(podKeys).map(([key, value]) => [key, { ...value, default: undefined }])),
};

/** Keys of an entry of loraAdapters. */
const loraAdapter: Keys = {
  name: text("Name under which clients ask for it."),
  enabled: flag("true if it is not said."),
  baseModel: text("modelURL or name of the model that it belongs to."),
  vllmApiKey: secret(
    "Refused unless it is the key of `servingEngineSpec.vllmApiKey`: adapters are loaded by the engines themselves, so nobody shows it.",
  ),
  adapterSource: object("Where it comes from.", {
    type: choice("Kind of source.", ["local", "s3", "http", "huggingface"]),
    adapterName: text("Name below adapterPath, or of the folder that it is kept in."),
    adapterPath: text(
      "local: folder in the engine's file system. http: URL of an archive or of the adapter's folder. s3: prefix.",
    ),
    repository: text("huggingface: repository. s3: bucket."),
    pattern: text("s3: only files whose name matches."),
    maxAdapters: integer("Adapters in one step (`--max-loras`), unless vllmConfig.maxLoras says it."),
    credentials: {
      ...secret(
        "The token for http and huggingface (where the model has no hf_token), or a reference to it. s3: `secretName` alone, a Secret whose keys become environment of the download.",
      ),
    },
  }),
  loraAdapterDeploymentConfig: object("Every engine of the model gets the adapter.", {
    algorithm: choice("Which of the engines have it. With all of them there is nothing to choose.", [
      "default",
      "ordered",
      "equalized",
    ]),
    replicas: integer(
      "How many engines have it: as many as the model has. Fewer is refused, since nobody would choose them.",
    ),
    labels: texts("The same as labels."),
  }),
  labels: texts("Labels of the ConfigMap that describes it."),
};

export const loraAdapters = listOf("LoRA adapters that engines load when they start.", loraAdapter, []);
