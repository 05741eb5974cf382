// The LoRA adapters that a server knows, and which of them have requests. Owned by the app; asked by every route that
// reads a model's name. It must keep label sets that were once current, since vLLM never drops them.

import type { LoraModule } from "../options.ts";

export interface Adapter extends LoraModule {
  /** From 1, in order of loading. */
  readonly id: number;
}

export class Adapters {
  readonly #loaded = new Map<string, Adapter>();
  readonly #ids = new Map<string, number>();
  readonly #waiting = new Map<string, number>();
  readonly #running = new Map<string, number>();
  /** Label sets of `lora_requests_info` and when each was last current, unix seconds. */
  readonly seen = new Map<string, number>();
  #used = false;

  constructor(modules: readonly LoraModule[]) {
    for (const module of modules) this.load(module);
  }

  list(): readonly Adapter[] {
    return [...this.#loaded.values()];
  }

  has(name: string): boolean {
    return this.#loaded.has(name);
  }

  find(name: string | null): Adapter | null {
    return (name === null ? undefined : this.#loaded.get(name)) ?? null;
  }

  idOf(name: string): number | null {
    return this.#ids.get(name) ?? null;
  }

  load(module: LoraModule): void {
    const id = this.#ids.get(module.name) ?? this.#ids.size + 1;
    this.#ids.set(module.name, id);
    this.#loaded.set(module.name, { ...module, id });
  }

  unload(name: string): boolean {
    return this.#loaded.delete(name);
  }

  /** A request's way through the engine: queued, computing, gone. */
  move(name: string, from: "waiting" | "running" | null, to: "waiting" | "running" | null): void {
    this.#used = true;
    if (from !== null) add(from === "waiting" ? this.#waiting : this.#running, name, -1);
    if (to !== null) add(to === "waiting" ? this.#waiting : this.#running, name, 1);
  }

  /** Called at the end of a step, as vLLM does; remembers the label set of the moment. */
  note(wallMs: number): void {
    if (!this.#used && this.#loaded.size === 0) return;
    const names = (counts: ReadonlyMap<string, number>): string => [...counts.keys()].join(",");
    const key = JSON.stringify([names(this.#running), names(this.#waiting)]);
    this.seen.set(key, wallMs / 1000);
  }
}

function add(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by;
  if (count > 0) counts.set(name, count);
  else counts.delete(name);
}
