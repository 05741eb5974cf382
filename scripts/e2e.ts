// `npm run e2e`: the full tier, one file at a time. Files named *vllm* run first, against a real vLLM that is started for
// them and stopped before the others, so that it takes no CPU from those that measure time. Files named *kubernetes* run
// last, against a cluster that is started once for all of them.
//
//   npm run e2e -- --only test/e2e/browser.test.ts    these alone
//   LMSTACK_TEST_VLLM_URL=http://host:8000            a vLLM that serves a model as `tiny`, instead of starting one
//   KUBECONFIG=FILE                                   a cluster to test in, instead of starting one
//   LMSTACK_CACHE=DIR                                 where vLLM and Kubernetes are kept; ~/.cache/lmstack
import { constants } from "node:os";

import { abandonCluster, startCluster, type TestCluster } from "./support/cluster.ts";
import { runTests, testArguments, testFiles, type TestRun } from "./support/node-test.ts";
import { runSteps, type Step } from "./support/steps.ts";
import { abandonVllm, startVllm, type TestVllm } from "./support/vllm.ts";

/** Longest that one test may take: a real vLLM is several times slower on a processor without AVX-512. */
const testTimeoutMs = 1_200_000;

/** The packages of test/e2e are installed only for this tier, so its files are checked here and not in the fast one. */
const steps: readonly Step[] = [
  {
    name: "types",
    command: "tsc",
    args: ["--noEmit", "-p", "test/e2e"],
    hint: "bash scripts/e2e-tools.sh installs the packages",
  },
  { name: "lint", command: "oxlint", args: ["--type-aware", "--format=unix", "--deny-warnings", "test/e2e"] },
];

let tests: TestRun | null = null;
let vllm: TestVllm | null = null;
let cluster: TestCluster | null = null;

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    tests?.child.kill(signal);
    abandonVllm();
    vllm?.stop();
    abandonCluster();
    // nothing that still runs may hold it
    process.exit(128 + constants.signals[signal]);
  });
}

const { only, rest } = testArguments(process.argv.slice(2));
const options = ["--test-concurrency=1", `--test-timeout=${testTimeoutMs}`, ...rest];

async function run(files: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<boolean> {
  if (files.length === 0) return true;
  tests = runTests(files, options, env);
  const code = await tests.done;
  tests = null;
  return code === 0;
}

async function withVllm(files: readonly string[]): Promise<boolean> {
  if (files.length === 0) return true;
  try {
    vllm = await startVllm();
  } catch (error) {
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return false;
  }
  if (vllm === null) process.stdout.write("vLLM: none; set LMSTACK_TEST_VLLM_URL to test against one\n");
  try {
    return await run(files, vllm === null ? {} : { LMSTACK_TEST_VLLM_URL: vllm.url });
  } finally {
    vllm?.stop();
    vllm = null;
  }
}

async function withCluster(files: readonly string[]): Promise<boolean> {
  if (files.length === 0) return true;
  try {
    cluster = await startCluster();
  } catch (error) {
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return false;
  }
  if (cluster === null) process.stdout.write("Kubernetes: none; set KUBECONFIG to test in a cluster\n");
  try {
    return await run(files, cluster === null ? {} : cluster.env);
  } finally {
    cluster?.stop();
    cluster = null;
  }
}

const files = testFiles("test/e2e/**/*.test.ts", ["test/e2e/node_modules/"], only);
const needVllm = files.filter((file) => file.includes("vllm"));
const needCluster = files.filter((file) => file.includes("kubernetes"));
const others = files.filter((file) => !needVllm.includes(file) && !needCluster.includes(file));
if (files.length === 0)
  process.stdout.write(`no test of the full tier${only.length === 0 ? "" : ` in ${only.join(" ")}`}\n`);

const failed = await runSteps(steps, 1);
const good = [await withVllm(needVllm), await run(others), await withCluster(needCluster)];
process.exitCode = failed.length === 0 && files.length > 0 && good.every(Boolean) ? 0 : 1;
