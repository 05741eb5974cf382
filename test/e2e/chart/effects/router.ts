// Keys of routerSpec.
import type { Rendered } from "../render.ts";
import type { Effect } from "./effect.ts";

const router = (r: Rendered) => r.router();
const given = (flag: string) => (r: Rendered) => r.router().flag(flag);

export const routerEffects: readonly Effect[] = [
  {
    keys: "enableRouter",
    values: { enableRouter: false },
    see: (r) => r.objects.filter(({ metadata }) => metadata.name.includes("router")).length,
    expect: 0,
  },
  {
    keys: "repository tag",
    values: { repository: "registry/lmstack", tag: "1.2" },
    see: (r) => router(r).container.image,
    expect: "registry/lmstack:1.2",
  },
  {
    keys: "tag",
    values: { tag: "sha256:abc" },
    see: (r) => router(r).container.image,
    expect: "lmstack/lmstack@sha256:abc",
  },
  {
    keys: "imagePullPolicy",
    values: { imagePullPolicy: "Always" },
    see: (r) => router(r).container.imagePullPolicy,
    expect: "Always",
  },
  {
    keys: "imagePullSecrets",
    values: { imagePullSecrets: [{ name: "reg" }] },
    see: (r) => router(r).pod.imagePullSecrets,
    expect: [{ name: "reg" }],
  },
  {
    keys: "serviceAccountName",
    values: { serviceAccountName: "mine" },
    see: (r) => [
      router(r).pod.serviceAccountName,
      r.kinds().includes("ServiceAccount"),
      r.get("RoleBinding", "lmstack-router-discovery")["subjects"][0].name,
    ],
    expect: ["mine", false, "mine"],
  },
  {
    keys: "hf_token",
    values: { hf_token: "hf_x" },
    see: (r) => [router(r).env("HF_TOKEN"), r.find("Secret", "lmstack-secrets")?.["data"].hf_token_router],
    expect: [
      { secretKeyRef: { name: "lmstack-secrets", key: "hf_token_router" } },
      Buffer.from("hf_x").toString("base64"),
    ],
  },
  {
    keys: "securityContext",
    values: { securityContext: { runAsUser: 1234 } },
    see: (r) => router(r).pod.securityContext.runAsUser,
    expect: 1234,
  },
  {
    keys: "containerSecurityContext",
    values: { containerSecurityContext: { readOnlyRootFilesystem: false } },
    see: (r) => router(r).container.securityContext.readOnlyRootFilesystem,
    expect: false,
  },
  {
    keys: "extraVolumes extraVolumeMounts",
    values: { extraVolumes: [{ name: "t", emptyDir: {} }], extraVolumeMounts: [{ name: "t", mountPath: "/t" }] },
    see: (r) => router(r).volume("/t"),
    expect: { name: "t", emptyDir: {} },
  },
  { keys: "replicaCount", values: { replicaCount: 4 }, see: (r) => router(r).object.spec.replicas, expect: 4 },
  { keys: "env", values: { env: [{ name: "A", value: "b" }] }, see: (r) => router(r).env("A"), expect: "b" },
  {
    keys: "autoscaling.enabled autoscaling.minReplicas autoscaling.maxReplicas autoscaling.targetCPUUtilizationPercentage",
    values: { autoscaling: { enabled: true, minReplicas: 2, maxReplicas: 9, targetCPUUtilizationPercentage: 66 } },
    see: (r) => {
      const spec = r.find("HorizontalPodAutoscaler", "lmstack-hpa-router")?.spec;
      return [
        spec?.minReplicas,
        spec?.maxReplicas,
        spec?.metrics[0].resource.target.averageUtilization,
        spec?.scaleTargetRef.name,
        router(r).object.spec.replicas,
      ];
    },
    expect: [2, 9, 66, "lmstack-deployment-router", undefined],
  },
  {
    keys: "pdb.enabled pdb.labels pdb.annotations pdb.minAvailable",
    values: { pdb: { enabled: true, labels: { l: "1" }, annotations: { a: "2" }, minAvailable: 1 } },
    see: (r) => {
      const found = r.find("PodDisruptionBudget", "lmstack-router-pdb");
      return [found?.metadata.labels.l, found?.metadata.annotations, found?.spec.minAvailable];
    },
    expect: ["1", { a: "2" }, 1],
  },
  {
    keys: "pdb.maxUnavailable",
    values: { pdb: { enabled: true, maxUnavailable: "30%" } },
    see: (r) => r.find("PodDisruptionBudget", "lmstack-router-pdb")?.spec.maxUnavailable,
    expect: "30%",
  },
  {
    keys: "priorityClassName",
    values: { priorityClassName: "high" },
    see: (r) => router(r).pod.priorityClassName,
    expect: "high",
  },
  {
    keys: "containerPort",
    values: { containerPort: 9001 },
    see: (r) => [router(r).container.ports[0].containerPort, router(r).flag("--port")],
    expect: [9001, "9001"],
  },
  {
    keys: "serviceType nodePort",
    values: { serviceType: "NodePort", nodePort: 30080 },
    see: (r) => [
      r.get("Service", "lmstack-router-service").spec.type,
      r.get("Service", "lmstack-router-service").spec.ports[0].nodePort,
    ],
    expect: ["NodePort", 30080],
  },
  {
    keys: "serviceAnnotations",
    values: { serviceAnnotations: { a: "b" } },
    see: (r) => r.get("Service", "lmstack-router-service").metadata.annotations,
    expect: { a: "b" },
  },
  {
    keys: "servicePort",
    values: { servicePort: 8888 },
    see: (r) => r.get("Service", "lmstack-router-service").spec.ports[0].port,
    expect: 8888,
  },
  {
    keys: "serviceDiscovery staticBackends staticModels",
    values: { serviceDiscovery: "static", staticBackends: "http://a:1,http://b:2", staticModels: "m,m" },
    see: (r) => [
      given("--service-discovery")(r),
      given("--static-backends")(r),
      given("--static-models")(r),
      r.kinds().includes("Role"),
      router(r).pod.automountServiceAccountToken,
    ],
    expect: ["static", "http://a:1,http://b:2", "m,m", false, false],
  },
  {
    keys: "k8sServiceDiscoveryType",
    values: { k8sServiceDiscoveryType: "service-name" },
    see: (r) => [given("--k8s-service-discovery-type")(r), r.get("Role", "lmstack-router-discovery")["rules"]],
    expect: ["service-name", [{ apiGroups: [""], resources: ["services"], verbs: ["list", "watch"] }]],
  },
  { keys: "routingLogic", values: { routingLogic: "roundrobin" }, see: given("--routing-logic"), expect: "roundrobin" },
  {
    keys: "prefixMinMatchLength",
    values: { prefixMinMatchLength: 256 },
    see: given("--prefix-min-match-length"),
    expect: "256",
  },
  { keys: "sessionKey", values: { sessionKey: "x-user" }, see: given("--session-key"), expect: "x-user" },
  { keys: "rootPath", values: { rootPath: "/llm" }, see: given("--root-path"), expect: "/llm" },
  {
    keys: "extraArgs",
    values: { routingLogic: "session", extraArgs: ["--routing-logic", "roundrobin", "--retries", 0] },
    see: (r) => router(r).args.slice(-4),
    expect: ["--routing-logic", "roundrobin", "--retries", "0"],
  },
  {
    keys: "extraPorts",
    values: { extraPorts: [{ name: "x", port: 81, targetPort: 8000 }] },
    see: (r) => r.get("Service", "lmstack-router-service").spec.ports[1],
    expect: { name: "x", port: 81, targetPort: 8000 },
  },
  {
    keys: "engineScrapeInterval",
    values: { engineScrapeInterval: 5 },
    see: given("--engine-stats-interval"),
    expect: "5",
  },
  {
    keys: "requestStatsWindow",
    values: { requestStatsWindow: 30 },
    see: given("--request-stats-window"),
    expect: "30",
  },
  {
    keys: "otel.endpoint otel.serviceName otel.secure",
    values: { otel: { endpoint: "http://otel:4317", serviceName: "edge", secure: true } },
    see: (r) => [
      given("--otel-endpoint")(r),
      given("--otel-service-name")(r),
      router(r).args.includes("--otel-secure"),
    ],
    expect: ["http://otel:4317", "edge", true],
  },
  {
    keys: "strategy",
    values: { strategy: { type: "Recreate" } },
    see: (r) => router(r).object.spec.strategy,
    expect: { type: "Recreate" },
  },
  {
    keys: "vllmApiKey.secretName vllmApiKey.secretKey",
    values: { vllmApiKey: { secretName: "keys", secretKey: "k" } },
    see: (r) => [
      router(r).volume("/etc/lmstack/engine-api-key")?.secret,
      given("--engine-api-key-file")(r),
      given("--api-key-file")(r),
    ],
    expect: [
      { secretName: "keys", items: [{ key: "k", path: "key" }] },
      "/etc/lmstack/engine-api-key/key",
      "/etc/lmstack/api-key/key",
    ],
  },
  {
    keys: "lmcacheConfig.logLevel",
    values: { lmcacheConfig: { logLevel: "INFO" } },
    see: (r) => router(r).env("LMCACHE_LOG_LEVEL"),
    expect: "INFO",
  },
  {
    keys: "lmcacheControllerPort lmcacheControllerReplyPort lmcacheControllerHeartbeatPort",
    values: { lmcacheControllerPort: 9000, lmcacheControllerReplyPort: 9001, lmcacheControllerHeartbeatPort: 9002 },
    see: (r) => ["", "reply-", "heartbeat-"].map((part) => given(`--lmcache-controller-${part}port`)(r)),
    expect: ["9000", "9001", "9002"],
  },
  {
    keys: "resources",
    values: { resources: { requests: { cpu: "2" } } },
    see: (r) => router(r).container.resources.requests.cpu,
    expect: "2",
  },
  {
    keys: "labels",
    values: { labels: { team: "x" } },
    see: (r) => router(r).template.metadata.labels.team,
    expect: "x",
  },
  {
    keys: "podAnnotations",
    values: { podAnnotations: { a: "b" } },
    see: (r) => router(r).template.metadata.annotations.a,
    expect: "b",
  },
  {
    keys: "ingress.enabled ingress.className ingress.annotations ingress.hosts.host ingress.hosts.paths ingress.tls",
    values: {
      ingress: {
        enabled: true,
        className: "nginx",
        annotations: { a: "b" },
        hosts: [{ host: "h.example", paths: [{ path: "/x", pathType: "Exact" }] }],
        tls: [{ secretName: "t" }],
      },
    },
    see: (r) => {
      const found = r.find("Ingress", "lmstack-ingress-router");
      return [found?.metadata.annotations, found?.spec];
    },
    expect: [
      { a: "b" },
      {
        ingressClassName: "nginx",
        tls: [{ secretName: "t" }],
        rules: [
          {
            host: "h.example",
            http: {
              paths: [
                {
                  path: "/x",
                  pathType: "Exact",
                  backend: { service: { name: "lmstack-router-service", port: { number: 80 } } },
                },
              ],
            },
          },
        ],
      },
    ],
  },
  {
    keys: "route.main.enabled route.main.apiVersion route.main.kind route.main.annotations route.main.labels route.main.hostnames route.main.parentRefs route.main.matches route.main.filters route.main.additionalRules",
    values: {
      route: {
        main: {
          enabled: true,
          apiVersion: "gateway.networking.k8s.io/v1beta1",
          kind: "HTTPRoute",
          annotations: { a: "b" },
          labels: { l: "1" },
          hostnames: ["{{ .Release.Name }}.example"],
          parentRefs: [{ name: "gw" }],
          matches: [{ path: { value: "/v1" } }],
          filters: [{ type: "URLRewrite" }],
          additionalRules: [{ backendRefs: [{ name: "{{ .Release.Name }}-other" }] }],
        },
      },
    },
    see: (r) => {
      const found = r.find("HTTPRoute", "lmstack-router");
      return [found?.apiVersion, found?.metadata.annotations, found?.metadata.labels.l, found?.spec];
    },
    expect: [
      "gateway.networking.k8s.io/v1beta1",
      { a: "b" },
      "1",
      {
        parentRefs: [{ name: "gw" }],
        hostnames: ["lmstack.example"],
        rules: [
          { backendRefs: [{ name: "lmstack-other" }] },
          {
            backendRefs: [{ name: "lmstack-router-service", port: 80 }],
            matches: [{ path: { value: "/v1" } }],
            filters: [{ type: "URLRewrite" }],
          },
        ],
      },
    ],
  },
  {
    keys: "route.main.httpsRedirect",
    values: { route: { main: { enabled: true, httpsRedirect: true } } },
    see: (r) => r.find("HTTPRoute", "lmstack-router")?.spec.rules,
    expect: [{ filters: [{ type: "RequestRedirect", requestRedirect: { scheme: "https", statusCode: 301 } }] }],
  },
  {
    keys: "affinity",
    values: { affinity: { nodeAffinity: {} } },
    see: (r) => router(r).pod.affinity,
    expect: { nodeAffinity: {} },
  },
  {
    keys: "nodeSelectorTerms",
    values: { nodeSelectorTerms: [{ matchExpressions: [{ key: "cpu", operator: "Exists" }] }] },
    see: (r) => router(r).pod.affinity.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms,
    expect: [{ matchExpressions: [{ key: "cpu", operator: "Exists" }] }],
  },
  {
    keys: "livenessProbe",
    values: { livenessProbe: { periodSeconds: 33 } },
    see: (r) => router(r).container.livenessProbe.periodSeconds,
    expect: 33,
  },
  {
    keys: "startupProbe",
    values: { startupProbe: { failureThreshold: 44 } },
    see: (r) => router(r).container.startupProbe.failureThreshold,
    expect: 44,
  },
  {
    keys: "readinessProbe",
    values: { readinessProbe: { httpGet: { path: "/health" } } },
    see: (r) => router(r).container.readinessProbe.httpGet.path,
    expect: "/health",
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
      const found = r.find("ServiceMonitor", "lmstack-router-service-monitor");
      return [found?.metadata.labels.release, found?.spec.endpoints];
    },
    expect: [
      "prom",
      [
        {
          port: "router-sport",
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
];
