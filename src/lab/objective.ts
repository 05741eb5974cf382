// Objectives such as `ttft_p90=2s`: read, and held against a result. Pure.

import { UsageError } from "../errors/usage-error.ts";
import type { LabResult } from "./run.ts";

export interface Objective {
  /** As it was written. */
  readonly text: string;
  readonly field: keyof LabResult;
  /** In the unit of the field. */
  readonly most: number;
}

/** Milliseconds to the unit of the field. */
const fields = {
  ttft_mean: ["ttftMeanS", 0.001],
  ttft_p50: ["ttftP50S", 0.001],
  ttft_p90: ["ttftP90S", 0.001],
  ttft_p99: ["ttftP99S", 0.001],
  itl_p50: ["itlP50Ms", 1],
  itl_p99: ["itlP99Ms", 1],
  e2e_mean: ["e2eMeanS", 0.001],
  e2e_p99: ["e2eP99S", 0.001],
} as const satisfies Record<string, readonly [keyof LabResult, number]>;

/** @throws UsageError for a text that is none */
export function parseObjectives(texts: readonly string[]): Objective[] {
  return texts.map((text) => {
    const [, name = "", amount = "", unit = ""] = /^([a-z0-9_]+)=(\d+(?:\.\d+)?)(ms|s)$/.exec(text) ?? [];
    const field = Object.hasOwn(fields, name) ? fields[name as keyof typeof fields] : undefined;
    if (field === undefined) {
      throw new UsageError(
        `--slo ${text}: no objective; write NAME=2s or NAME=50ms with one of ${Object.keys(fields).join(", ")}`,
      );
    }
    const ms = Number(amount) * (unit === "s" ? 1000 : 1);
    return { text, field: field[0], most: ms * field[1] };
  });
}

/** A run in which requests were refused meets nothing. */
export function meets(result: LabResult, objectives: readonly Objective[]): boolean {
  return result.refused === 0 && objectives.every(({ field, most }) => Number(result[field]) <= most);
}
