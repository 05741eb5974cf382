// Dashboards, rules and alerts with what they are for: a real Prometheus that scrapes `lmstack up` under load, a real
// Alertmanager behind it, and faults. Rules keep their form; their windows are shortened by one scale, so that an hour takes
// half a minute.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { dashboards } from "../../observability/files.ts";
import { alertGroups } from "../../observability/rules/alerts.ts";
import { recordingGroups } from "../../observability/rules/recording.ts";
import { metricCatalogue, type MetricDefinition } from "../../src/observe/catalogue.ts";
import { root } from "../repo/imports.ts";
import { Load, type Tally } from "./observability/load.ts";
import { startMonitoring, type Monitoring, type Sample } from "./observability/prometheus.ts";
import { setFault, startUp } from "./observability/stack.ts";
import { requireTool } from "./requires.ts";

const scale = 120;

/** Panels, rules and alerts whose query gives nothing, or the same all the time, in this run; with the reason. */
const constant: Readonly<Record<string, string>> = {
  LMStackDiscoveryStale: "the engines are listed, not discovered",
  "Age of the list of endpoints": "the engines are listed, not discovered",
  "State of KV events": "all engines publish all the time",
  "Index of prompts": "engines tell what they hold: nothing has to be remembered",
  "Streams that were saved": "all of them were",
  "Configuration in force": "no configuration file is changed",
  LMStackConfigurationRejected: "no configuration file is changed",
};
const empty: Readonly<Record<string, string>> = {
  LMStackCertificateExpiring: "the router serves plain HTTP",
  LMStackKvEventsLost: "all engines publish all the time",
  "Held for an endpoint": "engines that are taken out are no reason to wait for others",
};

/** Series that are 1 while they are there. */
const comeAndGo: readonly string[] = ["State", "LMStackEndpointEjected"];

const engineFinished = 'vllm:request_success_total{finished_reason="length"}';

const seconds = (): number => Date.now() / 1000;

async function eventually(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`gave up waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function firing(monitoring: Monitoring, alert: string, status: "firing" | "resolved"): boolean {
  return monitoring.notices.some((notice) => notice.alert === alert && notice.status === status);
}

function moves(series: readonly Sample[]): boolean {
  return series.some(({ values }) => new Set(values.map(([, value]) => value)).size > 1);
}

test("metrics, dashboards, rules and alerts hold under a real Prometheus", { timeout: 420_000 }, async (t) => {
  const prometheus = requireTool(t, "prometheus");
  const alertmanager = requireTool(t, "prometheus-alertmanager");
  const promtool = requireTool(t, "promtool");
  if (prometheus === null || alertmanager === null || promtool === null) return;
  const stack = await startUp(t, 4, ["--routing-logic", "kvaware", "--engine-stats-interval", "1"]);
  const monitoring = await startMonitoring(t, {
    prometheus,
    alertmanager,
    router: stack.url,
    engines: stack.engines,
    scale,
  });
  const began = seconds();
  let seed = 7;
  const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  const { url, model } = stack;
  const load = (clients: number, ownWords = 60): Load =>
    new Load({ url, model, clients, pauseMs: 300, maxTokens: 40, promptWords: 40, ownWords, random });

  await t.test("what it counts is what an independent account says", async () => {
    const calm = load(40);
    await new Promise((resolve) => setTimeout(resolve, 30_000));
    await calm.stop();
    await compare(monitoring, calm.tally, await abortedBy(stack.engines));
  });

  await t.test("promtool has nothing to say about our names", async () => {
    const text = await (await fetch(`${stack.url}/metrics`)).text();
    const checked = spawnSync(promtool, ["check", "metrics"], { input: withoutLegacy(text), encoding: "utf8" });
    assert.equal(checked.stdout + checked.stderr, "");
    assert.equal(checked.status, 0);
  });

  await t.test("rules and their tests pass promtool", () => {
    const run = (...args: readonly string[]): void => {
      const { status, stdout, stderr } = spawnSync(promtool, args, {
        cwd: join(root, "observability/rules"),
        encoding: "utf8",
      });
      assert.equal(status, 0, stdout + stderr);
    };
    run("check", "rules", "lmstack-recording.yaml", "lmstack-alerts.yaml");
    run("test", "rules", "lmstack-alerts.test.yaml");
  });

  await t.test("the configuration beside `lmstack up` is one that Prometheus takes", (st) => {
    // as the containers of the compose file see it
    const folder = mkdtempSync(join(tmpdir(), "lmstack-compose-"));
    st.after(() => rmSync(folder, { recursive: true, force: true }));
    for (const name of ["prometheus.yaml", "targets.json"])
      cpSync(join(root, "observability/compose", name), join(folder, name));
    cpSync(join(root, "observability/rules"), join(folder, "rules"), { recursive: true });
    const { status, stdout, stderr } = spawnSync(promtool, ["check", "config", join(folder, "prometheus.yaml")], {
      encoding: "utf8",
    });
    assert.equal(status, 0, stdout + stderr);
  });

  await t.test("an engine that is gone fires an alert, and its return resolves it", async () => {
    const busy = load(30);
    const [gone = ""] = stack.engines;
    await setFault(gone, { fault: "refuse", seconds: 15 });
    await eventually("the alert fires", () => firing(monitoring, "LMStackEndpointEjected", "firing"));
    await eventually("it resolves", () => firing(monitoring, "LMStackEndpointEjected", "resolved"));
    await busy.stop();
    const [notice] = monitoring.notices.filter(({ alert }) => alert === "LMStackEndpointEjected");
    assert.equal(notice?.labels["endpoint"], new URL(gone).host);
    assert.match(notice?.annotations["summary"] ?? "", new RegExp(new URL(gone).host));
    assert.match(notice?.annotations["runbook_url"] ?? "", /engines\.md#endpoint-ejected$/);
  });

  await t.test("streams that lose their engine go on at another, and Prometheus sees it", async () => {
    const [cutting = ""] = stack.engines;
    await setFault(cutting, { fault: "cut_mid_stream", after: 5, share: 0.5 });
    const cut = load(20);
    await eventually(
      "streams went on",
      async () => (await monitoring.sum('lmstack_migrations_total{result="continued"}')) >= 5,
    );
    await setFault(cutting, null);
    await cut.stop();
  });

  await t.test("first tokens that are late fire an alert, and quick ones resolve it", async () => {
    for (const engine of stack.engines) await setFault(engine, { fault: "slow_headers", seconds: 3.2 });
    // so many that some have to wait in the router
    const slow = load(160, 200);
    await eventually("the alert fires", () => firing(monitoring, "LMStackTtftBudgetBurnFast", "firing"), 90_000);
    for (const engine of stack.engines) await setFault(engine, null);
    await slow.stop();
    const quick = load(8);
    await eventually("it resolves", () => firing(monitoring, "LMStackTtftBudgetBurnFast", "resolved"), 60_000);
    await quick.stop();
  });

  await t.test("no engine at all fires an alert, and their return resolves it", async () => {
    for (const engine of stack.engines) await setFault(engine, { fault: "refuse", seconds: 12 });
    const lost = load(4);
    await eventually("the alert fires", () => firing(monitoring, "LMStackNoReadyEndpoint", "firing"));
    await eventually("it resolves", () => firing(monitoring, "LMStackNoReadyEndpoint", "resolved"));
    await lost.stop();
    assert.ok(lost.tally.failed > 0, "requests met it");
  });

  await t.test("every panel's and rule's query gives data that change", async () => {
    const end = seconds();
    const problems: string[] = [];
    const look = async (name: string, expr: string): Promise<void> => {
      const series = await monitoring.queryRange(expr, began, end, 1);
      if (series.length === 0 && !(name in empty)) problems.push(`${name}: no data: ${expr}`);
      else if (comeAndGo.includes(name)) {
        const always = series.every(({ values }) => values.length > end - began - 10);
        if (always) problems.push(`${name}: no series comes or goes: ${expr}`);
      } else if (!moves(series) && !(name in constant) && !(name in empty))
        problems.push(`${name}: never changes: ${expr}`);
    };
    for (const { rows } of Object.values(dashboards)) {
      for (const panel of rows.flatMap(({ panels }) => panels)) {
        for (const { expr } of panel.queries) {
          await look(
            panel.title,
            expr
              .replaceAll("$__rate_interval", "4s")
              .replaceAll("$namespace", ".*")
              .replaceAll(/\$(model|endpoint)/g, ".+"),
          );
        }
      }
    }
    for (const rule of [...recordingGroups(scale), ...alertGroups(scale)].flatMap(({ rules }) => rules)) {
      await look("record" in rule ? rule.record : rule.name, "record" in rule ? rule.record : rule.value);
    }
    assert.deepEqual(problems, []);
    const { groups } = (await monitoring.get("/api/v1/rules")) as {
      readonly groups: readonly { readonly rules: readonly { readonly name: string; readonly health: string }[] }[];
    };
    const sick = groups.flatMap(({ rules }) => rules.filter(({ health }) => health !== "ok").map(({ name }) => name));
    assert.deepEqual(sick, []);
  });
});

/** Waits for a scrape after the load's end, since nothing may be on its way. */
async function compare(monitoring: Monitoring, tally: Tally, abortedByEngines: number): Promise<void> {
  const finished = tally.ok + tally.left + tally.refused + tally.failed;
  await eventually(
    "Prometheus has seen the last request",
    async () =>
      (await monitoring.sum("lmstack_requests_total")) >= finished &&
      (await monitoring.sum(engineFinished)) >= tally.ok,
  );
  const counted = async (expr: string): Promise<number> => Math.round(await monitoring.sum(expr));
  const requests = (outcome: string): Promise<number> => counted(`lmstack_requests_total{outcome="${outcome}"}`);
  assert.deepEqual(
    {
      ok: await requests("ok"),
      left: await requests("client_gone"),
      refused: await requests("client_error"),
      all: await counted("lmstack_requests_total"),
      promptTokens: await counted("lmstack_prompt_tokens_total"),
      cachedTokens: await counted("lmstack_cached_tokens_total"),
      generatedTokens: await counted("lmstack_generated_tokens_total"),
      finishedByEngines: await counted(engineFinished),
      abortedByEngines,
      attemptsOk: await counted('lmstack_attempts_total{outcome="ok"}'),
      firstTokens: await counted("lmstack_time_to_first_token_seconds_count"),
      inFlight: await counted("lmstack_requests_in_flight"),
    },
    {
      ok: tally.ok,
      left: tally.left,
      refused: tally.refused,
      all: finished,
      promptTokens: tally.promptTokens,
      cachedTokens: tally.cachedTokens,
      generatedTokens: tally.generatedTokens,
      finishedByEngines: tally.ok,
      abortedByEngines: tally.left,
      attemptsOk: tally.ok,
      firstTokens: tally.firstEvents.length,
      inFlight: 0,
    },
  );
  assert.ok(tally.ok > 100 && tally.left > 10 && tally.refused > 5, JSON.stringify({ ...tally, firstEvents: [] }));
  const { buckets } = metricCatalogue.lmstack_time_to_first_token_seconds;
  const bucketOf = (value: number): number => buckets.findIndex((bound) => value <= bound);
  const sorted = tally.firstEvents.toSorted((a, b) => a - b);
  for (const q of [0.5, 0.9, 0.95]) {
    const own = bucketOf(sorted[Math.ceil(q * sorted.length) - 1] ?? 0);
    const told = bucketOf(
      await monitoring.sum(`histogram_quantile(${q}, sum by (le) (lmstack_time_to_first_token_seconds_bucket))`),
    );
    assert.ok(Math.abs(own - told) <= 1, `p${q * 100}: bucket ${own} by the clients, ${told} by Prometheus`);
  }
}

/** Requests that engines dropped because their client had left, by their own account: vLLM has no metric of them. */
async function abortedBy(engines: readonly string[]): Promise<number> {
  const states = await Promise.all(
    engines.map(
      async (engine) =>
        (await fetch(`${engine}/sim/state`, { headers: { connection: "close" } })).json() as Promise<{
          readonly aborted: number;
        }>,
    ),
  );
  return states.reduce((sum, { aborted }) => sum + aborted, 0);
}

/** An exposition without the families that have production-stack's names. */
function withoutLegacy(text: string): string {
  const metrics: [string, MetricDefinition][] = Object.entries(metricCatalogue);
  const legacy = metrics.filter(([, metric]) => metric.legacy === true).map(([name]) => name);
  return text
    .split("\n")
    .filter((line) => {
      const name = line.replace(/^# (HELP|TYPE) /, "");
      return !legacy.some((one) => name.startsWith(one) && /^(_bucket|_sum|_count)?[ {]/.test(name.slice(one.length)));
    })
    .join("\n");
}
