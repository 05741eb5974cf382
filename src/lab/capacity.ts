// How much a fleet carries, or how many engines a workload needs, under objectives: a search over runs of the lab. It takes
// more load to be worse, as it is but for noise near the edge.

import { meets, type Objective } from "./objective.ts";
import type { LabPool, PoolProgress } from "./pool.ts";
import type { LabJob, LabResult } from "./run.ts";

export interface Capacity {
  readonly policy: string;
  readonly objective: string;
  readonly engines: number;
  readonly rate: number;
  readonly rps: number;
  /** The run at the edge that still meets the objectives; null = none does. */
  readonly result: LabResult | null;
}

/** The edge is known to this ratio. */
const precision = 1.03;
const lowestRate = 1 / 64;
const highestRate = 1024;
const mostEngines = 1024;

type Run = (job: LabJob) => Promise<LabResult>;

function runner(pool: LabPool, progress: PoolProgress): Run {
  return async (job) => (await pool.run(job, progress)).result;
}

/** Highest rate at which the objectives hold. */
export async function findRate(
  pool: LabPool,
  policy: string,
  engines: number,
  objectives: readonly Objective[],
  progress: PoolProgress = {},
): Promise<Capacity> {
  const run = runner(pool, progress);
  const at = (rate: number): Promise<LabResult> => run({ policy, rate, engines });
  let good: LabResult | null = null;
  let low = 0;
  let high = Number.POSITIVE_INFINITY;
  for (let rate = 1; rate >= lowestRate && rate <= highestRate; rate = good === null ? rate / 2 : rate * 2) {
    const result = await at(rate);
    if (meets(result, objectives)) {
      good = result;
      low = rate;
      if (high < Number.POSITIVE_INFINITY) break;
    } else {
      high = rate;
      if (good !== null) break;
    }
  }
  while (good !== null && high < Number.POSITIVE_INFINITY && high / low > precision) {
    const middle = Number(Math.sqrt(low * high).toPrecision(4));
    const result = await at(middle);
    if (meets(result, objectives)) {
      good = result;
      low = middle;
    } else high = middle;
  }
  return capacityOf(policy, objectives, engines, low, good);
}

/** Fewest engines with which the objectives hold. */
export async function findEngines(
  pool: LabPool,
  policy: string,
  rate: number,
  objectives: readonly Objective[],
  progress: PoolProgress = {},
): Promise<Capacity> {
  const run = runner(pool, progress);
  let good: LabResult | null = null;
  let low = 0;
  let high = 1;
  for (; high <= mostEngines; high *= 2) {
    const result = await run({ policy, rate, engines: high });
    if (meets(result, objectives)) {
      good = result;
      break;
    }
    low = high;
  }
  while (good !== null && high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const result = await run({ policy, rate, engines: middle });
    if (meets(result, objectives)) {
      good = result;
      high = middle;
    } else low = middle;
  }
  return capacityOf(policy, objectives, good === null ? 0 : high, rate, good);
}

function capacityOf(
  policy: string,
  objectives: readonly Objective[],
  engines: number,
  rate: number,
  result: LabResult | null,
): Capacity {
  const objective = objectives.map(({ text }) => text).join(",");
  return { policy, objective, engines, rate, rps: result?.rps ?? 0, result };
}
