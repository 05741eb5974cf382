// The console's files, in memory. A package that was built has them beside this file; in the repository they are bundled from
// `web/` when somebody asks for the first time, so that no generated file is kept and `npm start` needs no step before.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

export interface ConsoleFile {
  readonly type: string;
  readonly bytes: Buffer;
  readonly gzip: Buffer;
  readonly etag: string;
}

const built = new URL("assets/", import.meta.url);
const names = {
  "index.html": "text/html; charset=utf-8",
  "console.js": "text/javascript; charset=utf-8",
  "console.css": "text/css; charset=utf-8",
};

let files: Promise<ReadonlyMap<string, ConsoleFile>> | null = null;

/** By name; made once. */
export function consoleFiles(): Promise<ReadonlyMap<string, ConsoleFile>> {
  files ??= existsSync(built) ? Promise.resolve(read()) : bundle();
  return files;
}

function read(): ReadonlyMap<string, ConsoleFile> {
  return pack((name) => readFileSync(new URL(name, built)));
}

async function bundle(): Promise<ReadonlyMap<string, ConsoleFile>> {
  const { bundleConsole } = await import("./bundle.ts");
  const made = await bundleConsole();
  return pack((name) => made[name]);
}

function pack(content: (name: keyof typeof names) => Buffer): ReadonlyMap<string, ConsoleFile> {
  const entries = Object.entries(names) as [keyof typeof names, string][];
  return new Map(
    entries.map(([name, type]) => {
      const bytes = content(name);
      const etag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
      return [name, { type, bytes, gzip: gzipSync(bytes, { level: 9 }), etag }];
    }),
  );
}
