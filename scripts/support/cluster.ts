// A real Kubernetes for the full tier: the one that KUBECONFIG names, else one that the setup script beside the repository
// builds (once, some minutes) and starts on this machine, else none.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { root } from "./steps.ts";

const folder = join(root, "../shared/kube");
const upScript = join(folder, "kube-up.sh");

/** What stands in for the images that pods name. */
const images = join(root, "test/e2e/fixtures/kube-images.json");

export interface TestCluster {
  /** For the tests: KUBECONFIG, PATH with kubectl and helm, and KUBE_DIR where the cluster is ours to break. */
  readonly env: NodeJS.ProcessEnv;
  /** Ends the cluster, if it is ours. Synchronous: also called from signal handlers. */
  stop(): void;
}

/** What is being waited for, so that a signal can end it. */
let running: ChildProcess | null = null;
let started: { readonly stop: () => void } | null = null;

/** Ends a build or a start that is under way. */
export function abandonCluster(): void {
  running?.kill("SIGTERM");
  running = null;
  started?.stop();
  started = null;
}

/**
 * @returns null where there is no way to get one
 * @throws Error when the setup script failed
 */
export async function startCluster(): Promise<TestCluster | null> {
  if ((process.env["KUBECONFIG"] ?? "") !== "") return { env: {}, stop: () => undefined };
  if (!existsSync(upScript) || process.platform !== "linux" || process.getuid?.() !== 0) return null;
  const cache = process.env["LMSTACK_CACHE"];
  const base = {
    ...process.env,
    ...(cache === undefined || process.env["KUBE_CACHE"] !== undefined ? {} : { KUBE_CACHE: join(cache, "kube") }),
  };
  process.stdout.write("Kubernetes: building unless it is built\n");
  // one build at a time: scripts/e2e-tools.sh may still be at it. -o: what is started must not inherit the lock
  await run("flock", ["-o", upScript, "bash", upScript], { ...base, KUBE_BUILD_ONLY: "1" });
  const instance = process.env["KUBE_INSTANCE"] ?? (await freeInstance());
  const dir = join(tmpdir(), `lmstack-e2e-kube-${instance}`);
  const own = { ...base, KUBE_INSTANCE: instance, KUBE_DIR: dir, KUBE_IMAGES: images };
  const stop = (): void => {
    started = null;
    spawnSync("bash", [join(folder, "kube-down.sh")], { env: own, stdio: "inherit" });
  };
  // what an interrupted run left would be another cluster than the one that is meant
  stop();
  process.stdout.write(`Kubernetes: starting in ${dir}\n`);
  started = { stop };
  try {
    await run("bash", [upScript], own);
  } catch (error) {
    stop();
    throw error;
  }
  return { env: { ...readExports(join(dir, "env"), own), KUBE_UP: upScript }, stop };
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"], env });
    running = child;
    child.on("error", reject);
    child.on("exit", (code) => {
      running = null;
      if (code === 0) resolve();
      else reject(new Error(`Kubernetes: ${upScript} failed; its words are above`));
    });
  });
}

/** Several clusters can run on one machine: the first number, from above, whose API server's port nobody listens on. */
async function freeInstance(): Promise<string> {
  for (let instance = 9; instance > 0; instance--) {
    if (!(await listens(26_043 + 100 * instance))) return String(instance);
  }
  return "0";
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** The variables of a shell file of `export NAME=VALUE ...` lines. */
function readExports(path: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const exported: NodeJS.ProcessEnv = {};
  for (const [, name = "", value = ""] of readFileSync(path, "utf8").matchAll(/([A-Z_]+)=(\S*)/g)) {
    exported[name] = value.replace("$PATH", env["PATH"] ?? "");
  }
  return exported;
}
