// Eight engines, of which one hangs (its process is stopped: connections are accepted and nothing is answered), one is ten
// times slower than the others, one flaps, and one is half-dead (its health answers, its inference does not). No client sees
// an error where a retry is allowed, and ten seconds later the 99th percentile is within 1.5 times that of a healthy fleet:
// eight engines behind a router of their own, asked the same at the same time, so that both have the same machine.
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { Load } from "../chaos/load.ts";
import { temporaryFile } from "../helpers/files.ts";
import { get, post } from "../helpers/http-client.ts";
import { startLmstack, type LmstackProcess } from "../helpers/process.ts";
import { until } from "../helpers/until.ts";

const settleMs = 10_000;
const windowMs = 15_000;
/** Whatever else the machine does in one window: a router that sends clients to broken engines does so in each of them. */
const windows = 3;
const mark = 1.5;

const here = ["--host", "127.0.0.1", "--port", "0"];
// a decode step of 2 ms, so that an answer takes time that can be told apart
const engineArgv = ["engine", ...here, "--model", "m", "--sim-api", "--preset", "fast"];
const usual = "0.025";

async function fault(engine: LmstackProcess, what: object): Promise<void> {
  const answer = await post(engine.port, "/sim/faults", what);
  assert.equal(answer.status, 200, answer.text);
}

/** A router, and requests to it as long as the test lasts. */
async function serve(t: TestContext, argv: readonly string[]): Promise<{ router: LmstackProcess; load: Load }> {
  const router = await startLmstack(t, ["router", ...here, "--log-format", "json", ...argv]);
  const ready = async (): Promise<number> =>
    ((await get(router.port, "/engines")).json() as { state: string }[]).filter(({ state }) => state === "ready")
      .length;
  while ((await ready()) < 8);
  const load = new Load(t, { port: router.port, perSecond: 60, model: "m", tokens: 10 });
  return { router, load };
}

interface Served {
  readonly tookMs: number;
  readonly attempts: number;
  /** By what is wrong with it. */
  readonly engine: string;
}

/** Requests sent since then, slowest first, with what the router wrote of them. */
function served({ router, load }: { router: LmstackProcess; load: Load }, sinceMs: number, names: Map<number, string>) {
  const lines = router
    .output()
    .split("\n")
    .filter((line) => line.includes('"requestId":"load-'))
    .map((line) => JSON.parse(line) as { requestId: string; endpoint: string; attempts: number });
  const logged = new Map(lines.map((line) => [line.requestId, line]));
  const found: Served[] = [];
  for (const { sentMs, tookMs, number } of load.times) {
    const line = logged.get(`load-${number}`);
    if (sentMs < sinceMs || line === undefined) continue;
    const engine = names.get(Number(line.endpoint.split(":")[1])) ?? "healthy";
    found.push({ tookMs, attempts: line.attempts, engine });
  }
  return found.toSorted((a, b) => b.tookMs - a.tookMs);
}

test("E5: one hung, one slow, one flapping and one half-dead engine among eight: no client sees an error, nor waits for them", async (t) => {
  // the ninth is ten times slower
  const engines = await Promise.all(
    Array.from({ length: 9 }, (_, i) => startLmstack(t, [...engineArgv, "--speed", i === 8 ? "0.0025" : usual])),
  );
  const others = await Promise.all(Array.from({ length: 8 }, () => startLmstack(t, [...engineArgv, "--speed", usual])));
  const [hung, , flapping, halfDead] = engines;
  const slow = engines[8];
  assert.ok(hung && flapping && halfDead && slow);
  const names = new Map([
    [hung.port, "hung"],
    [flapping.port, "flapping"],
    [halfDead.port, "half-dead"],
    [slow.port, "slow"],
  ]);
  const list = (present: readonly string[]): string =>
    JSON.stringify({ service_discovery: "static", routing_logic: "leastload", static_backends: present.join(",") });
  const urls = engines.map(({ url }) => url);
  const file = temporaryFile(t, "engines.json", list(urls.slice(0, 8)));
  const broken = await serve(t, ["--dynamic-config-json", file]);
  const healthyUrls = others.map(({ url }) => url).join(",");
  const healthy = await serve(t, ["--routing-logic", "leastload", "--static-backends", healthyUrls]);
  await until(() => broken.load.ended > 60 && healthy.load.ended > 60, "the load runs");

  // the second one becomes the slow one
  writeFileSync(`${file}.next`, list([...urls.slice(0, 1), ...urls.slice(2)]));
  renameSync(`${file}.next`, file);
  hung.child.kill("SIGSTOP");
  await fault(halfDead, { fault: "error_status", status: 500 });
  const flap = setInterval(() => void fault(flapping, { fault: "refuse", seconds: 1 }).catch(() => undefined), 2_000);
  t.after(() => clearInterval(flap));
  let sinceMs = performance.now();
  await until(() => performance.now() - sinceMs > settleMs, "the router has had its time");
  let ratio = Number.POSITIVE_INFINITY;
  for (let i = 0; i < windows && ratio > mark; i++) {
    sinceMs = performance.now();
    await until(() => performance.now() - sinceMs > windowMs, "a window is over");
    const p99 = broken.load.quantile(0.99, sinceMs);
    const reference = healthy.load.quantile(0.99, sinceMs);
    const requests = served(broken, sinceMs, names);
    ratio = p99 / reference;
    const onSlow = requests.filter(({ engine }) => engine === "slow").length;
    process.stdout.write(
      `p99 ${reference.toFixed(1)} ms healthy, ${p99.toFixed(1)} ms with four broken (${ratio.toFixed(2)} times, mark ${mark}); ` +
        `${onSlow} of ${requests.length} requests on the slow one\n`,
    );
    if (ratio <= mark) break;
    for (const { tookMs, attempts, engine } of requests.slice(0, 12))
      process.stdout.write(`  ${tookMs.toFixed(0)} ms on the ${engine} one in ${attempts} attempts\n`);
  }
  clearInterval(flap);
  for (const { load } of [broken, healthy]) {
    await load.stop();
    assert.deepEqual(load.failures, []);
  }
  process.stdout.write(`${broken.load.ended} requests beside broken engines, none failed\n`);
  assert.ok(ratio <= mark, `in each window p99 was more than ${mark} times that of a healthy fleet`);
});
