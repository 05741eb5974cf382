// What a rule is, and a group of them as Prometheus reads it.
import { stringify } from "yaml";
import { runbookBase } from "../constants.ts";

export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
}

export interface Alert {
  readonly name: string;
  readonly severity: "critical" | "warning";
  /** What is looked at; a series for each thing that the alert may be about. */
  readonly value: string;
  /** When it is too much: a comparison, and what has to hold besides. */
  readonly condition: string;
  /** How long that has to last. */
  readonly forSeconds: number;
  /** Of labels only `{{ $labels.NAME }}` is used. */
  readonly summary: string;
  readonly description: string;
  /** File and section below `runbooks/`. */
  readonly runbook: string;
}

export interface Group {
  readonly name: string;
  readonly rules: readonly (RecordingRule | Alert)[];
}

/** A duration of Prometheus. @param scale how many times shorter than it is meant */
export function duration(seconds: number, scale: number): string {
  const ms = Math.round((seconds * 1000) / scale);
  const units = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
  ] as const;
  for (const [unit, size] of units) if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  return `${ms}ms`;
}

export function annotationsOf(alert: Alert): { summary: string; description: string; runbook_url: string } {
  const { summary, description, runbook } = alert;
  return { summary, description, runbook_url: `${runbookBase}/${runbook}` };
}

/** The file's text. */
export function renderGroups(groups: readonly Group[], scale: number): string {
  const shown = groups.map(({ name, rules }) => ({
    name,
    rules: rules.map((rule) =>
      "record" in rule
        ? { record: rule.record, expr: rule.expr }
        : {
            alert: rule.name,
            expr: `${rule.value} ${rule.condition}`,
            ...(rule.forSeconds === 0 ? {} : { for: duration(rule.forSeconds, scale) }),
            labels: { severity: rule.severity },
            annotations: annotationsOf(rule),
          },
    ),
  }));
  return stringify({ groups: shown }, { lineWidth: 0 });
}
