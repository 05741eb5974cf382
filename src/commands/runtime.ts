// Settings of the JavaScript engine for a process that relays: to be made before it allocates much.
import v8 from "node:v8";
import type { Clock } from "../clock.ts";

/** Both halves of the young generation, where it stops growing. */
const youngBytes = 16 * 1024 * 1024;
const lookMs = 1_000;

/** How many times as large the young generation becomes when much of it survives: V8's own figure. */
const growth = 2;

/**
 * A relay's garbage is young, small and dead: collecting it takes one thread less time than waking the others up (2 us of CPU
 * a request, measured by `npm run bench:overhead`).
 *
 * And room for more of it buys nothing. V8 doubles the young generation again and again as requests pass, up to 64 MB and
 * more, for the same CPU time: memory that looks like a leak of a day. Its limit can only be given on the command line of
 * Node, but the growth can be ended at any time. And has to be allowed again: when little happens V8 makes it as small as it
 * was in the beginning, and a router that had to stay with that collected eight times as often, for a tenth of its CPU.
 */
export function tuneForRelay(clock: Clock): void {
  v8.setFlagsFromString("--no-parallel-scavenge");
  let grows = true;
  const look = (): void => {
    const young = v8.getHeapSpaceStatistics().find((space) => space.space_name === "new_space");
    const small = young !== undefined && young.space_size < youngBytes;
    if (small !== grows) v8.setFlagsFromString(`--semi-space-growth-factor=${small ? growth : 1}`);
    grows = small;
    clock.setTimer(lookMs, look);
  };
  look();
}
