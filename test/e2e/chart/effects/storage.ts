// Keys of loraAdapters and sharedPvcStorage.
import type { Json, Rendered } from "../render.ts";
import { engine, type Effect } from "./effect.ts";

const adapter = { name: "sql", baseModel: "opt125m", adapterSource: { type: "local", adapterPath: "/data/sql" } };
export const baseAdapter = adapter;
const loraModules = (r: Rendered): Json => engine(r).flag("--lora-modules");
const fetcher = (r: Rendered): Json =>
  engine(r).pod.initContainers?.find((container: Json) => container.name === "adapter-sql");

/** Credentials that are given as text. */
const credentialsOf = (r: Rendered, name: string): Json => {
  const data = r.find("Secret", "lmstack-secrets")?.["data"];
  return Buffer.from(data?.[`lora_adapter_credentials_${name}`] ?? "", "base64").toString();
};

export const adapterEffects: readonly Effect[] = [
  {
    keys: "name baseModel adapterSource.type adapterSource.adapterPath",
    values: {},
    see: (r) => [loraModules(r), engine(r).args.includes("--enable-lora")],
    expect: ["sql=/data/sql", true],
  },
  { keys: "baseModel", values: { baseModel: "facebook/opt-125m" }, see: loraModules, expect: "sql=/data/sql" },
  { keys: "enabled", values: { enabled: false }, see: (r) => loraModules(r) ?? null, expect: null },
  {
    keys: "adapterSource.adapterName",
    values: { adapterSource: { ...adapter.adapterSource, adapterName: "v2" } },
    see: loraModules,
    expect: "sql=/data/sql/v2",
  },
  {
    keys: "adapterSource.repository",
    values: { adapterSource: { type: "huggingface", repository: "org/sql" } },
    see: loraModules,
    expect: "sql=org/sql",
  },
  {
    keys: "adapterSource.pattern",
    values: { adapterSource: { type: "s3", repository: "bucket", adapterPath: "sql", pattern: "*.safetensors" } },
    see: (r) => [loraModules(r), JSON.parse(fetcher(r)?.command.at(-2) ?? "null"), fetcher(r)?.image],
    expect: [
      "sql=/adapters/sql",
      { type: "s3", repository: "bucket", adapterPath: "sql", pattern: "*.safetensors" },
      "vllm/vllm-openai:v0.11.0",
    ],
  },
  {
    keys: "adapterSource.maxAdapters",
    values: { adapterSource: { ...adapter.adapterSource, maxAdapters: 3 } },
    see: (r) => engine(r).flag("--max-loras"),
    expect: "3",
  },
  {
    keys: "adapterSource.credentials",
    values: {
      adapterSource: { type: "http", adapterPath: "https://h.example/a.tgz", credentials: { secretName: "s3" } },
    },
    see: (r) => [fetcher(r)?.envFrom, fetcher(r)?.command.at(-2).includes("s3")],
    expect: [[{ secretRef: { name: "s3" } }], false],
  },
  {
    keys: "adapterSource.credentials",
    values: {
      adapterSource: { type: "http", adapterPath: "https://h.example/a.tgz", credentials: "token" },
    },
    see: (r) => [fetcher(r)?.env, credentialsOf(r, "sql")],
    expect: [
      [
        {
          name: "HTTP_TOKEN",
          valueFrom: { secretKeyRef: { name: "lmstack-secrets", key: "lora_adapter_credentials_sql" } },
        },
      ],
      "token",
    ],
  },
  {
    keys: "adapterSource.credentials",
    values: {
      adapterSource: {
        type: "huggingface",
        repository: "org/sql",
        credentials: { secretName: "hub", secretKey: "token" },
      },
    },
    see: (r) => engine(r).env("HF_TOKEN"),
    expect: { secretKeyRef: { name: "hub", key: "token" } },
  },
  {
    keys: "adapterSource.credentials",
    values: {
      adapterSource: { type: "huggingface", repository: "org/sql", adapterName: "org/v2", credentials: "hf_x" },
    },
    see: (r) => [engine(r).env("HF_TOKEN"), credentialsOf(r, "org_v2")],
    expect: [{ secretKeyRef: { name: "lmstack-secrets", key: "lora_adapter_credentials_org_v2" } }, "hf_x"],
  },
  {
    keys: "labels",
    values: { labels: { team: "x" } },
    see: (r) => r.find("ConfigMap", "lmstack-lora-sql")?.metadata.labels.team,
    expect: "x",
  },
];

/** Keys of an adapter that have no effect to show, each with the reason. */
export const adapterWithout: Readonly<Record<string, string>> = {
  vllmApiKey: "the loraController's: chart-refusals.test.ts, unless it is the engines' own",
  "loraAdapterDeploymentConfig.algorithm":
    "chart-refusals.test.ts: with all engines there is nothing to choose, with fewer it is the loraController's",
  "loraAdapterDeploymentConfig.replicas": "the loraController's: chart-refusals.test.ts, unless all engines are meant",
};

const sharedClaim = (r: Rendered): Json => r.find("PersistentVolumeClaim", "lmstack-shared-pvc-storage-claim")?.spec;
const sharedVolume = (r: Rendered): Json => r.find("PersistentVolume", "lmstack-shared-pvc-storage")?.spec;

/** What gives the volume to the user of an engine; null = nothing does. */
const owning = (r: Rendered, model: string): Json => {
  const found = r.engine(model).pod.initContainers?.find(({ name }: Json) => name === "shared-storage-owner");
  return found === undefined ? null : [found.image, ...found.command.slice(3), found.securityContext.runAsUser];
};

/** Engines that run as root, as somebody, and as the simulator does. */
export const storageModels: readonly object[] = [
  {},
  { name: "plain", securityContext: { runAsUser: 1000, fsGroup: 2000 } },
  { name: "sim", engine: { simulated: true } },
];

export const storageEffects: readonly Effect[] = [
  {
    keys: "enabled",
    values: { enabled: true },
    see: (r) => engine(r).volume("/data/shared-pvc-storage")?.persistentVolumeClaim,
    expect: { claimName: "lmstack-shared-pvc-storage-claim" },
  },
  {
    keys: "size accessModes storageClass",
    values: { enabled: true, size: "7Gi", accessModes: ["ReadOnlyMany"], storageClass: "nfs" },
    see: sharedClaim,
    expect: { storageClassName: "nfs", accessModes: ["ReadOnlyMany"], resources: { requests: { storage: "7Gi" } } },
  },
  {
    keys: "hostPath",
    values: { enabled: true, hostPath: "/models" },
    see: (r) => [sharedVolume(r)?.hostPath, sharedClaim(r)?.volumeName],
    expect: [{ path: "/models" }, "lmstack-shared-pvc-storage"],
  },
  {
    keys: "nfs.server nfs.path",
    values: { enabled: true, nfs: { server: "10.0.0.1", path: "/m" } },
    see: (r) => sharedVolume(r)?.nfs,
    expect: { server: "10.0.0.1", path: "/m" },
  },
  {
    keys: "image.repository image.tag",
    values: { enabled: true, hostPath: "/models", image: { repository: "busybox", tag: 1.37 } },
    see: (r) => owning(r, "plain"),
    expect: ["busybox:1.37", "1000:2000", "/data/shared-pvc-storage", 0],
  },
  {
    keys: "image",
    values: { enabled: true, hostPath: "/models", image: "registry/busybox:1" },
    see: (r) => owning(r, "sim"),
    expect: ["registry/busybox:1", "65532:65532", "/data/shared-pvc-storage", 0],
  },
  {
    // root may write anyway
    keys: "image",
    values: { enabled: true, hostPath: "/models", image: "busybox" },
    see: (r) => [owning(r, "opt125m"), r.kinds().includes("PersistentVolume")],
    expect: [null, true],
  },
];
