// What a choice costs: reading a prompt and choosing among 8 endpoints and among 4,000, and the memory of the index under ten
// million distinct blocks. Read by people: `npm run bench:routing`. The marks beside the figures are for a machine at rest.
import { parseArgs } from "node:util";
import { tokenizable } from "../../src/api/tokenize.ts";
import { ApproximateIndex } from "../../src/cache/approximate.ts";
import { ExactIndex } from "../../src/cache/exact.ts";
import type { Batch } from "../../src/cache/kv-events/decode.ts";
import { TokenPrompt } from "../../src/cache/token-blocks.ts";
import { layered } from "../../src/cache/view.ts";
import { promptOfBlockIds } from "../../src/cache/prompt.ts";
import { Prefixes, askOfLength, type Ask } from "../../src/proxy/prefixes.ts";
import { costPolicy } from "../../src/routing/cost.ts";
import { EndpointLoad } from "../../src/routing/load.ts";
import type { Candidate, RequestView } from "../../src/routing/policy.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "300" } } });
const rounds = Number(values.rounds);
const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** Median and 90th percentile of the time of one call. */
function measure(name: string, mark: string, call: (round: number) => void): void {
  for (let i = 0; i < 50; i++) call(i);
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = process.hrtime.bigint();
    call(50 + i);
    times.push(Number(process.hrtime.bigint() - start) / 1000);
  }
  times.sort((a, b) => a - b);
  const at = (share: number): string => (times[Math.floor(times.length * share)] ?? 0).toFixed(1).padStart(8);
  print(`${name.padEnd(66)} ${at(0.5)} us, p90 ${at(0.9)} us${mark === "" ? "" : `   mark ${mark} us`}`);
}

function fleet(count: number): Candidate[] {
  return Array.from({ length: count }, (_, i) => ({
    id: `10.0.${i >> 8}.${i & 255}:8000`,
    weight: 1,
    load: new EndpointLoad(),
  }));
}

function viewOf(ask: Ask, nowMs: number): RequestView {
  return { model: "m", sessionKey: null, ...ask, othersShare: 0, mayWait: true, nowMs };
}

let state = 1;
const random = (): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};

const words = "the router sends each request to the engine where it costs least and tells why ".split(" ");
const text = (bytes: number): string => {
  let out = "";
  while (out.length < bytes) out += `${words[Math.floor(random() * words.length)]} `;
  return out.slice(0, bytes);
};
const chat = (...contents: string[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      model: "m",
      messages: contents.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content })),
    }),
  );

for (const [count, bytes, turns, mark] of [
  [8, 400_000, 1, "2,000"],
  [8, 400_000, 100, "2,000"],
  [8, 4_000, 1, ""],
  [4000, 1_500, 1, "1,000"],
  [4000, 400_000, 1, ""],
] as const) {
  const prefixes = new Prefixes(256 * 1024 * 1024);
  const candidates = fleet(count);
  const choose = costPolicy(prefixes.index);
  const shared = Array.from({ length: turns }, () => text(bytes / turns));
  const bodies = Array.from({ length: 40 }, (_, i) => chat(...shared.slice(0, -1), `${shared.at(-1)}${i}`));
  // everyone has seen the beginning
  for (const { id } of candidates.slice(0, 64)) {
    const { prompt } = prefixes.read("chat", bodies[0] ?? Buffer.alloc(0), "m");
    if (prompt !== null) prefixes.index.sent(id, prompt);
  }
  measure(`${bytes / 1000} kB chat of ${turns} turn(s), ${count} endpoints: read, choose, enter`, mark, (round) => {
    const ask = prefixes.read("chat", bodies[round % bodies.length] ?? Buffer.alloc(0), "m");
    const choice = choose(viewOf(ask, round), candidates, random);
    const id = candidates[choice.index]?.id ?? "";
    if (ask.prompt !== null) prefixes.index.sent(id, ask.prompt);
  });
}

/** One event that says that a chain of blocks of 16 tokens is held. */
function stored(tokens: Uint32Array): Batch {
  const blocks = tokens.length / 16;
  const ids = new Uint32Array(blocks * 2).map((_, i) => Math.imul(i + 1, 0x9e3779b1));
  const shared = {
    blockSize: 16,
    keys: null,
    medium: "gpu",
    group: 0,
    kind: "full_attention",
    session: false,
  } as const;
  return { seconds: 1, events: [{ type: "stored", ids, parent: null, tokens, ...shared }], bad: [], ignored: 0 };
}

// kvaware, with a prompt of token ids: read in both ways, looked up in what the engines say, chosen, expected there, ended
for (const [count, length, mark] of [
  [8, 100_000, "2,000"],
  [4000, 320, "1,000"],
] as const) {
  const prefixes = new Prefixes(256 * 1024 * 1024);
  const exact = new ExactIndex({ maxBytes: 1024 * 1024 * 1024 });
  const candidates = fleet(count);
  const tokens = Uint32Array.from({ length }, () => Math.floor(random() * 150_000));
  for (const { id } of candidates) exact.apply(exact.addSource(id), stored(tokens));
  const match = (id: string, { byTokens }: { readonly byTokens?: TokenPrompt }): number =>
    byTokens === undefined ? -1 : exact.match(id, byTokens);
  const choose = costPolicy(layered({ complete: true, match }, prefixes.index));
  const bodies = Array.from({ length: 8 }, (_, i) =>
    Buffer.from(JSON.stringify({ model: "m", prompt: [...tokens, 7, i] })),
  );
  measure(`kvaware, ${length} token ids held by all, ${count} endpoints: all of it`, mark, (round) => {
    const body = bodies[round % bodies.length] ?? Buffer.alloc(0);
    const ask = prefixes.read("completions", body, "m");
    const { prompt } = ask;
    const ids = prompt?.tokenIds;
    if (prompt === null || !(ids instanceof Uint32Array)) throw new Error("the ids were not read");
    const { cacheSalt } = tokenizable("completions", body, ids);
    const byTokens = new TokenPrompt(ids, null, cacheSalt);
    const view = viewOf({ ...ask, prompt: { ...prompt, byTokens } }, round);
    const id = candidates[choose(view, candidates, random).index]?.id ?? "";
    const speculation = exact.speculate(id, byTokens);
    prefixes.index.sent(id, prompt);
    if (speculation !== null) exact.settle(speculation);
  });
}

{
  const candidates = fleet(4000);
  const choose = costPolicy(new ApproximateIndex());
  measure("prompt that is not looked at, 4,000 endpoints: choose", "1,000", (round) => {
    choose(viewOf(askOfLength(300), round), candidates, random);
  });
  const few = candidates.slice(0, 4);
  measure("the same, 4 endpoints, 1,000 times", "", (round) => {
    for (let i = 0; i < 1000; i++) choose(viewOf(askOfLength(300), round), few, random);
  });
}

{
  const maxBytes = 64 * 1024 * 1024;
  const before = process.memoryUsage();
  const index = new ApproximateIndex({ maxBytes });
  for (let i = 0; i < 8; i++) index.setEngine(`e${i}`, { capacityTokens: 1e9, blockTokens: 16, caching: true });
  const start = process.cpuUsage();
  let most = 0;
  let blocks = 0;
  for (let i = 0; blocks < 10_000_000; i++) {
    const ids = Array.from({ length: 1000 }, (_, k) => i * 1000 + k);
    index.sent(`e${i % 8}`, promptOfBlockIds(ids, 64, 64_001));
    blocks += 1000;
    most = Math.max(most, index.bytes);
  }
  const cpu = process.cpuUsage(start);
  (globalThis as { gc?: () => void }).gc?.();
  const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers;
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  print(
    `10 million distinct blocks into an index of ${mib(maxBytes)} MiB: at most ${mib(most)} MiB by its own count, ` +
      `${mib(grown)} MiB of buffers, ${index.nodes} blocks held, ${(((cpu.user + cpu.system) * 1000) / blocks).toFixed(0)} ns a block`,
  );
}
