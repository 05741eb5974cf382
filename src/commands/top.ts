// `lmstack top URL`: the console's fleet in a terminal, drawn in place once a second; a plain table for each look elsewhere.
import { readFileSync } from "node:fs";
import type { TopOptions } from "../config/types.ts";
import type { Snapshot } from "../console/shapes.ts";
import { UsageError } from "../errors/usage-error.ts";
import { Terminal } from "./up/terminal.ts";
import { renderTop } from "./top/view.ts";

/**
 * Shows the fleet until Ctrl-C or the end of the router; with `--once` a single look.
 * @returns exit code: 0, or 1 when the router ended the stream
 * @throws UsageError when there is no console at the URL, or it wants another key
 */
export async function runTop(options: TopOptions, out: NodeJS.WriteStream = process.stdout): Promise<number> {
  const stop = new AbortController();
  const end = (): void => stop.abort();
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  const response = await open(options, stop.signal);
  const terminal = out.isTTY && !options.once ? new Terminal(out) : null;
  try {
    for await (const snapshot of snapshots(response)) {
      const lines = renderTop(snapshot, {
        columns: terminal?.columns ?? 200,
        rows: terminal?.rows ?? Infinity,
        color: terminal !== null,
      });
      if (terminal === null) out.write(`${lines.join("\n")}\n`);
      else terminal.draw(lines);
      if (options.once) return 0;
    }
  } catch (error) {
    if (stop.signal.aborted) return 0;
    throw new Error(`${options.url}: the stream broke: ${reasonOf(error)}`, { cause: error });
  } finally {
    stop.abort();
    terminal?.release();
    process.off("SIGINT", end);
    process.off("SIGTERM", end);
  }
  if (stop.signal.aborted) return 0;
  process.stderr.write("lmstack: the router has ended the stream\n");
  return 1;
}

async function open({ url, keyFile }: TopOptions, signal: AbortSignal): Promise<Response> {
  const key = keyFile === null ? null : readKey(keyFile);
  const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };
  const address = new URL("console/events", url.endsWith("/") ? url : `${url}/`);
  const response = await fetch(address, { headers, signal }).catch((error: unknown) => {
    throw new UsageError(`top ${url}: nobody answers: ${reasonOf(error)}; give the URL of a running router`);
  });
  if (response.ok) return response;
  await response.body?.cancel();
  switch (response.status) {
    case 401:
      throw new UsageError(
        `top ${url}: ${key === null ? "a key is needed" : "the key is not known there"}; give --key-file with a key of the router's --admin-key-file`,
      );
    case 404:
      throw new UsageError(`top ${url}: there is no console; start the router with --console and --admin-key-file`);
    default:
      throw new UsageError(`top ${url}: status ${response.status}; give the URL of a running router`);
  }
}

function readKey(path: string): string {
  try {
    return readFileSync(path, "utf8").trim().split("\n")[0] ?? "";
  } catch (error) {
    throw new UsageError(`--key-file ${path}: ${reasonOf(error)}; give a file with the key in its first line`);
  }
}

async function* snapshots(response: Response): AsyncGenerator<Snapshot> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  let text = "";
  const body: AsyncIterable<Uint8Array> = response.body;
  for await (const bytes of body) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
      text = text.slice(end + 2);
      if (data !== undefined) yield JSON.parse(data) as Snapshot;
    }
  }
}

/** fetch hides the system's words behind its own. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}
