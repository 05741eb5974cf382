// `npm run bench:metrics`: what a scrape costs the router's one thread, by the size of the fleet: CPU time of the thread, which a
// busy machine does not change much, and beside it the time on the clock. Read by people, never a gate.
import { busyFleet } from "../observe/busy-fleet.ts";

const rounds = 30;

for (const endpoints of [10, 100, 1_000]) {
  const { registry } = busyFleet(endpoints, false).metrics;
  const clock: number[] = [];
  const cpu: number[] = [];
  let bytes = 0;
  for (let i = 0; i < rounds; i++) {
    const before = process.threadCpuUsage();
    const began = performance.now();
    bytes = Buffer.byteLength(registry.render("openmetrics"));
    clock.push(performance.now() - began);
    const { user, system } = process.threadCpuUsage(before);
    cpu.push((user + system) / 1000);
  }
  process.stdout.write(
    `${endpoints} endpoints: ${(bytes / 1e6).toFixed(2)} MB, ${registry.size} series, CPU ${told(cpu)}; clock ${told(clock)}\n`,
  );
}

/** The first one makes what later ones find made. */
function told([first = 0, ...rest]: readonly number[]): string {
  const sorted = rest.toSorted((a, b) => a - b);
  const ms = (value = 0): string => value.toFixed(1);
  return `first ${ms(first)}, median ${ms(sorted[sorted.length >> 1])}, worst ${ms(sorted.at(-1))} ms of ${rest.length}`;
}
