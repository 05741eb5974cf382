// Key files, read at the start and again when they change. A file that can't be read any more, or holds no key, leaves the
// old keys in force: losing a mount must neither open the door nor lock everybody out.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Clock, Timer } from "../clock.ts";
import { KeySet, parseKeys } from "./keys.ts";

const pollMs = 5_000;

/** A file that is looked at every few seconds; `onChange` gets its text when that is new. */
export class PolledFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #onText: (text: string) => void;
  readonly #onProblem: (problem: string) => void;
  /** Of what was read last; the text itself, which may be keys, is not kept. */
  #digest = "";
  #problem: string | null = null;
  #timer: Timer | null = null;

  /** @throws the system's error when it can't be read now */
  constructor(path: string, clock: Clock, onText: (text: string) => void, onProblem: (problem: string) => void) {
    this.#path = path;
    this.#clock = clock;
    this.#onText = onText;
    this.#onProblem = onProblem;
    this.#take(readFileSync(path, "utf8"));
    this.#arm();
  }

  close(): void {
    this.#timer?.cancel();
  }

  #arm(): void {
    this.#timer = this.#clock.setTimer(pollMs, () => {
      this.#look();
      this.#arm();
    });
  }

  #take(text: string): void {
    const digest = createHash("sha256").update(text).digest("hex");
    if (digest === this.#digest) return;
    this.#digest = digest;
    this.#onText(text);
  }

  #look(): void {
    try {
      this.#take(readFileSync(this.#path, "utf8"));
      this.#problem = null;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem) this.#onProblem(`${problem}; what was read before stays in force`);
      this.#problem = problem;
    }
  }
}

/** The keys of the router: of clients, of administrators, and its own towards engines. */
export class Keys {
  readonly #files: PolledFile[] = [];
  #client: KeySet | null = null;
  #admin: KeySet | null = null;
  #engine: string | null = null;
  /** Grows with each change: what was decided by an older set of keys holds no more. */
  version = 0;

  /** @param paths null = not configured */
  constructor(
    paths: { readonly client: string | null; readonly admin: string | null; readonly engine: string | null },
    clock: Clock,
    onProblem: (problem: string) => void,
  ) {
    const watch = (path: string | null, take: (text: string) => void): void => {
      if (path === null) return;
      const takeKeys = (text: string): void => {
        if (parseKeys(text).length > 0) {
          take(text);
          this.version++;
        } else onProblem(`${path} holds no key; what was read before stays in force`);
      };
      this.#files.push(new PolledFile(path, clock, takeKeys, onProblem));
    };
    // configured and empty means that nobody has a key, not that nobody needs one
    if (paths.client !== null) this.#client = new KeySet("");
    if (paths.admin !== null) this.#admin = new KeySet("");
    watch(paths.client, (text) => (this.#client = new KeySet(text)));
    watch(paths.admin, (text) => (this.#admin = new KeySet(text)));
    watch(paths.engine, (text) => (this.#engine = parseKeys(text)[0] ?? null));
  }

  /** null = clients need none. */
  get client(): KeySet | null {
    return this.#client;
  }

  /** null = administration is open. */
  get admin(): KeySet | null {
    return this.#admin;
  }

  /** What the router says to engines; null = nothing. */
  get engine(): string | null {
    return this.#engine;
  }

  close(): void {
    for (const file of this.#files) file.close();
  }
}
