// `npm run bench:metrics`: what a scrape costs the router's one thread, by the size of the fleet. Read by people, never a gate.
import { busyFleet } from "../observe/busy-fleet.ts";

const rounds = 30;

for (const endpoints of [10, 100, 1_000]) {
  const { registry } = busyFleet(endpoints, false).metrics;
  const times: number[] = [];
  let bytes = 0;
  for (let i = 0; i < rounds; i++) {
    const began = performance.now();
    bytes = Buffer.byteLength(registry.render("openmetrics"));
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  const median = times[Math.floor(rounds / 2)] ?? 0;
  const worst = times.at(-1) ?? 0;
  process.stdout.write(
    `${endpoints} endpoints: ${(bytes / 1e6).toFixed(2)} MB, ${registry.size} series, median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms of ${rounds}\n`,
  );
}
