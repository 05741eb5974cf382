// Keys of routerSpec.
import { configSchema } from "../../src/config/docs/json-schema.ts";
import { ingressHosts, pdb, podKeys, probe, routeKeys, serviceMonitor } from "./shared.ts";
import {
  choice,
  flag,
  integer,
  mapOf,
  object,
  quantity,
  raw,
  secret,
  secretReference,
  text,
  texts,
  words,
  type Keys,
  type Schema,
  type Value,
} from "./value.ts";

/** What `--config FILE` takes, from the router's own catalogue of options. */
function options(): Value {
  const { properties } = configSchema() as { readonly properties: Readonly<Record<string, object>> };
  const keys: Keys = Object.fromEntries(
    Object.entries(properties)
      .filter(([name]) => !name.includes("_"))
      .map(([name, schema]) => [
        name,
        { type: "option", schema: withoutLookaround({ ...schema }), default: undefined, help: `\`--${name}\`` },
      ]),
  );
  return object(
    "Any option of the router by its name (docs/configuration.md); the other keys and extraArgs win.",
    keys,
  );
}

/** Helm's regular expressions know no lookaround. What a pattern would have refused, the router refuses. */
function withoutLookaround(schema: Schema): Schema {
  const entries = Object.entries(schema).filter(
    ([key, value]) => key !== "pattern" || !/\(\?(?!:)/.test(String(value)),
  );
  return Object.fromEntries(entries.map(([key, value]) => [key, inner(value)]));
}

function inner(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inner);
  return typeof value === "object" && value !== null ? withoutLookaround(value as Schema) : value;
}

const main: Keys = { ...routeKeys, enabled: flag("Make it. Needs the Gateway API.", false) };

export const routerSpec: Value = object("The router.", {
  enableRouter: flag("Deploy it.", true),
  repository: text("Image.", "lmstack/lmstack"),
  tag: quantity("Its tag; the chart's appVersion if it is empty.", ""),
  imagePullPolicy: choice("Kubernetes' own rule if it is empty.", ["Always", "IfNotPresent", "Never"], ""),
  imagePullSecrets: raw("list", "Secrets for the image's registry.", []),
  serviceAccountName: text("A service account that exists; one is made if it is empty.", ""),
  createRbac: flag("Make the Role by which the router finds engines, and bind it.", true),
  hf_token: secret("Token of the model hub; ends in a Secret. The router asks the hub for nothing."),
  replicaCount: integer("Routers.", 1),
  labels: texts("Further labels.", { environment: "router", release: "router" }),
  annotations: texts("Annotations of the Deployment.", {}),
  podAnnotations: texts("Annotations of the pods.", {}),
  priorityClassName: text("Priority class.", ""),
  containerPort: integer("Port of the container.", 8000, 1),
  serviceType: text("Type of the Service.", "ClusterIP"),
  serviceAnnotations: texts("Annotations of the Service.", {}),
  servicePort: integer("Port of the Service.", 80, 1),
  nodePort: {
    ...quantity("Port on the nodes, for the type NodePort or LoadBalancer."),
    schema: { type: ["integer", "string"] },
  },
  extraPorts: raw("list", "Further ports of the Service.", []),
  serviceDiscovery: choice(
    "k8s finds engines by their labels; static takes staticBackends.",
    ["k8s", "static", "external-only"],
    "k8s",
  ),
  k8sServiceDiscoveryType: choice("Address pods, or one Service per model.", ["pod-ip", "service-name"], "pod-ip"),
  k8sNamespaces: raw("list", "Namespaces with engines; the release's if it is empty. `*` is all of them.", []),
  k8sLabelSelector: text("Instead of servingEngineSpec.labels and the release's name.", ""),
  staticBackends: text("Engines for static, as URLs with commas between them.", ""),
  staticModels: text("Their models, in the same order. Engines are asked if it is empty.", ""),
  routingLogic: text("Policy; the router's own default if it is empty.", ""),
  sessionKey: text("Header or field that names the session.", ""),
  prefixMinMatchLength: integer("Shortest prefix that counts for prefixaware, in characters.", 0),
  rootPath: text("Prefix of all paths.", ""),
  engineScrapeInterval: integer(
    "Seconds between two looks at an engine's metrics; the router's own if it is empty.",
    undefined,
    1,
  ),
  requestStatsWindow: integer(
    "Seconds over which per-engine rates are taken; the router's own if it is empty.",
    undefined,
    1,
  ),
  options: options(),
  extraArgs: words("Further arguments; they come last, so they win.", []),
  env: raw("list", "Further environment.", []),
  otel: object("Traces.", {
    endpoint: text("OTLP collector; none if it is empty.", ""),
    serviceName: text("Service name in traces.", "vllm-router"),
    secure: flag("TLS to the collector.", false),
  }),
  vllmApiKey: secretReference("Key of engines that this chart does not deploy (enableEngine: false, or static)."),
  apiKeys: secretReference("Keys that clients must send, one a line. Instead of servingEngineSpec.vllmApiKey."),
  adminKeys: secretReference("Keys of administration, one a line."),
  tls: object("HTTPS at the router.", {
    secretName: text("Secret of type kubernetes.io/tls; plain HTTP if it is empty.", ""),
  }),
  engineTls: object("TLS towards engines.", {
    caSecretName: text("Secret whose ca.crt engines are checked against.", ""),
  }),
  lmcacheControllerPort: quantity(
    "Passed on; the router says that it has no effect, since no LMCache controller is embedded.",
  ),
  lmcacheControllerReplyPort: quantity("The same."),
  lmcacheControllerHeartbeatPort: quantity("The same."),
  lmcacheConfig: object("LMCache.", { logLevel: text("LMCACHE_LOG_LEVEL of the container.", "") }),
  resources: raw(
    "map",
    "Resources. The limit of memory is well above the request: bodies of many large prompts are held.",
    {
      requests: { cpu: "400m", memory: "512Mi" },
      limits: { memory: "2Gi" },
    },
  ),
  autoscaling: object("HorizontalPodAutoscaler.", {
    enabled: flag("Make one; replicaCount is left to it.", false),
    minReplicas: integer("Fewest.", 1, 1),
    maxReplicas: integer("Most.", 3, 1),
    targetCPUUtilizationPercentage: integer("CPU in per cent of the request; 0 leaves it out.", 80),
    targetRequestsInFlight: integer(
      "Requests in flight per router (`lmstack_requests_in_flight`, through a metrics adapter); 0 leaves it out.",
      0,
    ),
    metrics: raw("list", "Further metrics.", []),
    behavior: raw("map", "How fast it scales.", {}),
  }),
  keda: object("The same by KEDA.", {
    enabled: flag("Make a ScaledObject instead.", false),
    prometheusAddress: text("Prometheus.", "http://prometheus-operated.monitoring.svc:9090"),
    threshold: quantity("Requests in flight per router.", 200),
    minReplicaCount: integer("Fewest.", 1, 1),
    maxReplicaCount: integer("Most.", 3, 1),
  }),
  vpa: object("VerticalPodAutoscaler.", {
    enabled: flag("Make one. Needs its CRDs.", false),
    updateMode: text("Off only recommends.", "Off"),
    resourcePolicy: raw("map", "Bounds.", {}),
  }),
  pdb: pdb("PodDisruptionBudget."),
  strategy: raw("map", "How it rolls. By default a new pod is ready before an old one goes.", {}),
  drain: object("How it stops without a failed request.", {
    preStopSeconds: integer("Before it is told to stop, wait so long for the Service to notice.", 3),
    delaySeconds: integer("Then accept for so long while /ready says 503 (`--drain-delay-seconds`).", 2),
    timeoutSeconds: integer(
      "Then finish running requests for at most so long (`--drain-timeout-seconds`): longer than your longest answer.",
      600,
    ),
  }),
  terminationGracePeriodSeconds: integer("The sum of drain and 15 seconds if it is not said."),
  startupProbe: probe("Until it succeeds the router counts as starting.", {
    path: "/health",
    initialDelaySeconds: 0,
    periodSeconds: 1,
    timeoutSeconds: 2,
    failureThreshold: 120,
  }),
  livenessProbe: probe("When it fails the router is restarted.", {
    path: "/health",
    initialDelaySeconds: 0,
    periodSeconds: 5,
    timeoutSeconds: 5,
    failureThreshold: 6,
  }),
  readinessProbe: probe("While it fails the Service sends nothing.", {
    path: "/ready",
    initialDelaySeconds: 0,
    periodSeconds: 2,
    timeoutSeconds: 2,
    failureThreshold: 2,
  }),
  securityContext: raw("map", "Pod security context.", {
    runAsNonRoot: true,
    runAsUser: 65532,
    runAsGroup: 65532,
    fsGroup: 65532,
    seccompProfile: { type: "RuntimeDefault" },
  }),
  containerSecurityContext: raw("map", "Container security context.", {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  }),
  extraVolumes: raw("list", "Further volumes.", []),
  extraVolumeMounts: raw("list", "Further mounts.", []),
  lifecycle: raw("map", "Lifecycle hooks, instead of the preStop above.", {}),
  affinity: raw("map", "Affinity; wins over nodeSelectorTerms. By default routers prefer different nodes.", {}),
  nodeSelectorTerms: raw("list", "Terms that a node must match.", []),
  nodeSelector: texts("Labels that a node must have.", {}),
  tolerations: raw("list", "Tolerations.", []),
  ingress: object("Ingress.", {
    enabled: flag("Make one.", false),
    className: text("Ingress class.", ""),
    annotations: texts("Annotations.", {}),
    hosts: { ...ingressHosts, default: [] },
    tls: raw("list", "TLS.", []),
  }),
  route: mapOf("Routes of the Gateway API, by name.", main, { main: { enabled: false } }),
  serviceMonitor: serviceMonitor("ServiceMonitor."),
  ...podKeys,
});
