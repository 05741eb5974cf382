// What a test of the full tier needs from the machine. Where it is missing the test is skipped, and says so; under CI=true
// that is a failure, since a suite that quietly stopped running protects nobody. LMSTACK_E2E_WITHOUT names what a CI does
// without on purpose (`vllm`, `kubernetes`, or a tool's name, with commas between).
import { accessSync, constants, existsSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import type { TestContext } from "node:test";

import { startOwnVllm, type VllmServer } from "../../scripts/support/vllm.ts";

/** Programs that do the same under another name. */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  chromium: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
};

function missing(t: TestContext, what: string, wayOut: string): null {
  const message = `${what} is missing: ${wayOut}`;
  const without = (process.env["LMSTACK_E2E_WITHOUT"] ?? "").split(",").map((name) => name.trim());
  if (process.env["CI"] === "true" && !without.includes(what)) throw new Error(message);
  t.skip(message);
  return null;
}

/**
 * Origin of a real vLLM that serves the model `tiny`.
 * @returns null when the test was skipped: return at once
 * @throws Error under CI=true where there is none
 */
export function requireVllm(t: TestContext): string | null {
  const url = process.env["LMSTACK_TEST_VLLM_URL"] ?? "";
  if (url !== "") return url.replace(/\/$/, "");
  return missing(
    t,
    "vllm",
    "set LMSTACK_TEST_VLLM_URL (and name the test's file *vllm*.test.ts, so that it runs while one is up)",
  );
}

export interface OwnVllm {
  readonly origin: string;
  /** Its model, with tokenizer and chat template. */
  readonly modelFolder: string;
}

/**
 * A real vLLM with flags of the test's own, until its end.
 * @returns null when the test was skipped: return at once
 * @throws Error under CI=true where there is no vLLM at all
 */
export async function requireOwnVllm(t: TestContext, server: VllmServer): Promise<OwnVllm | null> {
  const started = await startOwnVllm(server);
  if (started !== null) {
    const stop = (): void => started.stop();
    process.once("exit", stop);
    process.once("SIGTERM", () => process.exit(143));
    t.after(() => {
      process.off("exit", stop);
      stop();
    });
    return { origin: started.url, modelFolder: started.modelFolder ?? "" };
  }
  if ((process.env["LMSTACK_TEST_VLLM_URL"] ?? "") === "")
    return missing(t, "vllm", "this suite starts servers with flags of its own, by a script beside the repository");
  t.skip("needs servers with flags of its own, and no script to start them is at hand");
  return null;
}

/**
 * Asks for a cluster: KUBECONFIG, with kubectl on the PATH. Name the test's file *kubernetes*.test.ts, so that it runs
 * while one is up.
 * @returns false when the test was skipped: return at once
 * @throws Error under CI=true where there is none
 */
export function requireCluster(t: TestContext): boolean {
  if ((process.env["KUBECONFIG"] ?? "") !== "") return true;
  missing(t, "kubernetes", "npm run e2e starts one where its setup script is at hand (as root); or set KUBECONFIG");
  return false;
}

/**
 * Path of a program.
 * @returns null when the test was skipped: return at once
 * @throws Error under CI=true where there is none
 */
export function requireTool(t: TestContext, name: string): string | null {
  return findTool(name) ?? missing(t, name, "bash scripts/e2e-tools.sh installs it");
}

/**
 * Folder with the definitions (CRDs) of kinds that the chart makes and the API server does not bring.
 * @returns null when the test was skipped: return at once
 * @throws Error under CI=true where there is none
 */
export function requireDefinitions(t: TestContext): string | null {
  const folder = join(toolsFolder(), "../crds");
  if (existsSync(join(folder, "list"))) return folder;
  return missing(t, "crds", "bash scripts/e2e-tools.sh fetches them where go is installed");
}

/** Path of a program, under any of its names; null = not installed. */
export function findTool(name: string): string | null {
  // Debian keeps servers where the PATH of a plain user does not look
  const path = (process.env["PATH"] ?? "").split(delimiter);
  const folders = [...path, "/usr/sbin", "/usr/local/sbin", toolsFolder()];
  for (const candidate of otherNames[name] ?? [name]) {
    for (const folder of folders) {
      const found = join(folder, candidate);
      if (isExecutable(found)) return found;
    }
  }
  return null;
}

/** Where scripts/e2e-tools.sh keeps what no package of the system brings. */
function toolsFolder(): string {
  const { LMSTACK_CACHE: own, XDG_CACHE_HOME: cache } = process.env;
  return join(own ?? join(cache ?? join(homedir(), ".cache"), "lmstack"), "bin");
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
