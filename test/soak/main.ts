// `npm run soak`: everything at once on one router process, for as long as one likes, with a verdict.
//
//   npm run soak -- --minutes 10            bulk load, the disorder of the chaos runs, reloads
//   npm run soak -- --requests 1000000      until so many requests of the bulk have ended
//   npm run soak -- --stalled 2000          open streams whose readers have stopped, instead
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startFakeEngines } from "../bench/overhead/fake-engine.ts";
import { Bulk } from "./bulk.ts";
import { Disorder } from "./disorder.ts";
import { sumOf, valueOf } from "../helpers/exposition.ts";
import { RouterProcess, type Sample } from "./router-process.ts";
import { runStalled, stalledStreamBytes } from "./stalled.ts";

/** Memory at the end may be so much more than after the first tenth. */
const growth = 1.1;
const sampleMs = 5_000;
const reloadMs = 7_000;
/** At once: enough to fill one core. */
const bulkClients = 32;
const disorderClients = 4;
/** Each so-many-th request of the bulk is a stream. */
const streamEvery = 10;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** @returns exit code */
async function soak(minutes: number, requests: number, seed: number, disorderly: boolean): Promise<number> {
  const engines = await startFakeEngines(4, 5);
  const disorder = new Disorder(seed);
  await disorder.start();
  const folder = mkdtempSync(join(tmpdir(), "lmstack-soak-"));
  const file = join(folder, "engines.json");
  let revision = 0;
  const policies = ["leastload", "roundrobin"];
  const reload = (): void => {
    const urls = [...engines.urls, ...disorder.urls];
    const value = {
      service_discovery: "static",
      routing_logic: policies[revision % policies.length],
      static_backends: (revision % 2 === 0 ? urls : urls.toReversed()).join(","),
    };
    writeFileSync(`${file}.next`, JSON.stringify(value));
    renameSync(`${file}.next`, file);
    revision++;
  };
  reload();
  const limits = {
    "first-event-timeout": 1,
    "idle-timeout": 1,
    "total-timeout": 3,
    "body-idle-timeout": 1,
    "head-timeout": 1,
  };
  const router = await RouterProcess.start([
    "--dynamic-config-json",
    file,
    ...Object.entries(limits).flatMap(([name, value]) => [`--${name}-seconds`, String(value)]),
  ]);
  const samples: Sample[] = [];
  const timers: NodeJS.Timeout[] = [];
  const problems: string[] = [];
  try {
    await ready(router);
    const before = await router.sample();
    const bulk = new Bulk(router.port, bulkClients, requests, streamEvery);
    const began = performance.now();
    const look = async (): Promise<void> => {
      const sample = await router.sample();
      samples.push(sample);
      const { seconds, residentMb, loopP99Ms, descriptors } = sample;
      say(
        `${seconds.toFixed(0).padStart(5)} s  ${bulk.ended} + ${disorder.requests} requests, ${bulk.failures} + ${disorder.violations.length} wrong, ` +
          `resident ${residentMb.toFixed(0)} MB, ${descriptors} descriptors, event loop late by ${loopP99Ms.toFixed(0)} ms (p99)`,
      );
    };
    if (disorderly) await disorder.storm(router.port, disorderClients);
    bulk.start();
    timers.push(setInterval(() => void look().catch((error: unknown) => problems.push(String(error))), sampleMs));
    timers.push(setInterval(reload, reloadMs));
    if (Number.isFinite(minutes)) timers.push(setTimeout(() => void bulk.stop(), minutes * 60_000));
    // memory after the first tenth is what that at the end is held against
    let early: Sample | null = null;
    const tenth = setInterval(() => {
      const share = Number.isFinite(minutes) ? (performance.now() - began) / (minutes * 60_000) : bulk.ended / requests;
      if (share < 0.1) return;
      clearInterval(tenth);
      void router.sample().then((sample) => (early = sample));
    }, 20);
    timers.push(tenth);
    await bulk.over();
    const seconds = (performance.now() - began) / 1000;
    const late = await router.sample();
    await disorder.stop();
    for (const timer of timers.splice(0)) clearInterval(timer);

    // --- the verdict
    if (!router.alive) problems.push(`the router has ended: ${router.lastWords}`);
    if (bulk.failures > 0) problems.push(`${bulk.failures} requests of the bulk failed: ${bulk.examples.join(" | ")}`);
    problems.push(...disorder.violations);
    const first: Sample | null = early;
    if (first === null) problems.push("too short for a look at memory");
    else {
      const { residentMb } = first as Sample;
      say(
        `resident after the first tenth ${residentMb.toFixed(1)} MB, at the end ${late.residentMb.toFixed(1)} MB (${((late.residentMb / residentMb - 1) * 100).toFixed(1)} %)`,
      );
      if (late.residentMb > residentMb * growth) problems.push("memory grew by more than a tenth");
    }
    const rest = await settled(router, before);
    if (rest !== null) problems.push(rest);
    const loop = samples.map(({ loopP99Ms }) => loopP99Ms).sort((a, b) => a - b);
    say(
      `${bulk.ended} requests of the bulk in ${seconds.toFixed(0)} s (${Math.round(bulk.ended / seconds)}/s), ${disorder.requests} in disorder, ${revision} reloads; ` +
        `event loop late by ${(loop[Math.floor(loop.length / 2)] ?? 0).toFixed(0)} ms (median of the p99), ${(loop.at(-1) ?? 0).toFixed(0)} ms at worst`,
    );
    const text = await router.metrics();
    const outcomes = [
      ...new Set([...text.matchAll(/^lmstack_requests_total\{.*outcome="(\w+)"/gm)].map(([, name = ""]) => name)),
    ];
    say(
      `outcomes: ${outcomes.map((name) => `${name} ${sumOf(text, "lmstack_requests_total", `outcome="${name}"`)}`).join(", ")}`,
    );
  } finally {
    for (const timer of timers) clearInterval(timer);
    router.close();
    engines.close();
    await disorder.close();
    rmSync(folder, { recursive: true, force: true });
  }
  for (const problem of problems) say(`wrong: ${problem}`);
  say(problems.length === 0 ? "verdict: sound" : `verdict: ${problems.length} problems`);
  return problems.length === 0 ? 0 : 1;
}

/** Until the bulk's model is served. */
async function ready(router: RouterProcess): Promise<void> {
  for (const began = performance.now(); performance.now() - began < 20_000;) {
    const answer = await fetch(`${router.url}/v1/models`, { headers: { connection: "close" } });
    if ((await answer.text()).includes('"bench"')) return;
  }
  throw new Error(`no engine is known: ${router.lastWords}`);
}

/** Null when load, sockets and memory of bodies are back where they began. */
async function settled(router: RouterProcess, before: Sample): Promise<string | null> {
  let wrong = "";
  for (const began = performance.now(); performance.now() - began < 15_000;) {
    const text = await router.metrics();
    const load = ["lmstack_requests_in_flight", "lmstack_endpoint_in_flight"].map((name) => sumOf(text, name));
    const bytes = valueOf(text, "lmstack_buffered_bytes");
    const { descriptors } = await router.sample();
    // its question and a few checks of engines may be open at any moment
    const extra = descriptors - before.descriptors;
    if (load.every((count) => count === 0) && bytes === 0 && !(extra > 12)) return null;
    wrong = `left behind: load ${load.join(" and ")}, ${bytes} bytes of bodies, ${extra} descriptors more than at the start`;
    await new Promise<void>((resolve) => setTimeout(resolve, 200));
  }
  return wrong;
}

/** @returns exit code */
async function stalled(streams: number): Promise<number> {
  const result = await runStalled(streams, say);
  const each = ((result.residentMb - result.idleMb) * 1e6) / result.streams;
  const capMb = (result.streams * stalledStreamBytes) / 1e6;
  say(
    `${result.streams} streams that nobody reads: resident ${result.idleMb.toFixed(0)} MB before, ${result.residentMb.toFixed(0)} MB with them ` +
      `(${Math.round(each / 1024)} KiB each, at most ${stalledStreamBytes / 1024}); the engine got rid of ${result.takenMb.toFixed(0)} MB`,
  );
  const good = result.streams === streams && result.residentMb - result.idleMb <= capMb;
  say(good ? "verdict: bounded" : "verdict: more than the cap, or streams were lost");
  return good ? 0 : 1;
}

const { values } = parseArgs({
  options: {
    minutes: { type: "string" },
    requests: { type: "string" },
    stalled: { type: "string" },
    seed: { type: "string", default: "1" },
    "no-disorder": { type: "boolean", default: false },
  },
});

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

function number(text: string | undefined, fallback: number): number {
  return text === undefined ? fallback : Number(text);
}

const minutes = number(values.minutes, values.requests === undefined ? 1 : Number.POSITIVE_INFINITY);
const requests = number(values.requests, Number.POSITIVE_INFINITY);
const streams = number(values.stalled, 0);
if ([minutes, requests, streams, Number(values.seed)].some((value) => !(value >= 0))) {
  process.stderr.write("soak: --minutes, --requests, --stalled and --seed take numbers of at least 0\n");
  process.exitCode = 2;
} else {
  process.exitCode = await (streams > 0
    ? stalled(streams)
    : soak(minutes, requests, Number(values.seed), !values["no-disorder"]));
}
