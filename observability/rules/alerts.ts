// Alerts: each says who is hit, and has a section of a runbook that says what to do.
import { burnRates, kvLostStates, objectives, thresholds } from "../constants.ts";
import { duration, type Alert, type Group } from "./rule.ts";

const minute = 60;
const hour = 60 * minute;

/** Names of the recording rules' windows. */
const windowName = { 300: "5m", 1800: "30m", 3600: "1h", 21600: "6h" } as const;

function burn(
  what: "ErrorBudget" | "TtftBudget",
  record: string,
  budget: number,
  summary: string,
  description: string,
  runbook: string,
): Alert[] {
  return burnRates.map(({ name, severity, factor, long, short, forSeconds }) => {
    const limit = Number((factor * budget).toFixed(6));
    return {
      name: `LMStack${what}Burn${name}`,
      severity,
      value: `${record}_${windowName[long]}`,
      condition: `> ${limit} and ${record}_${windowName[short]} > ${limit}`,
      forSeconds,
      summary,
      description: `${description} The budget burns ${factor} times too fast, over ${windowName[long]} and over ${windowName[short]}.`,
      runbook,
    };
  });
}

/** @param scale a test makes all windows shorter by it; 1 = as they are meant */
export function alertGroups(scale: number): Group[] {
  const over = (seconds: number): string => duration(seconds, scale);
  return [
    {
      name: "lmstack-availability",
      rules: [
        {
          name: "LMStackNoReadyEndpoint",
          severity: "critical",
          value: 'max by (namespace, model) (lmstack_endpoints{state="ready"})',
          condition: "== 0",
          forSeconds: minute,
          summary: "No engine of {{ $labels.model }} is ready.",
          description:
            "Requests for {{ $labels.model }} are answered with 503: every engine that serves it is starting, leaving or taken out.",
          runbook: "availability.md#no-ready-endpoint",
        },
        ...burn(
          "ErrorBudget",
          "model:lmstack_request_errors:ratio",
          1 - objectives.availability,
          "Requests for {{ $labels.model }} fail too often.",
          `More requests for {{ $labels.model }} fail than ${objectives.availability * 100} % good ones allow.`,
          "availability.md#error-budget-burn",
        ),
        {
          name: "LMStackConfigurationRejected",
          severity: "warning",
          value: "min by (namespace, instance) (lmstack_config_last_reload_successful)",
          condition: "== 0",
          forSeconds: 5 * minute,
          summary: "The router {{ $labels.instance }} runs with an old configuration.",
          description:
            "The last change of the configuration file was rejected; the one before stays in force. The log says which field is wrong.",
          runbook: "router.md#configuration-rejected",
        },
        {
          name: "LMStackDiscoveryStale",
          severity: "warning",
          value: "max by (namespace, instance) (lmstack_discovery_stale_seconds)",
          condition: `> ${thresholds.discoveryStaleSeconds}`,
          forSeconds: 0,
          summary: "The router {{ $labels.instance }} does not see which engines there are.",
          description:
            "The source of its endpoints can't be read. Those that it knew last stay in force: new engines get nothing, and those that are gone are found out one failure at a time.",
          runbook: "router.md#discovery-stale",
        },
        {
          name: "LMStackCertificateExpiring",
          severity: "warning",
          value: "min by (namespace, instance) (lmstack_tls_certificate_expiry_timestamp_seconds) - time()",
          condition: `< ${thresholds.certificateDays * 86_400}`,
          forSeconds: 0,
          summary: "The certificate of the router {{ $labels.instance }} expires soon.",
          description: `It expires within ${thresholds.certificateDays} days. The router takes over a renewed file by itself: nothing has renewed it.`,
          runbook: "router.md#certificate-expiring",
        },
      ],
    },
    {
      name: "lmstack-latency",
      rules: [
        ...burn(
          "TtftBudget",
          "model:lmstack_slow_first_tokens:ratio",
          1 - objectives.ttft,
          "First tokens of {{ $labels.model }} come late.",
          `More streams of {{ $labels.model }} wait over ${objectives.ttftSeconds} s for their first token than ${objectives.ttft * 100} % in time allow.`,
          "latency.md#ttft-budget-burn",
        ),
        {
          name: "LMStackQueueGrowing",
          severity: "warning",
          value: `avg_over_time(model:vllm_requests_waiting:per_engine[${over(10 * minute)}])`,
          condition: `> ${thresholds.waitingPerEngine} and deriv(model:vllm_requests_waiting:per_engine[${over(10 * minute)}]) > 0`,
          forSeconds: 10 * minute,
          summary: "Requests for {{ $labels.model_name }} pile up.",
          description: `More than ${thresholds.waitingPerEngine} requests wait on each engine of {{ $labels.model_name }}, and their number grows: the engines are too few for the load.`,
          runbook: "latency.md#queue-growing",
        },
        {
          name: "LMStackRequestsWaitInRouter",
          severity: "warning",
          value: "max by (namespace, model) (lmstack_queue_oldest_seconds)",
          condition: `> ${thresholds.queueOldestSeconds}`,
          forSeconds: 5 * minute,
          summary: "Requests for {{ $labels.model }} wait long in the router.",
          description: `For minutes there have been requests for {{ $labels.model }} that have waited more than ${thresholds.queueOldestSeconds} s in the router: all its engines are full, or it has none.`,
          runbook: "latency.md#requests-wait-in-the-router",
        },
        {
          name: "LMStackRouterOverheadHigh",
          severity: "warning",
          value: `histogram_quantile(0.99, sum by (namespace, le) (rate(lmstack_router_overhead_seconds_bucket[${over(5 * minute)}])))`,
          condition: `> ${thresholds.overheadSeconds}`,
          forSeconds: 10 * minute,
          summary: "The router itself makes requests wait.",
          description: `One of a hundred requests spends more than ${thresholds.overheadSeconds * 1000} ms in the router without waiting for anybody.`,
          runbook: "router.md#overhead-high",
        },
        {
          name: "LMStackEventLoopBlocked",
          severity: "warning",
          value: 'max by (namespace, instance) (lmstack_event_loop_delay_seconds{stat="p99"})',
          condition: `> ${thresholds.eventLoopSeconds}`,
          forSeconds: 5 * minute,
          summary: "The router {{ $labels.instance }} is out of breath.",
          description:
            "Its one thread runs late: every stream on it stutters. It has too little CPU, or too many streams.",
          runbook: "router.md#event-loop-blocked",
        },
      ],
    },
    {
      name: "lmstack-engines",
      rules: [
        {
          name: "LMStackEndpointEjected",
          severity: "warning",
          value: 'max by (namespace, endpoint) (lmstack_endpoint_state{state="ejected"})',
          condition: "== 1",
          forSeconds: 2 * minute,
          summary: "The engine {{ $labels.endpoint }} gets no requests.",
          description:
            "The breaker has taken {{ $labels.endpoint }} out and its checks do not pass: the others carry its load.",
          runbook: "engines.md#endpoint-ejected",
        },
        {
          name: "LMStackEndpointFlapping",
          severity: "warning",
          value: `sum by (namespace, endpoint) (increase(lmstack_endpoint_breaker_transitions_total{to="ejected"}[${over(15 * minute)}]))`,
          condition: `> ${thresholds.ejections}`,
          forSeconds: 0,
          summary: "The engine {{ $labels.endpoint }} fails again and again.",
          description: `{{ $labels.endpoint }} was taken out more than ${thresholds.ejections} times within 15 minutes: it comes back, and fails again.`,
          runbook: "engines.md#endpoint-flapping",
        },
        {
          name: "LMStackKvCachePressure",
          severity: "warning",
          value: `avg_over_time(vllm:kv_cache_usage_perc{model_name!=""}[${over(5 * minute)}])`,
          condition: `> ${thresholds.kvUsage} and rate(vllm:num_preemptions_total{model_name!=""}[${over(5 * minute)}]) > 0`,
          forSeconds: 10 * minute,
          summary: "The engine {{ $labels.instance }} has too little KV cache.",
          description:
            "Its KV cache is full and it throws running requests of {{ $labels.model_name }} out of the batch: they start anew, and others wait.",
          runbook: "engines.md#kv-cache-pressure",
        },
        {
          name: "LMStackKvEventsLost",
          severity: "warning",
          value: `max by (namespace, instance, endpoint) (lmstack_kv_event_state{state=~"${kvLostStates.join("|")}"})`,
          condition: "== 1",
          forSeconds: 2 * minute,
          summary: "KV events of the engine {{ $labels.endpoint }} do not arrive.",
          description:
            "The router {{ $labels.instance }} has lost its subscription to the KV events of {{ $labels.endpoint }}, or can't read them: what that engine has cached is guessed from what it was sent.",
          runbook: "engines.md#kv-events-lost",
        },
        {
          name: "LMStackKvEventsLagging",
          severity: "warning",
          value: `histogram_quantile(0.99, sum by (namespace, instance, le) (rate(lmstack_kv_event_lag_seconds_bucket[${over(5 * minute)}])))`,
          condition: `> ${thresholds.kvLagSeconds}`,
          forSeconds: 10 * minute,
          summary: "KV events reach the router {{ $labels.instance }} late.",
          description: `One of a hundred messages of KV events is older than ${thresholds.kvLagSeconds} s when it is read: choices rest on caches as they were.`,
          runbook: "engines.md#kv-events-lagging",
        },
        {
          name: "LMStackKvIndexDegraded",
          severity: "warning",
          value: `sum by (namespace) (rate(lmstack_kv_lookups_total{view="approximate"}[${over(10 * minute)}])) / (sum by (namespace) (rate(lmstack_kv_lookups_total[${over(10 * minute)}])) > 0)`,
          condition: `> ${thresholds.kvGuessedShare}`,
          forSeconds: 10 * minute,
          summary: "Requests are routed without the exact index of caches.",
          description: `More than ${thresholds.kvGuessedShare * 100} % of the requests under \`kvaware\` went where their prefix was guessed to be: tokens of prompts, or events of engines, are missing.`,
          runbook: "engines.md#kv-index-degraded",
        },
        {
          name: "LMStackHitRateFell",
          severity: "warning",
          value: "model:lmstack_cached_tokens:ratio_30m",
          condition: `< ${thresholds.hitRateShare} * model:lmstack_cached_tokens:ratio_1d and model:lmstack_prompt_tokens:rate_30m > ${thresholds.hitRateMinTokens}`,
          forSeconds: hour / 2,
          summary: "Engines of {{ $labels.model }} find less in their caches.",
          description:
            "The share of prompt tokens that were cached is less than half of what it was over the last day: each request costs more prefill.",
          runbook: "engines.md#hit-rate-fell",
        },
      ],
    },
  ];
}
