// A machine made of stand-ins: the scripts of utils/ find on their PATH a few real tools and, for whatever would download or
// start something, a stand-in that writes down how it was called.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { TestContext } from "node:test";

import { root } from "../repo/imports.ts";

const realTools =
  "bash basename cat chmod cp cut dirname env false grep gzip head id install ln mkdir mktemp mv rm sed sha256sum shasum tar tr true uname".split(
    " ",
  );

export interface Run {
  readonly code: number | null;
  readonly output: string;
  readonly complaints: string;
}

export class Machine {
  readonly #folder: string;
  /** Where the scripts install to. */
  readonly bin: string;

  constructor(t: TestContext) {
    this.#folder = mkdtempSync(join(tmpdir(), "lmstack-machine-"));
    t.after(() => rmSync(this.#folder, { recursive: true, force: true }));
    this.bin = join(this.#folder, "bin");
    for (const part of ["real", "stand-ins", "bin", "served"]) mkdirSync(join(this.#folder, part));
    for (const name of realTools) {
      const found = (process.env["PATH"] ?? "").split(delimiter).find((path) => existsSync(join(path, name)));
      if (found !== undefined) symlinkSync(join(found, name), join(this.#folder, "real", name));
    }
    this.#standIn(
      "curl",
      `output= url=
while [ $# -gt 0 ]; do
  case $1 in --output) output=$2; shift ;; https://*) url=$1 ;; --proto | --retry) shift ;; esac
  shift
done
echo "curl $url" >>"$CALLS"
[ -e "$SERVED/\${url##*/}" ] || { echo "curl: 404" >&2; exit 22; }
cp "$SERVED/\${url##*/}" "$output"`,
    );
  }

  /** A program that writes down its arguments and then does what a piece of shell says. */
  has(name: string, then = ""): this {
    this.#standIn(name, `echo "${name} $*" >>"$CALLS"\n${then}`);
    return this;
  }

  /** What its makers would publish: a file, and the checksum beside it. */
  publishes(file: string, content: string | Buffer, checksum: { readonly name: string; readonly text?: string }): this {
    writeFileSync(join(this.#folder, "served", file), content);
    const sum = createHash("sha256").update(content).digest("hex");
    writeFileSync(join(this.#folder, "served", checksum.name), checksum.text ?? `${sum}\n`);
    return this;
  }

  /** A .tar.gz with one file in it. */
  archive(path: string, content: string): Buffer {
    const folder = mkdtempSync(join(this.#folder, "archive-"));
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), content, { mode: 0o755 });
    return spawnSync("tar", ["-czf", "-", "-C", folder, path], { encoding: "buffer" }).stdout;
  }

  run(script: string, ...args: readonly string[]): Run {
    const env = {
      PATH: ["bin", "stand-ins", "real"].map((part) => join(this.#folder, part)).join(delimiter),
      HOME: this.#folder,
      CALLS: join(this.#folder, "calls"),
      SERVED: join(this.#folder, "served"),
      INSTALL_DIR: this.bin,
    };
    const run = spawnSync("bash", [join(root, "utils", script), ...args], { encoding: "utf8", env });
    return { code: run.status, output: run.stdout, complaints: run.stderr };
  }

  /** How the stand-ins were called, in order; forgets them. */
  calls(): string[] {
    const file = join(this.#folder, "calls");
    const lines = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
    rmSync(file, { force: true });
    return lines;
  }

  installed(name: string): string | null {
    const path = join(this.bin, name);
    return existsSync(path) ? readFileSync(path, "utf8") : null;
  }

  #standIn(name: string, script: string): void {
    const path = join(this.#folder, "stand-ins", name);
    writeFileSync(path, `#!/usr/bin/env bash\n${script}\n`);
    chmodSync(path, 0o755);
  }
}
