// A real vLLM for the full tier: the one that LMSTACK_TEST_VLLM_URL names, else one that the setup script beside the
// repository installs and starts, else none.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";

import { root } from "./steps.ts";

const setupScript = join(root, "../shared/vllm-contract/setup-vllm.sh");

/** A server to start. */
export interface VllmServer {
  /** `smollm2` talks sense, slowly; `tiny` has random weights. Both are served as `tiny` and `tiny-alias`. */
  readonly model: "smollm2" | "tiny";
  readonly flags: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** What the tests look at beyond the defaults: cached tokens, `/load`, and tools. */
const shared: VllmServer = {
  model: "smollm2",
  flags: [
    "--enable-prompt-tokens-details",
    "--enable-server-load-tracking",
    "--enable-auto-tool-choice",
    "--tool-call-parser=hermes",
  ],
};

export interface TestVllm {
  readonly url: string;
  /** Its model, with tokenizer and chat template; null where somebody else started it. */
  readonly modelFolder: string | null;
  /** Ends the server, if it is ours. Synchronous: also called from signal handlers. */
  stop(): void;
}

/** What is being waited for, so that a signal can end it. */
let running: { readonly child: ChildProcess; readonly stop: (() => void) | null } | null = null;

/** Ends an installation or a start that is under way. */
export function abandonVllm(): void {
  running?.child.kill("SIGTERM");
  running?.stop?.();
  running = null;
}

/**
 * The server that most suites share.
 * @returns null where there is no way to get one
 * @throws Error when the setup script failed
 */
export async function startVllm(): Promise<TestVllm | null> {
  const given = process.env["LMSTACK_TEST_VLLM_URL"] ?? "";
  return given === "" ? startOwnVllm(shared) : { url: given, modelFolder: null, stop: () => undefined };
}

/**
 * A server with flags of the caller's.
 * @returns null where the setup script is not
 * @throws Error when it failed
 */
export async function startOwnVllm(server: VllmServer): Promise<TestVllm | null> {
  if (!existsSync(setupScript)) return null;
  const folder = join(process.env["LMSTACK_CACHE"] ?? join(homedir(), ".cache/lmstack"), "vllm");
  process.stdout.write(`vLLM: installing into ${folder} unless it is there\n`);
  await setup(server, ["install-real", folder], null);
  const port = await freePort();
  const stop = (): void => {
    spawnSync("bash", [setupScript, "stop", folder, String(port)], { stdio: "inherit" });
  };
  process.stdout.write("vLLM: starting\n");
  await setup(server, ["start", folder, String(port), ...server.flags], stop);
  return { url: `http://127.0.0.1:${port}`, modelFolder: join(folder, "model", server.model), stop };
}

/** @param stop ends what a start that fails or is abandoned leaves behind */
function setup(server: VllmServer, args: readonly string[], stop: (() => void) | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...server.env, MODEL: server.model };
    const child = spawn("bash", [setupScript, ...args], { stdio: ["ignore", "inherit", "inherit"], env });
    running = { child, stop };
    child.on("error", reject);
    child.on("exit", (code) => {
      running = null;
      if (code === 0) resolve();
      else {
        stop?.();
        reject(new Error(`vLLM: ${args[0]} failed; its words are above`));
      }
    });
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
