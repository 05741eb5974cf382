// How each recorded group was made: the server's flags, the order of the cases, and what else was going on. Data for the
// suite; it must name every recorded case that is not replayed, with the reason.

import { readFileSync, readdirSync } from "node:fs";
import type { EngineOptions } from "../../../src/engine/serve.ts";

const root = new URL("../fixtures/", import.meta.url);

export interface RecordedCase {
  readonly id: string;
  readonly group: string;
  readonly name: string;
  readonly request: Buffer;
  readonly response: Buffer;
  /** As recorded: `complete`, `eof (server closed)`, or nothing. */
  readonly end: string;
}

/** Step times slow enough that a request can be met in the middle, fast enough for a test. */
const slow = { id: "slow", b0Us: 1500, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 2048 };

const served = {
  models: ["tiny", "tiny-alias"],
  modelRoot: "model/tiny",
  preset: "fast",
  maxModelLen: 4096,
  blockSize: 32,
  runner: "generate",
  enablePromptTokensDetails: false,
  enableAutoToolChoice: false,
} as const satisfies EngineOptions;

/** The recorded servers, by their letter in the recordings' index. */
export const servers: Readonly<Record<string, EngineOptions>> = {
  A: {
    ...served,
    devMode: true,
    enablePromptTokensDetails: true,
    enableServerLoadTracking: true,
    enableRequestIdHeaders: true,
    enableAutoToolChoice: true,
    kvEvents: {
      enable_kv_cache_events: true,
      publisher: "zmq",
      endpoint: "tcp://127.0.0.1:0",
      replay_endpoint: "tcp://127.0.0.1:*",
      topic: "kv@test",
    },
  },
  B: {
    ...served,
    maxModelLen: 1024,
    numGpuBlocks: 48,
    maxNumSeqs: 4,
    apiKeys: ["key-one", "key-two"],
    schedulingPolicy: "priority",
    prefixCachingHashAlgo: "sha256_cbor",
    enableScaleOut: true,
  },
  C: {
    ...served,
    blockSize: 128,
    loraModules: [{ name: "lora-static", path: "/opt/example/model/lora-a" }],
    allowRuntimeLora: true,
    maxNumSeqs: 4,
    maxLoras: 1,
    enableForceIncludeUsage: true,
  },
  D: { ...served, maxNumSeqs: 2, maxNumQueuedReqs: 4, maxNumBatchedTokens: 256, preset: slow },
  E: { ...served, maxNumSeqs: 8, enablePromptTokensDetails: true, enableAutoToolChoice: true },
  F: {
    ...served,
    maxNumSeqs: 1,
    enablePromptTokensDetails: true,
    enableServerLoadTracking: true,
    enableRequestIdHeaders: true,
  },
};

/** What a group needs besides its server. */
export interface GroupPlan {
  readonly options?: EngineOptions;
  /** Cases that come first, in this order; the rest follows by name. */
  readonly first?: readonly string[];
  /** Cases that come last, in this order. */
  readonly last?: readonly string[];
  /** Streams that run while the case does: how many, for which cases. */
  readonly busy?: Readonly<Record<string, number>>;
}

export const groups: Readonly<Record<string, GroupPlan>> = {
  api_key: {},
  chat: { first: ["prefix_first"] },
  checks: { first: ["exact_two_blocks_first"] },
  completions: {
    // The recorded model says only this; a stop string of it must be found in the simulator's text too.
    options: { script: [{ pattern: /quick brown fox/, answer: `${"核ĐT".repeat(80)} ok`, tool: null }] },
    first: ["prefix_first", "prefix_second"],
  },
  errors: {},
  force_include_usage: {},
  get: {
    options: { preset: slow },
    last: ["load_during_6_streams", "metrics_during_6_streams", "pause", "is_paused_after", "resume"],
    busy: { load_during_6_streams: 6, metrics_during_6_streams: 6 },
  },
  get_b: { options: { preset: slow }, busy: { metrics_4_running_6_waiting: 10 } },
  http_protocol: {},
  lora: {
    first: ["models", "load_bad_path", "load_missing_field", "load", "load_again", "models_after_load"],
    last: ["metrics_two_adapters_max_loras_1", "metrics_after", "unload", "unload_again", "completion_after_unload"],
  },
  messages: {},
  no_flags: {},
  other: {},
  queue_limit: {
    busy: {
      rejected_chat: 4,
      rejected_completion: 4,
      rejected_completion_stream: 4,
      rejected_messages: 4,
      rejected_responses: 4,
    },
  },
  real_model: {
    // What the recorded model answers to this question, so that the ends of the answers can be compared.
    options: { script: [{ pattern: /in one short sentence/, answer: "The capital of France is Paris.", tool: null }] },
  },
  responses: {},
  scale_out: {},
};

/** `dev` is a story and not a list of requests; the suite tells it in code. */
export const storyGroup = "dev";

/** Requests whose stored copy was cut: how to make them whole again. */
const rebuilt: Readonly<Record<string, () => Buffer>> = {
  "errors/completions_huge_body_12MB": () => {
    const body = `{"model": "tiny", "prompt": "${"a ".repeat(6_000_000)}", "max_tokens": 8}`;
    const head = `POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`;
    return Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
  },
  "http_protocol/half_close_after_request": () => {
    const body = '{"model": "tiny", "prompt": "Hello", "max_tokens": 200, "ignore_eos": true}';
    const head = `POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`;
    return Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
  },
  "http_protocol/url_too_long": () => Buffer.from(`GET /health?${"q".repeat(70_000)} HTTP/1.1\r\nHost: x\r\n\r\n`),
  "http_protocol/header_too_big": () =>
    Buffer.from(`GET /health HTTP/1.1\r\nHost: x\r\nX-Big: ${"a".repeat(5 * 1024 * 1024)}\r\n\r\n`),
};

interface Index {
  readonly server: string;
  readonly cases: readonly { readonly case: string; readonly end?: string }[];
}

export function readIndex(group: string): Index {
  return JSON.parse(readFileSync(new URL(`${group}/index.json`, root), "utf8")) as Index;
}

export function recorded(group: string, name: string, end = "complete"): RecordedCase {
  const id = `${group}/${name}`;
  const request = rebuilt[id]?.() ?? readFileSync(new URL(`${id}.req`, root));
  return { id, group, name, end, request, response: readFileSync(new URL(`${id}.res`, root)) };
}

/** The cases of a group in the order in which they are replayed. */
export function casesOf(group: string): RecordedCase[] {
  const { first = [], last = [] } = groups[group] ?? {};
  const cases = readIndex(group).cases.map((entry) => recorded(group, entry.case, entry.end ?? ""));
  const rank = ({ name }: RecordedCase): number =>
    first.includes(name) ? first.indexOf(name) - 1000 : last.includes(name) ? 1000 + last.indexOf(name) : 0;
  return cases.toSorted((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

/** Groups that were copied from the recordings, by folder. */
export function recordedGroups(): string[] {
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !["kv_events", "load"].includes(entry.name))
    .map(({ name }) => name);
}
