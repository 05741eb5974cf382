// Keys of servingEngineSpec.
import { engine, type Effect } from "./effect.ts";

export const engineEffects: readonly Effect[] = [
  {
    keys: "enableEngine",
    values: { enableEngine: false },
    see: (r) => r.objects.filter(({ metadata }) => /engine|vllm/.test(metadata.name)).length,
    expect: 0,
  },
  {
    keys: "labels",
    values: { labels: { environment: "prod", team: "x" } },
    see: (r) => [
      engine(r).template.metadata.labels.environment,
      engine(r).template.metadata.labels.team,
      r.router().flag("--k8s-label-selector"),
    ],
    expect: ["prod", "x", "environment=prod,release=test,team=x,helm-release-name=lmstack"],
  },
  {
    keys: "extraPorts",
    values: { extraPorts: [{ name: "zmq", port: 55555 }] },
    see: (r) => r.get("Service", "lmstack-engine-service").spec.ports[1],
    expect: { name: "zmq", port: 55555 },
  },
  {
    keys: "vllmApiKey.secretName vllmApiKey.secretKey",
    values: { vllmApiKey: { secretName: "keys", secretKey: "k" } },
    see: (r) => [
      engine(r).env("VLLM_API_KEY"),
      r.router().volume("/etc/lmstack/engine-api-key")?.secret.secretName,
      r.router().flag("--engine-api-key-file"),
    ],
    expect: [{ secretKeyRef: { name: "keys", key: "k" } }, "keys", "/etc/lmstack/engine-api-key/key"],
  },
  {
    // The router sends the engines' key in its clients' place: were it not asked for in front, everybody would be let in.
    keys: "vllmApiKey",
    values: { vllmApiKey: "secret" },
    see: (r) => [
      engine(r).env("VLLM_API_KEY")?.secretKeyRef,
      r.find("Secret", "lmstack-secrets")?.["data"].vllmApiKey,
      r.router().flag("--api-key-file"),
      r.router().volume("/etc/lmstack/api-key")?.secret.secretName,
    ],
    expect: [
      { name: "lmstack-secrets", key: "vllmApiKey" },
      Buffer.from("secret").toString("base64"),
      "/etc/lmstack/api-key/key",
      "lmstack-secrets",
    ],
  },
  {
    keys: "containerPort",
    values: { containerPort: 9000 },
    see: (r) => [
      engine(r).container.ports[0].containerPort,
      engine(r).flag("--port"),
      r.router().flag("--k8s-port"),
      engine(r).container.lifecycle.preStop.exec.command.at(-3),
    ],
    expect: [9000, "9000", "9000", "9000"],
  },
  {
    keys: "servicePort",
    values: { servicePort: 8080 },
    see: (r) => r.get("Service", "lmstack-opt125m-engine-service").spec.ports[0].port,
    expect: 8080,
  },
  {
    keys: "configs",
    values: { configs: { A: "b", COUNT: 1 } },
    see: (r) => [r.find("ConfigMap", "lmstack-configs")?.["data"], engine(r).container.envFrom],
    expect: [{ A: "b", COUNT: "1" }, [{ configMapRef: { name: "lmstack-configs" } }]],
  },
  {
    keys: "strategy",
    values: { strategy: { type: "Recreate" } },
    see: (r) => engine(r).object.spec.strategy,
    expect: { type: "Recreate" },
  },
  {
    keys: "startupProbe",
    values: { startupProbe: { failureThreshold: 9, httpGet: { path: "/ping", port: 8000 } } },
    see: (r) => [engine(r).container.startupProbe.failureThreshold, engine(r).container.startupProbe.httpGet],
    expect: [9, { path: "/ping", port: 8000 }],
  },
  {
    keys: "livenessProbe",
    values: { livenessProbe: { periodSeconds: 33 } },
    see: (r) => engine(r).container.livenessProbe.periodSeconds,
    expect: 33,
  },
  {
    keys: "readinessProbe",
    values: { readinessProbe: { periodSeconds: 44 } },
    see: (r) => engine(r).container.readinessProbe.periodSeconds,
    expect: 44,
  },
  {
    keys: "tolerations",
    values: { tolerations: [{ key: "all" }] },
    see: (r) => engine(r).pod.tolerations,
    expect: [{ key: "all" }],
  },
  {
    keys: "runtimeClassName",
    values: { runtimeClassName: "nvidia" },
    see: (r) => engine(r).pod.runtimeClassName,
    expect: "nvidia",
  },
  {
    keys: "schedulerName",
    values: { schedulerName: "hami-scheduler" },
    see: (r) => engine(r).pod.schedulerName,
    expect: "hami-scheduler",
  },
  {
    keys: "imagePullPolicy",
    values: { imagePullPolicy: "Never" },
    see: (r) => engine(r).container.imagePullPolicy,
    expect: "Never",
  },
  {
    keys: "securityContext",
    values: { securityContext: { runAsUser: 2000 } },
    see: (r) => engine(r).pod.securityContext,
    expect: { runAsUser: 2000 },
  },
  {
    keys: "containerSecurityContext",
    values: { containerSecurityContext: { privileged: false } },
    see: (r) => engine(r).container.securityContext.privileged,
    expect: false,
  },
  {
    keys: "sidecar.image sidecar.imagePullPolicy",
    values: { sidecar: { image: "side:1", imagePullPolicy: "Always" } },
    see: (r) => engine(r).pod.containers[1],
    expect: { name: "sidecar", image: "side:1", imagePullPolicy: "Always" },
  },
  {
    keys: "serviceMonitor.enabled serviceMonitor.additionalLabels serviceMonitor.interval serviceMonitor.scrapeTimeout serviceMonitor.honorLabels serviceMonitor.metricRelabelings serviceMonitor.relabelings",
    values: {
      serviceMonitor: {
        enabled: true,
        additionalLabels: { release: "prom" },
        interval: "7s",
        scrapeTimeout: "6s",
        honorLabels: true,
        metricRelabelings: [{ action: "drop" }],
        relabelings: [{ action: "keep" }],
      },
    },
    see: (r) => {
      const found = r.find("ServiceMonitor", "lmstack-engine-service-monitor");
      return [found?.metadata.labels.release, found?.spec.endpoints];
    },
    expect: [
      "prom",
      [
        {
          port: "service-port",
          path: "/metrics",
          interval: "7s",
          scrapeTimeout: "6s",
          honorLabels: true,
          metricRelabelings: [{ action: "drop" }],
          relabelings: [{ action: "keep" }],
        },
      ],
    ],
  },
  { keys: "env", values: { env: [{ name: "A", value: "b" }] }, see: (r) => engine(r).env("A"), expect: "b" },
];
