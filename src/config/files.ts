// Reading the files that the configuration names, with reasons that a person understands. The only part of `config` that
// touches the disk besides the watcher; handed in, so that tests need no files.

import { readFileSync } from "node:fs";

export interface Files {
  /** Contents as UTF-8; throws what `readFileSync` throws. */
  read(path: string): string;
}

export const diskFiles: Files = { read: (path) => readFileSync(path, "utf8") };

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  ENOTDIR: "no such file",
  EACCES: "permission to read it is denied",
  EPERM: "permission to read it is denied",
  EISDIR: "a directory, not a file",
};

export type ReadResult = { readonly text: string } | { readonly reason: string };

export function readText(files: Files, path: string): ReadResult {
  try {
    return { text: files.read(path) };
  } catch (error) {
    return { reason: readFailure(error) };
  }
}

/** Why a file could not be read, in words. */
export function readFailure(error: unknown): string {
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
  return reasons[code] ?? (error instanceof Error ? error.message : String(error));
}
