// Keeps an eye on the dynamic configuration file and hands on what it says, as a whole or not at all. Stands beside the
// request path: `commands/router.ts` swaps what it is given. It must never hand on a half-written or half-valid file,
// and never end the process because of one.

import { createHash } from "node:crypto";
import { watch, type FSWatcher } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";

import type { Clock, Timer } from "../clock.ts";
import { DynamicFileError, readDynamicFile } from "./dynamic-file.ts";
import { readFailure } from "./files.ts";
import type { FileFormat } from "./located.ts";
import type { DynamicConfig } from "./types.ts";

export interface WatchOptions {
  readonly path: string;
  readonly format: FileFormat;
  readonly clock: Clock;
  /** Called once with what the file says at the start, then after each change that is valid. */
  readonly onChange: (config: DynamicConfig, revision: string) => void;
  /** Called once per change that can't be used; what was handed on before stays in force. */
  readonly onRejected: (error: Error) => void;
}

export interface DynamicFileWatcher {
  /** First 12 hex digits of the SHA-256 of the contents in force; `null` before the first. */
  readonly revision: string | null;
  /** Looks at the file now; resolves when what it says has been handed on. */
  check(): Promise<void>;
  close(): void;
}

/** Kubernetes swaps ConfigMaps within seconds; network file systems send no events at all. */
const pollMs = 10_000;
/** An editor truncates, then writes: what stands there in between could even be valid. */
const settleMs = 50;

export function revisionOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

export function watchDynamicFile(options: WatchOptions): DynamicFileWatcher {
  return new Watcher(options);
}

class Watcher implements DynamicFileWatcher {
  revision: string | null = null;
  readonly #options: WatchOptions;
  #directory: FSWatcher | null = null;
  #poll: Timer | null = null;
  #settle: Timer | null = null;
  /** Contents or failure looked at last: the same again is no news. */
  #seen: string | null = null;
  #running: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#watchDirectory();
    this.#schedulePoll();
    void this.check();
  }

  check(): Promise<void> {
    // One look after the other: two reads that overtake each other could put the older contents in force.
    this.#running = this.#running.then(() => this.#look());
    return this.#running;
  }

  close(): void {
    this.#closed = true;
    this.#directory?.close();
    this.#poll?.cancel();
    this.#settle?.cancel();
  }

  /** The folder and not the file: a ConfigMap is swapped by renaming a symbolic link, an editor renames a new file. */
  #watchDirectory(): void {
    try {
      this.#directory = watch(dirname(this.#options.path), { persistent: false }, () => this.#touched());
      this.#directory.on("error", () => this.#dropWatch());
    } catch {
      // No such folder, or no watches left in the kernel: the poll below sees changes, only later.
      this.#directory = null;
    }
  }

  #dropWatch(): void {
    this.#directory?.close();
    this.#directory = null;
  }

  #touched(): void {
    this.#settle?.cancel();
    this.#settle = this.#options.clock.setTimer(settleMs, () => void this.check());
  }

  #schedulePoll(): void {
    this.#poll = this.#options.clock.setTimer(pollMs, () => {
      if (this.#directory === null) this.#watchDirectory();
      void this.check();
      this.#schedulePoll();
    });
  }

  async #look(): Promise<void> {
    if (this.#closed) return;
    const { path, format } = this.#options;
    let text: string;
    try {
      text = await readFile(path, "utf8");
    } catch (error) {
      const reason = readFailure(error);
      this.#reject(`unreadable: ${reason}`, new Error(`${path}: ${reason}; the configuration in force stays`));
      return;
    }
    if (this.#closed || this.#seen === `contents: ${text}`) return;
    let config: DynamicConfig;
    try {
      config = readDynamicFile(text, format, path);
    } catch (error) {
      if (!(error instanceof DynamicFileError)) throw error;
      this.#reject(`contents: ${text}`, error);
      return;
    }
    this.#seen = `contents: ${text}`;
    const revision = revisionOf(text);
    try {
      this.#options.onChange(config, revision);
      this.revision = revision;
    } catch (error) {
      // Whoever swaps it in could not: to be told like any other rejection, not to end the process.
      this.#options.onRejected(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #reject(seen: string, error: Error): void {
    if (this.#closed || this.#seen === seen) return;
    this.#seen = seen;
    this.#options.onRejected(error);
  }
}
