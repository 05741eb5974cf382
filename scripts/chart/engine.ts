// Keys of servingEngineSpec: what all engines have in common, and the list of models.
import { modelKeys } from "./model.ts";
import { podKeys, probe, serviceMonitor } from "./shared.ts";
import { choice, flag, integer, listOf, object, raw, secret, text, texts, type Value } from "./value.ts";

export const servingEngineSpec: Value = object("Engines.", {
  enableEngine: flag("Deploy engines. false: the router alone.", true),
  labels: texts("Labels of engine pods and their Services; the router finds engines by them.", {
    environment: "test",
    release: "test",
  }),
  modelSpec: listOf("Models. Each is a Deployment of engines.", modelKeys, []),
  vllmApiKey: secret(
    "Key that engines ask for. The router asks its clients for the same one, unless `routerSpec.apiKeys` says otherwise.",
  ),
  containerPort: integer("Port of engines; the router is told.", 8000, 1),
  servicePort: integer("Port of the engines' Services.", 80, 1),
  extraPorts: raw("list", "Further ports of the engines' Services.", []),
  env: raw("list", "Further environment of all engines.", []),
  configs: texts("Environment of all engines, from a ConfigMap.", {}),
  strategy: raw("map", "How Deployments roll. By default a new pod is ready before an old one goes.", {}),
  progressDeadlineSeconds: integer(
    "A rollout that takes longer counts as failed. An hour, since models load slowly.",
    3600,
    1,
  ),
  startupProbe: probe(
    "Until it succeeds the engine counts as starting. 30 minutes, since models are downloaded and loaded.",
    {
      path: "/health",
      initialDelaySeconds: 5,
      periodSeconds: 5,
      timeoutSeconds: 5,
      failureThreshold: 360,
    },
  ),
  livenessProbe: probe("When it fails the engine is restarted.", {
    path: "/health",
    initialDelaySeconds: 0,
    periodSeconds: 10,
    timeoutSeconds: 10,
    failureThreshold: 3,
  }),
  readinessProbe: probe("While it fails the router sends nothing.", {
    path: "/health",
    initialDelaySeconds: 0,
    periodSeconds: 5,
    timeoutSeconds: 5,
    failureThreshold: 3,
  }),
  drain: object("vLLM ends its requests when it is told to stop, so a preStop hook waits until none is left.", {
    enabled: flag("Wait.", true),
    delaySeconds: integer("First wait so long for routers to notice.", 3),
    timeoutSeconds: integer("Then wait for at most so long.", 600),
  }),
  terminationGracePeriodSeconds: integer(
    "Grace of pods. drain.delaySeconds + drain.timeoutSeconds + 30 if it is not said.",
  ),
  tolerations: raw("list", "Tolerations of all engines.", []),
  runtimeClassName: text(
    "Runtime class of engines with a GPU. production-stack says nvidia; empty takes the node's own, which most clusters want.",
    "",
  ),
  schedulerName: text("Scheduler.", ""),
  imagePullPolicy: choice(
    "Kubernetes' own rule if it is empty: Always for latest, IfNotPresent else.",
    ["Always", "IfNotPresent", "Never"],
    "",
  ),
  imagePullSecrets: raw("list", "Secrets for the registries of all engines.", []),
  securityContext: raw("map", "Pod security context.", {}),
  containerSecurityContext: raw(
    "map",
    "Container security context. vLLM's images run as root: see helm/examples/values-restricted.yaml.",
    {
      runAsNonRoot: false,
    },
  ),
  sidecar: object("A further container of every engine, if it has an image.", {
    name: text("Its name.", "sidecar"),
    image: text("Its image.", ""),
    imagePullPolicy: choice("Its pull policy.", ["Always", "IfNotPresent", "Never"], ""),
    command: raw("list", "Its command.", []),
    args: raw("list", "Its arguments.", []),
    env: raw("list", "Its environment.", []),
    ports: raw("list", "Its ports.", []),
    resources: raw("map", "Its resources.", {}),
    securityContext: raw("map", "Its security context.", {}),
    mountPvcStorage: flag("Mount the model's volume at /data.", true),
  }),
  serviceMonitor: serviceMonitor("ServiceMonitor of all engines."),
  podMonitor: serviceMonitor("PodMonitor of all engines, instead: it also sees pods that are not ready."),
  ...podKeys,
});
