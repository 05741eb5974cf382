// Keys of an entry of modelSpec that become arguments and environment of vLLM and LMCache.
import type { Json, Rendered } from "../render.ts";
import type { Effect } from "./effect.ts";

const workload = (r: Rendered, m: string) => r.engine(m);

function flagged(flag: string) {
  return (r: Rendered, m: string): Json => r.engine(m).flag(flag);
}
function has(flag: string) {
  return (r: Rendered, m: string): Json => r.engine(m).args.includes(flag);
}
function variable(name: string) {
  return (r: Rendered, m: string): Json => r.engine(m).env(name);
}

const lmcache = (settings: object): object => ({ lmcacheConfig: { enabled: true, ...settings } });
const pd = (settings: object): object => lmcache({ enablePD: true, ...settings });

export const vllmEffects: readonly Effect[] = [
  { keys: "vllmConfig.v0", values: { vllmConfig: { v0: "1" } }, see: variable("VLLM_USE_V1"), expect: "0" },
  { keys: "vllmConfig.v1", values: { vllmConfig: { v1: 0 } }, see: variable("VLLM_USE_V1"), expect: "0" },
  {
    keys: "vllmConfig.enablePrefixCaching",
    values: { vllmConfig: { enablePrefixCaching: false } },
    see: has("--no-enable-prefix-caching"),
    expect: true,
  },
  {
    keys: "vllmConfig.enablePrefixCaching",
    values: { vllmConfig: { enablePrefixCaching: true } },
    see: has("--enable-prefix-caching"),
    expect: true,
  },
  {
    keys: "vllmConfig.enableChunkedPrefill",
    values: { vllmConfig: { enableChunkedPrefill: false } },
    see: has("--no-enable-chunked-prefill"),
    expect: true,
  },
  // YAML's numbers reach templates as floats, whose own form of this one is 1.048576e+06
  {
    keys: "vllmConfig.maxModelLen",
    values: { vllmConfig: { maxModelLen: 1048576 } },
    see: flagged("--max-model-len"),
    expect: "1048576",
  },
  {
    keys: "vllmConfig.dtype",
    values: { vllmConfig: { dtype: "bfloat16" } },
    see: flagged("--dtype"),
    expect: "bfloat16",
  },
  {
    keys: "vllmConfig.tensorParallelSize",
    values: { vllmConfig: { tensorParallelSize: 2 } },
    see: (r, m) => [flagged("--tensor-parallel-size")(r, m), workload(r, m).volume("/dev/shm")?.emptyDir.sizeLimit],
    expect: ["2", "20Gi"],
  },
  {
    keys: "vllmConfig.pipelineParallelSize",
    values: { vllmConfig: { pipelineParallelSize: 2 } },
    see: flagged("--pipeline-parallel-size"),
    expect: "2",
  },
  {
    keys: "vllmConfig.maxNumSeqs",
    values: { vllmConfig: { maxNumSeqs: 32 } },
    see: flagged("--max-num-seqs"),
    expect: "32",
  },
  { keys: "vllmConfig.maxLoras", values: { vllmConfig: { maxLoras: 4 } }, see: flagged("--max-loras"), expect: "4" },
  {
    keys: "vllmConfig.gpuMemoryUtilization",
    values: { vllmConfig: { gpuMemoryUtilization: 0.95 } },
    see: flagged("--gpu-memory-utilization"),
    expect: "0.95",
  },
  {
    keys: "vllmConfig.runner vllmConfig.convert",
    values: { vllmConfig: { runner: "pooling", convert: "embed" } },
    see: (r, m) => [flagged("--runner")(r, m), flagged("--convert")(r, m)],
    expect: ["pooling", "embed"],
  },
  {
    keys: "vllmConfig.extraArgs",
    values: { vllmConfig: { maxNumSeqs: 1, extraArgs: ["--max-num-seqs", 64] } },
    see: (r, m) => workload(r, m).args.slice(-4),
    expect: ["--max-num-seqs", "1", "--max-num-seqs", "64"],
  },
  {
    keys: "vllmConfig.prometheusMultiprocDir",
    values: { vllmConfig: { prometheusMultiprocDir: "/var/m" } },
    see: variable("PROMETHEUS_MULTIPROC_DIR"),
    expect: "/var/m",
  },
  {
    keys: "lmcacheConfig.enabled",
    values: lmcache({}),
    see: (r, m) => [
      JSON.parse(workload(r, m).flag("--kv-transfer-config") ?? "null"),
      workload(r, m).env("LMCACHE_USE_EXPERIMENTAL"),
      workload(r, m).env("VLLM_RPC_TIMEOUT"),
    ],
    expect: [{ kv_connector: "LMCacheConnectorV1", kv_role: "kv_both" }, "True", "1000000"],
  },
  {
    keys: "lmcacheConfig.cpuOffloadingBufferSize",
    values: lmcache({ cpuOffloadingBufferSize: "30" }),
    see: (r, m) => [variable("LMCACHE_LOCAL_CPU")(r, m), variable("LMCACHE_MAX_LOCAL_CPU_SIZE")(r, m)],
    expect: ["True", "30"],
  },
  {
    keys: "lmcacheConfig.diskOffloadingBufferSize",
    values: lmcache({ diskOffloadingBufferSize: 50 }),
    see: (r, m) => [variable("LMCACHE_LOCAL_DISK")(r, m), variable("LMCACHE_MAX_LOCAL_DISK_SIZE")(r, m)],
    expect: ["file:///tmp/lmcache/", "50"],
  },
  {
    keys: "lmcacheConfig.logLevel",
    values: lmcache({ logLevel: "INFO" }),
    see: variable("LMCACHE_LOG_LEVEL"),
    expect: "INFO",
  },
  {
    keys: "lmcacheConfig.kvRole",
    values: lmcache({ kvRole: "kv_producer" }),
    see: (r, m) => JSON.parse(workload(r, m).flag("--kv-transfer-config") ?? "{}").kv_role,
    expect: "kv_producer",
  },
  {
    keys: "lmcacheConfig.enablePD",
    values: pd({}),
    see: (r, m) => [
      variable("LMCACHE_LOCAL_CPU")(r, m),
      variable("LMCACHE_REMOTE_SERDE")(r, m),
      variable("UCX_TLS")(r, m),
    ],
    expect: ["False", "NULL", "cuda_ipc,cuda_copy,tcp"],
  },
  {
    keys: "lmcacheConfig.enableNixl lmcacheConfig.nixlRole lmcacheConfig.nixlPeerHost lmcacheConfig.nixlPeerPort lmcacheConfig.nixlBufferSize lmcacheConfig.nixlBufferDevice lmcacheConfig.nixlEnableGc",
    values: pd({
      enableNixl: true,
      nixlRole: "receiver",
      nixlPeerHost: "0.0.0.0",
      nixlPeerPort: "55555",
      nixlBufferSize: 1073741824,
      nixlBufferDevice: "cuda",
      nixlEnableGc: false,
    }),
    see: (r, m) =>
      [
        "ENABLE_NIXL",
        "NIXL_ROLE",
        "NIXL_RECEIVER_HOST",
        "NIXL_RECEIVER_PORT",
        "NIXL_BUFFER_SIZE",
        "NIXL_BUFFER_DEVICE",
        "NIXL_ENABLE_GC",
      ].map((name) => variable(`LMCACHE_${name}`)(r, m)),
    expect: ["True", "receiver", "0.0.0.0", "55555", "1073741824", "cuda", "False"],
  },
  {
    keys: "lmcacheConfig.cudaVisibleDevices",
    values: lmcache({ cudaVisibleDevices: 1 }),
    see: variable("CUDA_VISIBLE_DEVICES"),
    expect: "1",
  },
];
