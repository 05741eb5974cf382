// Recording rules: what alerts and dashboards would otherwise compute again and again, over each window that they look at.
import { badOutcomes, clientOutcomes, objectives } from "../constants.ts";
import { duration, type Group, type RecordingRule } from "./rule.ts";

const minute = 60;
const hour = 60 * minute;

/** Windows of the burn rates, by the name that stays the same when a test shortens them. */
const windows = [
  ["5m", 5 * minute],
  ["30m", 30 * minute],
  ["1h", hour],
  ["6h", 6 * hour],
] as const;

const by = "sum by (namespace, model)";

/** @param scale a test makes all windows shorter by it; 1 = as they are meant */
export function recordingGroups(scale: number): Group[] {
  const over = (seconds: number): string => duration(seconds, scale);
  const ratios = windows.flatMap(([name, seconds]): RecordingRule[] => {
    const window = over(seconds);
    const total = `${by} (rate(lmstack_requests_total{outcome!~"${clientOutcomes.join("|")}"}[${window}]))`;
    // where nothing failed there is no such series, and its share is 0
    const failed = `(${by} (rate(lmstack_requests_total{outcome=~"${badOutcomes.join("|")}"}[${window}])) or 0 * ${total})`;
    const first = "lmstack_time_to_first_token_seconds";
    const streams = `${by} (rate(${first}_count[${window}]))`;
    const intime = `${by} (rate(${first}_bucket{le="${objectives.ttftSeconds}"}[${window}]))`;
    return [
      { record: `model:lmstack_request_errors:ratio_${name}`, expr: `${failed} / (${total} > 0)` },
      { record: `model:lmstack_slow_first_tokens:ratio_${name}`, expr: `1 - ${intime} / (${streams} > 0)` },
    ];
  });
  const hits = (name: string, seconds: number): RecordingRule => ({
    record: `model:lmstack_cached_tokens:ratio_${name}`,
    expr: `${by} (rate(lmstack_cached_tokens_total[${over(seconds)}])) / (${by} (rate(lmstack_prompt_tokens_total[${over(seconds)}])) > 0)`,
  });
  return [
    { name: "lmstack-objectives", rules: ratios },
    {
      name: "lmstack-serving",
      rules: [
        hits("5m", 5 * minute),
        hits("30m", 30 * minute),
        hits("1d", 24 * hour),
        {
          record: "model:lmstack_prompt_tokens:rate_30m",
          expr: `${by} (rate(lmstack_prompt_tokens_total[${over(30 * minute)}]))`,
        },
        {
          record: "model:vllm_requests_waiting:per_engine",
          expr: 'avg by (namespace, model_name) (vllm:num_requests_waiting{model_name!=""})',
        },
      ],
    },
  ];
}
