// Metrics of the Python process that the simulator pretends to be: garbage collector, version, memory, files. Beside the
// exposition. Memory and processor time are this process's own; what Node has no word for is a steady made-up value.

import { families } from "./metric-families.ts";
import type { MetricsWriter, Sample } from "./metrics-writer.ts";

/** `scrapes` stands for time: the collector's counters grow a little with each. */
export function renderProcess(writer: MetricsWriter, startedSeconds: number, scrapes: number): void {
  const f = families;
  const generations = (values: readonly number[]): Sample[] =>
    values.map((value, generation) => [`generation="${generation}"`, value]);
  const memory = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  writer.gauge(f.pythonGcObjectsCollectedTotal, generations([13_826 + 40 * scrapes, 2929 + 4 * scrapes, 1660]));
  writer.gauge(f.pythonGcObjectsUncollectableTotal, generations([0, 0, 0]));
  writer.gauge(f.pythonGcCollectionsTotal, generations([2561 + scrapes, 232 + Math.floor(scrapes / 10), 12]));
  writer.gauge(f.pythonInfo, [['implementation="CPython",major="3",minor="11",patchlevel="7",version="3.11.7"', 1]]);
  writer.gauge(f.processVirtualMemoryBytes, [["", memory.rss + memory.heapTotal]]);
  writer.gauge(f.processResidentMemoryBytes, [["", memory.rss]]);
  writer.gauge(f.processStartTimeSeconds, [["", startedSeconds]]);
  writer.gauge(f.processCpuSecondsTotal, [["", (user + system) / 1_000_000]]);
  writer.gauge(f.processOpenFds, [["", 34]]);
  writer.gauge(f.processMaxFds, [["", 20_000]]);
}
