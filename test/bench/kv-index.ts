// How much memory and time the exact index of KV events takes: ten million distinct blocks of eight engines, with a bound that
// they fit into and one that they do not; and what a look-up costs. Read by people, never a gate.
//
//   npm run bench:kv-index
import { ExactIndex } from "../../src/cache/exact.ts";
import type { Batch } from "../../src/cache/kv-events/decode.ts";
import { TokenPrompt } from "../../src/cache/token-blocks.ts";

const engines = 8;
const blockSize = 16;
const blocksPerEvent = 512;
const distinct = 10_000_000;
const mebibyte = 1024 * 1024;

/** A prompt of its own, from its number: tokens from a generator of Lehmer's kind. */
function tokensOf(seed: number, count: number): Uint32Array {
  const tokens = new Uint32Array(count);
  let state = (seed * 2_654_435_761 + 1) % 2_147_483_647;
  for (let at = 0; at < count; at++) {
    state = (state * 48_271) % 2_147_483_647;
    tokens[at] = state % 150_000;
  }
  return tokens;
}

function batchOf(seed: number, blocks: number, name: number): Batch {
  const ids = new Uint32Array(blocks * 2);
  for (let at = 0; at < blocks; at++) {
    ids[at * 2] = Math.imul(name * blocks + at, 0x9e3779b1);
    ids[at * 2 + 1] = name;
  }
  const tokens = tokensOf(seed, blocks * blockSize);
  const shared = { blockSize, keys: null, medium: "gpu", group: 0, kind: "full_attention", session: false } as const;
  return { seconds: 1, events: [{ type: "stored", ids, parent: null, tokens, ...shared }], bad: [], ignored: 0 };
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const collect = (): void => (globalThis as { gc?: () => void }).gc?.();
const arrayBytes = (): number => {
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
};

async function fill(maxBytes: number): Promise<void> {
  // what the run before has left goes with the turns of the loop
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
  const before = arrayBytes();
  const index = new ExactIndex({ maxBytes });
  const sources = Array.from({ length: engines }, (_, at) => index.addSource(`e${at}`));
  let peak = 0;
  let hashMs = 0;
  const began = performance.now();
  const events = Math.floor(distinct / blocksPerEvent);
  for (let at = 0; at < events; at++) {
    const madeMs = performance.now();
    const batch = batchOf(at, blocksPerEvent, at);
    hashMs += performance.now() - madeMs;
    index.apply(sources[at % engines] ?? 0, batch);
    if (at % 200 === 0) peak = Math.max(peak, index.bytes);
  }
  const ms = performance.now() - began - hashMs;
  collect();
  const real = arrayBytes() - before;
  const say = (what: string, value: string): void => print(`  ${what.padEnd(48)}${value}`);
  print(`bound of ${maxBytes / mebibyte} MiB, ${(events * blocksPerEvent).toLocaleString("en")} distinct blocks`);
  say("blocks held", index.blocks.toLocaleString("en"));
  say("bytes by its own count, most", `${(peak / mebibyte).toFixed(0)} MiB`);
  say("growth of the process's heap and buffers", `${(real / mebibyte).toFixed(0)} MiB`);
  say("within its bound", peak <= maxBytes && real <= maxBytes ? "yes" : "NO");
  say("time per block, hashing of 16 tokens included", `${((ms * 1e6) / (events * blocksPerEvent)).toFixed(0)} ns`);
}

/** A prompt of 100,000 tokens that all eight engines hold, and a short one among 4,000 endpoints. */
function lookUp(): void {
  const measure = (what: string, index: ExactIndex, names: readonly string[], length: number): void => {
    const times: number[] = [];
    for (let round = 0; round < 50; round++) {
      const prompt = new TokenPrompt(tokensOf(7, length), null, null);
      const began = performance.now();
      for (const name of names) index.match(name, prompt);
      times.push(performance.now() - began);
    }
    times.sort((a, b) => a - b);
    print(`  ${what.padEnd(48)}${(times[25] ?? 0).toFixed(2)} ms (median of 50, hashing included)`);
  };
  print("look-up");
  const eight = new ExactIndex({ maxBytes: 256 * mebibyte });
  const names = Array.from({ length: engines }, (_, at) => `e${at}`);
  for (const name of names) eight.apply(eight.addSource(name), batchOf(7, 6250, 7));
  measure("100,000 tokens, 8 engines hold all of it", eight, names, 100_000);
  const many = new ExactIndex({ maxBytes: 256 * mebibyte });
  const thousands = Array.from({ length: 4_000 }, (_, at) => `e${at}`);
  for (const name of thousands) many.apply(many.addSource(name), batchOf(7, 32, 7));
  measure("512 tokens, 4,000 engines hold all of it", many, thousands, 513);
}

lookUp();
await fill(1024 * mebibyte);
await fill(256 * mebibyte);
