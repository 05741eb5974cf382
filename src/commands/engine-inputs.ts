// What the options of `lmstack engine` name: a script, adapters, faults, KV events, a tokenizer. Read before anything is
// started, so that a mistake is one line. It must end every mistake as a UsageError that says what to give.

import { diskFiles, readText } from "../config/files.ts";
import type { Files } from "../config/files.ts";
import { loadModelTokenizer, parseFaultHeader, parseKvEventsConfig, parseKvTransferConfig } from "../engine/serve.ts";
import type { EngineOptions, Fault, LoraModule, ScriptLine } from "../engine/serve.ts";
import { UsageError } from "../errors/usage-error.ts";

/** A list of `{"pattern", "answer", "tool"?}`. */
export function readScript(path: string, files: Files = diskFiles): ScriptLine[] {
  const result = readText(files, path);
  const wrong = (reason: string): UsageError =>
    new UsageError(`--script ${path}: ${reason}; give a JSON list of {"pattern": "...", "answer": "..."}`);
  if ("reason" in result) throw wrong(result.reason);
  let value: unknown;
  try {
    value = JSON.parse(result.text);
  } catch (error) {
    throw wrong(`not JSON: ${messageOf(error)}`);
  }
  if (!Array.isArray(value)) throw wrong("not a list");
  return value.map((entry: unknown, at) => {
    const line = (typeof entry === "object" && entry !== null ? entry : {}) as Readonly<Record<string, unknown>>;
    const { pattern, answer, tool } = line;
    if (typeof pattern !== "string" || typeof answer !== "string") {
      throw wrong(`entry ${at + 1} has no pattern or no answer`);
    }
    if (tool !== undefined && typeof tool !== "string") throw wrong(`entry ${at + 1}: tool is no name`);
    try {
      return { pattern: new RegExp(pattern, "s"), answer, tool: tool ?? null };
    } catch (error) {
      throw wrong(`entry ${at + 1}: ${messageOf(error)}`);
    }
  });
}

export function readAdapters(entries: readonly string[]): LoraModule[] {
  return entries.map((entry) => {
    const at = entry.indexOf("=");
    if (at <= 0 || at === entry.length - 1) {
      throw new UsageError(`--lora-modules ${entry}: not understood; give an adapter as name=path`);
    }
    return { name: entry.slice(0, at), path: entry.slice(at + 1) };
  });
}

export function readFaults(entries: readonly string[]): Fault[] {
  return entries.map((entry) => {
    const fault = parseFaultHeader(entry);
    if (fault !== null) return fault;
    throw new UsageError(`--fault ${entry}: not understood; give a name of docs/engine.md, as in error_status:503`);
  });
}

export function readKvEvents(text: string): NonNullable<EngineOptions["kvEvents"]> {
  try {
    return parseKvEventsConfig(text);
  } catch (error) {
    throw new UsageError(`--kv-events-config: ${messageOf(error)}; give vLLM's JSON`);
  }
}

export function readKvTransfer(text: string): NonNullable<EngineOptions["kvTransfer"]> {
  try {
    return parseKvTransferConfig(text);
  } catch (error) {
    throw new UsageError(`--kv-transfer-config: ${messageOf(error)}; give vLLM's JSON`);
  }
}

export async function readTokenizer(folder: string): Promise<NonNullable<EngineOptions["vocabulary"]>> {
  try {
    return await loadModelTokenizer(folder);
  } catch (error) {
    throw new UsageError(`--tokenizer ${folder}: ${messageOf(error)}`);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
