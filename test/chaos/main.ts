// `npm run chaos`: many seeds, several at a time, each in a process of its own.
//
//   npm run chaos -- --seeds 40 --seconds 5 --parallel 4     seeds 1 to 40
//   npm run chaos -- --seed 17 --seconds 5                   this one again
//   npm run chaos -- --only 41,52,94 --seconds 20            these
//
// A seed repeats what is done, not when the machine does it. So nothing here may be judged by the clock: a violation is one on
// a busy machine too. What takes as long as the machine likes (the reference's answers) is done before anybody waits for it.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runChaos, type ChaosReport } from "./run.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "40" },
    first: { type: "string", default: "1" },
    seed: { type: "string" },
    seconds: { type: "string", default: "5" },
    parallel: { type: "string", default: "4" },
    only: { type: "string" },
    child: { type: "boolean", default: false },
  },
});

function whole(name: "seeds" | "first" | "seed" | "seconds" | "parallel" | "only", text = values[name]): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  process.stderr.write(`chaos: --${name} ${text} is no number above 0\n`);
  process.exitCode = 2;
  return 0;
}

const seconds = whole("seconds");

function runSeed(seed: number): Promise<ChaosReport> {
  return new Promise((resolve) => {
    const program = fileURLToPath(import.meta.url);
    const child = fork(program, ["--child", "--seed", String(seed), "--seconds", String(seconds)], { silent: true });
    let report: ChaosReport | null = null;
    let words = "";
    child.stdout?.on("data", (data: Buffer) => (words += data.toString()));
    child.stderr?.on("data", (data: Buffer) => (words += data.toString()));
    child.on("message", (message) => {
      report = message as ChaosReport;
    });
    // a run that ends by itself takes its time, the recovery and the last looks for leaks
    const timer = setTimeout(() => child.kill("SIGKILL"), (seconds + 120) * 1000);
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      const died = `the process ended with ${code ?? signal}: ${words.slice(-2000)}`;
      const none = { seed, requests: 0, outcomes: {}, recoveryMs: 0, violations: [died] };
      resolve(report !== null && code === 0 ? report : (report ?? none));
    });
  });
}

function tell({ seed, requests, outcomes, recoveryMs, violations }: ChaosReport): void {
  const list = Object.entries(outcomes)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`);
  const verdict = violations.length === 0 ? "ok    " : "FAILED";
  process.stdout.write(
    `${verdict} seed ${seed}: ${requests} requests (${list.join(", ")}), well after ${Math.round(recoveryMs)} ms\n`,
  );
  for (const violation of violations) process.stdout.write(`       ${violation}\n`);
}

if (values.child) {
  const report = await runChaos(whole("seed"), seconds);
  process.send?.(report, () => process.disconnect());
} else {
  const waiting = wantedSeeds();
  const parallel = whole("parallel");
  if (process.exitCode === undefined) await runAll(waiting, parallel);
}

function wantedSeeds(): number[] {
  if (values.only !== undefined) return values.only.split(",").map((text) => whole("only", text));
  if (values.seed !== undefined) return [whole("seed")];
  const first = whole("first");
  return Array.from({ length: whole("seeds") }, (_, i) => first + i);
}

async function runAll(waiting: number[], parallel: number): Promise<void> {
  const count = waiting.length;
  const failed: number[] = [];
  let requests = 0;
  const worker = async (): Promise<void> => {
    for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift()) {
      const report = await runSeed(seed);
      requests += report.requests;
      tell(report);
      if (report.violations.length > 0) failed.push(seed);
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  const verdict =
    failed.length === 0 ? "no violation" : `violations with the seeds ${failed.sort((a, b) => a - b).join(", ")}`;
  process.stdout.write(`${count} seeds of ${seconds} s, ${requests} requests: ${verdict}\n`);
  if (failed.length > 0) process.exitCode = 1;
}
