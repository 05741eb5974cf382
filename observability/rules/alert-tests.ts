// A test for `promtool test rules` of each alert: series with which it fires, and series, much like them, with which it does
// not. Times in minutes; values in promtool's notation.
import { stringify } from "yaml";
import { thresholds } from "../constants.ts";
import { annotationsOf, type Alert, type Group } from "./rule.ts";

interface Case {
  readonly series: Readonly<Record<string, string>>;
  /** When it is looked at. */
  readonly atMinutes: number;
}

export interface AlertTest {
  readonly alert: string;
  /** Labels of what it is about. */
  readonly labels: Readonly<Record<string, string>>;
  readonly fires: Case;
  readonly quiet: Case;
}

const outcome = (name: string): string => `lmstack_requests_total{model="m",outcome="${name}"}`;
const ttft = (what: string): string => `lmstack_time_to_first_token_seconds_${what}`;
const engine = 'instance="e:8000",model_name="m"';

/** Requests of which so many of a minute's hundred fail. */
const failing = (share: string): Case["series"] => ({ [outcome("ok")]: "0+100x400", [outcome("engine_error")]: share });
/** @param inTime of a minute's hundred messages, those read within a second */
const lag = (inTime: string): Case["series"] => ({
  'lmstack_kv_event_lag_seconds_bucket{instance="r:8000",le="1.0"}': inTime,
  'lmstack_kv_event_lag_seconds_bucket{instance="r:8000",le="5.0"}': "0+100x40",
  'lmstack_kv_event_lag_seconds_bucket{instance="r:8000",le="+Inf"}': "0+100x40",
});
/** @param guessed beside a hundred a minute that were judged by the exact index */
const lookups = (guessed: string): Case["series"] => ({
  'lmstack_kv_lookups_total{view="exact",reason="exact"}': "0+100x40",
  'lmstack_kv_lookups_total{view="approximate",reason="tokenizer_timeout"}': guessed,
});
const late = (inTime: string): Case["series"] => ({
  [ttft('bucket{model="m",le="2.5"}')]: inTime,
  [ttft('count{model="m"}')]: "0+100x400",
});

export const alertTests: readonly AlertTest[] = [
  {
    alert: "LMStackNoReadyEndpoint",
    labels: { model: "m" },
    fires: { series: { 'lmstack_endpoints{model="m",state="ready"}': "1 0x10" }, atMinutes: 5 },
    // two routers: one that has just started knows none yet
    quiet: {
      series: {
        'lmstack_endpoints{instance="a",model="m",state="ready"}': "0x10",
        'lmstack_endpoints{instance="b",model="m",state="ready"}': "2x10",
      },
      atMinutes: 5,
    },
  },
  {
    alert: "LMStackErrorBudgetBurnFast",
    labels: { model: "m" },
    fires: { series: failing("0+3x400"), atMinutes: 70 },
    // long over: the short window has forgotten it
    quiet: { series: failing("0+3x55 165x400"), atMinutes: 70 },
  },
  {
    alert: "LMStackErrorBudgetBurnSlow",
    labels: { model: "m" },
    fires: { series: failing("0+1x400"), atMinutes: 390 },
    // a client's faults burn nothing
    quiet: { series: { [outcome("ok")]: "0+100x400", [outcome("client_error")]: "0+50x400" }, atMinutes: 390 },
  },
  {
    alert: "LMStackConfigurationRejected",
    labels: { instance: "r:8000" },
    fires: { series: { 'lmstack_config_last_reload_successful{instance="r:8000"}': "1x3 0x10" }, atMinutes: 12 },
    quiet: { series: { 'lmstack_config_last_reload_successful{instance="r:8000"}': "0x3 1x10" }, atMinutes: 12 },
  },
  {
    alert: "LMStackDiscoveryStale",
    labels: { instance: "r:8000" },
    fires: { series: { 'lmstack_discovery_stale_seconds{instance="r:8000"}': "0+60x10" }, atMinutes: 8 },
    quiet: { series: { 'lmstack_discovery_stale_seconds{instance="r:8000"}': "0+60x4 0x10" }, atMinutes: 8 },
  },
  {
    alert: "LMStackCertificateExpiring",
    labels: { instance: "r:8000" },
    fires: {
      series: { 'lmstack_tls_certificate_expiry_timestamp_seconds{instance="r:8000"}': "500000x10" },
      atMinutes: 5,
    },
    quiet: {
      series: { 'lmstack_tls_certificate_expiry_timestamp_seconds{instance="r:8000"}': "700000x10" },
      atMinutes: 5,
    },
  },
  {
    alert: "LMStackTtftBudgetBurnFast",
    labels: { model: "m" },
    fires: { series: late("0+20x400"), atMinutes: 70 },
    quiet: { series: late("0+97x400"), atMinutes: 70 },
  },
  {
    alert: "LMStackTtftBudgetBurnSlow",
    labels: { model: "m" },
    fires: { series: late("0+60x400"), atMinutes: 390 },
    quiet: { series: late("0+80x400"), atMinutes: 390 },
  },
  {
    alert: "LMStackQueueGrowing",
    labels: { model_name: "m" },
    fires: { series: { [`vllm:num_requests_waiting{${engine}}`]: "0+2x60" }, atMinutes: 40 },
    // many, but they become fewer
    quiet: { series: { [`vllm:num_requests_waiting{${engine}}`]: "200-2x60" }, atMinutes: 40 },
  },
  {
    alert: "LMStackRequestsWaitInRouter",
    labels: { model: "m" },
    fires: {
      series: {
        'lmstack_queue_oldest_seconds{instance="a",model="m"}': "15+1x10",
        'lmstack_queue_oldest_seconds{instance="b",model="m"}': "0x10",
      },
      atMinutes: 8,
    },
    // a burst that drains
    quiet: { series: { 'lmstack_queue_oldest_seconds{instance="a",model="m"}': "15x3 2x10" }, atMinutes: 8 },
  },
  {
    alert: "LMStackRouterOverheadHigh",
    labels: {},
    fires: {
      series: {
        'lmstack_router_overhead_seconds_bucket{model="m",le="0.05"}': "0+90x40",
        'lmstack_router_overhead_seconds_bucket{model="m",le="0.1"}': "0+100x40",
        'lmstack_router_overhead_seconds_bucket{model="m",le="+Inf"}': "0+100x40",
      },
      atMinutes: 30,
    },
    quiet: {
      series: {
        'lmstack_router_overhead_seconds_bucket{model="m",le="0.001"}': "0+100x40",
        'lmstack_router_overhead_seconds_bucket{model="m",le="+Inf"}': "0+100x40",
      },
      atMinutes: 30,
    },
  },
  {
    alert: "LMStackEventLoopBlocked",
    labels: { instance: "r:8000" },
    fires: {
      series: { 'lmstack_event_loop_delay_seconds{instance="r:8000",stat="p99"}': "0.2x20" },
      atMinutes: 10,
    },
    quiet: { series: { 'lmstack_event_loop_delay_seconds{instance="r:8000",stat="max"}': "0.2x20" }, atMinutes: 10 },
  },
  {
    alert: "LMStackEndpointEjected",
    labels: { endpoint: "e:8000" },
    fires: { series: { 'lmstack_endpoint_state{endpoint="e:8000",state="ejected"}': "1x10" }, atMinutes: 5 },
    // back after a minute: the series of the state ends
    quiet: {
      series: {
        'lmstack_endpoint_state{endpoint="e:8000",state="ejected"}': "1 stale",
        'lmstack_endpoint_state{endpoint="e:8000",state="ready"}': "_ 1x10",
      },
      atMinutes: 5,
    },
  },
  {
    alert: "LMStackEndpointFlapping",
    labels: { endpoint: "e:8000" },
    fires: {
      series: { 'lmstack_endpoint_breaker_transitions_total{endpoint="e:8000",to="ejected"}': "0+1x20" },
      atMinutes: 15,
    },
    quiet: {
      series: { 'lmstack_endpoint_breaker_transitions_total{endpoint="e:8000",to="ejected"}': "0x5 2x20" },
      atMinutes: 15,
    },
  },
  {
    alert: "LMStackKvCachePressure",
    labels: { instance: "e:8000", model_name: "m" },
    fires: {
      series: {
        [`vllm:kv_cache_usage_perc{${engine}}`]: "0.97x30",
        [`vllm:num_preemptions_total{${engine}}`]: "0+1x30",
      },
      atMinutes: 20,
    },
    // full and content
    quiet: {
      series: {
        [`vllm:kv_cache_usage_perc{${engine}}`]: "0.97x30",
        [`vllm:num_preemptions_total{${engine}}`]: "3x30",
      },
      atMinutes: 20,
    },
  },
  {
    alert: "LMStackKvEventsLost",
    labels: { endpoint: "e:8000", instance: "r:8000" },
    fires: {
      series: { 'lmstack_kv_event_state{instance="r:8000",endpoint="e:8000",state="disconnected"}': "1x10" },
      atMinutes: 5,
    },
    // it restarts: gone for a minute, then read anew; one that publishes nothing by design is no loss
    quiet: {
      series: {
        'lmstack_kv_event_state{instance="r:8000",endpoint="e:8000",state="disconnected"}': "1 stale",
        'lmstack_kv_event_state{instance="r:8000",endpoint="e:8000",state="exact"}': "_ 1x10",
        'lmstack_kv_event_state{instance="r:8000",endpoint="f:8000",state="no_events"}': "1x10",
      },
      atMinutes: 5,
    },
  },
  {
    alert: "LMStackKvEventsLagging",
    labels: { instance: "r:8000" },
    fires: { series: lag("0+90x40"), atMinutes: 30 },
    quiet: { series: lag("0+100x40"), atMinutes: 30 },
  },
  {
    alert: "LMStackKvIndexDegraded",
    labels: {},
    fires: { series: lookups("0+30x40"), atMinutes: 30 },
    // a tokenizer that was late now and then
    quiet: { series: lookups("0+5x40"), atMinutes: 30 },
  },
  {
    alert: "LMStackHitRateFell",
    labels: { model: "m" },
    fires: {
      series: {
        'lmstack_prompt_tokens_total{model="m"}': "0+60000x1500",
        'lmstack_cached_tokens_total{model="m"}': "0+40000x1300 52000000+1000x200",
      },
      atMinutes: 1400,
    },
    // nearly no traffic: a rate of little says little
    quiet: {
      series: {
        'lmstack_prompt_tokens_total{model="m"}': `0+${thresholds.hitRateMinTokens * 30}x1500`,
        'lmstack_cached_tokens_total{model="m"}': "0+2000x1300 2600000+10x200",
      },
      atMinutes: 1400,
    },
  },
];

function filled(text: string, labels: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, name: string) => labels[name] ?? "");
}

/** promtool's file. @param ruleFiles paths beside it */
export function renderAlertTests(groups: readonly Group[], ruleFiles: readonly string[]): string {
  const alerts = new Map(
    groups.flatMap(({ rules }) =>
      rules.flatMap((rule): [string, Alert][] => ("name" in rule ? [[rule.name, rule]] : [])),
    ),
  );
  const tests = alertTests.flatMap(({ alert, labels, fires, quiet }) => {
    const rule = alerts.get(alert);
    if (rule === undefined) throw new Error(`a test of an alert that is not there: ${alert}`);
    const annotations = Object.fromEntries(
      Object.entries(annotationsOf(rule)).map(([name, text]) => [name, filled(text, labels)]),
    );
    const expected = [{ exp_labels: { severity: rule.severity, ...labels }, exp_annotations: annotations }];
    const test = (name: string, { series, atMinutes }: Case, alertsExpected: object[]): object => ({
      name: `${alert} ${name}`,
      interval: "1m",
      input_series: Object.entries(series).map(([one, values]) => ({ series: one, values })),
      alert_rule_test: [{ eval_time: `${atMinutes}m`, alertname: alert, exp_alerts: alertsExpected }],
    });
    return [test("fires", fires, expected), test("does not fire", quiet, [])];
  });
  return stringify({ rule_files: ruleFiles, evaluation_interval: "1m", tests }, { lineWidth: 0 });
}
