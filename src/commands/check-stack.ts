// `lmstack check URL`: asks a running router what it knows of its engines and says what is wrong, with the way out. Exit code 0
// when all is well, else 1. It only reads.

import { diskFiles, readText } from "../config/files.ts";
import { UsageError } from "../errors/usage-error.ts";

interface EngineEntry {
  readonly engine_id: string;
  readonly serving_models: readonly string[];
  readonly state: string;
  readonly problem?: string;
  /** Only under `kvaware`. */
  readonly kv_events?: { readonly state: string; readonly detail: string; readonly blocks: number };
}

const timeoutMs = 10_000;

/**
 * @param keyFile file with the router's admin key, or null
 * @throws UsageError when the file can't be read
 */
export function runCheckStack(url: string, keyFile: string | null): Promise<number> {
  if (keyFile === null) return checkStack(url, null);
  const result = readText(diskFiles, keyFile);
  if (!("text" in result)) throw new UsageError(`--admin-key-file ${keyFile}: ${result.reason}; give a readable file`);
  const key = result.text.split("\n").find((line) => line.trim() !== "" && !line.trim().startsWith("#"));
  if (key === undefined) throw new UsageError(`--admin-key-file ${keyFile}: holds no key; write one key a line`);
  return checkStack(url, key.trim());
}

/** @param key of the router's admin paths, or null */
export async function checkStack(
  url: string,
  key: string | null,
  write: (text: string) => void = (text) => process.stdout.write(text),
): Promise<number> {
  const lines: string[] = [];
  let good = true;
  const say = (ok: boolean, text: string): void => {
    good &&= ok;
    lines.push(`${ok ? "ok     " : "WRONG  "}${text}`);
  };
  const origin = url.replace(/\/+$/, "");
  try {
    const ready = await get(`${origin}/ready`, null);
    say(ready.status === 200, ready.status === 200 ? "the router is ready" : `the router is not ready: ${ready.text}`);
    const engines = await get(`${origin}/engines`, key);
    if (engines.status === 401) say(false, "/engines asks for a key: give the router's with --admin-key-file FILE");
    else if (engines.status !== 200) say(false, `/engines answered ${engines.status}: is that an lmstack router?`);
    else for (const engine of JSON.parse(engines.text) as readonly EngineEntry[]) sayEngine(engine, say);
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    say(false, `${origin} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  write(`${lines.join("\n")}\n`);
  return good ? 0 : 1;
}

function sayEngine(
  { engine_id: id, state, serving_models: models, problem, kv_events: events }: EngineEntry,
  say: Say,
): void {
  const served = models.length === 0 ? "no model" : models.join(", ");
  say(state === "ready", `${id} ${state}: ${served}${problem === undefined ? "" : `; ${problem}`}`);
  if (events === undefined) return;
  const text = `${id} KV events ${events.state}: ${events.detail}`;
  if (events.state === "exact") say(true, `${text}, ${events.blocks} blocks`);
  // what was asked for is no fault
  else say(events.state === "off", `${text}; its prompts are judged by what was sent there`);
}

type Say = (ok: boolean, text: string) => void;

async function get(url: string, key: string | null): Promise<{ status: number; text: string }> {
  const headers = key === null ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(timeoutMs) });
  return { status: response.status, text: (await response.text()).slice(0, 16 * 1024 * 1024) };
}
