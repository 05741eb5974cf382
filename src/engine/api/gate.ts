// Pause and sleep: whether the engine takes work. Between the generating routes, which submit through it, and the dev-mode
// routes, which open and shut it. Work that waits here is in no queue, so vLLM's gauges do not show it; nor may ours.

export type PauseMode = "abort" | "wait" | "keep";

export class Gate {
  paused = false;
  /** 0 awake, 1 weights offloaded, 2 everything discarded. */
  sleepLevel = 0;
  #held: (() => void)[] = [];

  /** Runs `submit` now, or when the gate opens. */
  pass(submit: () => void): void {
    if (this.paused || this.sleepLevel > 0) this.#held.push(submit);
    else submit();
  }

  /** Lets everything in that waited, if nothing keeps it shut any more. */
  release(): void {
    if (this.paused || this.sleepLevel > 0) return;
    const held = this.#held;
    this.#held = [];
    for (const submit of held) submit();
  }
}
