// `lmstack up` as a person starts it, with engines of a small cache, for Prometheus to scrape and for faults to be put into.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanEnvironment, cli, Command } from "../../commands/process.ts";
import type { Owner } from "./prometheus.ts";

/** First tokens after some 100 ms, far above what a busy machine adds to them, and so few KV blocks that a busy engine has to throw requests out. */
const preset = { b0Us: 15_000, b1Us: 500, b2Us: 100, kvBlocks: 160 };

export interface Stack {
  readonly url: string;
  readonly model: string;
  readonly engines: readonly string[];
}

export async function startUp(owner: Owner, engines: number, flags: readonly string[] = []): Promise<Stack> {
  const folder = mkdtempSync(join(tmpdir(), "lmstack-up-"));
  owner.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "preset.json");
  writeFileSync(file, JSON.stringify(preset));
  const args = ["up", "--port", "0", "--engines", String(engines), "--preset", file, "--no-log-routing-line", ...flags];
  const child = spawn(process.execPath, [cli, ...args], { stdio: ["ignore", "pipe", "pipe"], env: cleanEnvironment });
  const command = new Command(child);
  owner.after(async () => {
    child.kill("SIGINT");
    await command.exit();
  });
  const [, shown = ""] = await command.says(new RegExp(`all ${engines} engines are up: (http:\\S+) answers`));
  const url = shown.replace("localhost", "127.0.0.1");
  const listed = (await (await fetch(`${url}/engines`)).json()) as readonly { readonly url: string }[];
  return { url, model: "facebook/opt-125m", engines: listed.map((engine) => engine.url) };
}

/** Puts a fault into an engine; null takes all of them out. */
export async function setFault(engine: string, fault: object | null): Promise<void> {
  const response = await fetch(`${engine}/sim/faults`, {
    method: fault === null ? "DELETE" : "POST",
    // a connection of its own: the engine may close an idle one at any moment
    headers: { "content-type": "application/json", connection: "close" },
    ...(fault === null ? {} : { body: JSON.stringify(fault) }),
  });
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`${engine} refused the fault with ${response.status}`);
}
