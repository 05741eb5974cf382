// Dashboards, rules and runbooks tell the truth: each name in them is one that somebody emits, each alert has its section. The
// bug behind it: peers ship panels that query metrics which nobody has ever emitted.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { badOutcomes, clientOutcomes, objectives } from "../../observability/constants.ts";
import { dashboards, observabilityFiles } from "../../observability/files.ts";
import { renderDashboard, type DashboardSpec } from "../../observability/dashboards/panels.ts";
import { alertTests } from "../../observability/rules/alert-tests.ts";
import { alertGroups } from "../../observability/rules/alerts.ts";
import { recordingGroups } from "../../observability/rules/recording.ts";
import { duration, type Alert, type Group } from "../../observability/rules/rule.ts";
import { remedy } from "../../src/console/web/format.ts";
import { outcomes } from "../../src/errors/catalogue.ts";
import { metricCatalogue } from "../../src/observe/catalogue.ts";
import { anchorOf } from "../repo/documents.ts";
import { root } from "../repo/imports.ts";
import { lintDashboard, lintExpression, type Dashboard } from "./lint.ts";

const runbooks = join(root, "observability/runbooks");

function alertsOf(groups: readonly Group[]): Alert[] {
  return groups.flatMap(({ rules }) => rules.flatMap((rule) => ("name" in rule ? [rule] : [])));
}

/** Alerts whose section of a runbook is not there. */
function withoutRunbook(alerts: readonly Alert[]): string[] {
  return alerts.flatMap(({ name, runbook }) => {
    const [file = "", anchor = ""] = runbook.split("#");
    const path = join(runbooks, file);
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    const sections = [...text.matchAll(/^## (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading));
    return sections.includes(anchor) ? [] : [`${name}: ${runbook}`];
  });
}

function parsed(spec: DashboardSpec): Dashboard {
  return JSON.parse(renderDashboard(spec)) as Dashboard;
}

for (const [name, spec] of Object.entries(dashboards)) {
  test(`the dashboard ${name} names what is emitted, and keeps the conventions`, () => {
    assert.deepEqual(lintDashboard(parsed(spec)), []);
  });
}

test("the first dashboard begins with the seven panels that were promised first", () => {
  const [first] = dashboards["serving-overview"]?.rows ?? [];
  assert.deepEqual(
    first?.panels.map(({ title }) => title),
    [
      "Available vLLM instances",
      "Request latency distribution",
      "TTFT distribution",
      "Running requests",
      "Pending requests",
      "GPU KV usage",
      "GPU KV cache hit rate",
    ],
  );
});

test("rules name what is emitted", () => {
  const problems = [...recordingGroups(1), ...alertGroups(1)].flatMap(({ rules }) =>
    rules.flatMap((rule) =>
      "record" in rule
        ? lintExpression(rule.record, rule.expr, false)
        : lintExpression(rule.name, `${rule.value} ${rule.condition}`, false),
    ),
  );
  assert.deepEqual(problems, []);
});

test("a wrong dashboard or rule is found", () => {
  const complaint = (expr: string): string => lintExpression("x", expr, true).join("; ");
  assert.match(complaint("sum(lmstack_requests)"), /nobody emits lmstack_requests/);
  assert.match(complaint("vllm:gpu_cache_usage_perc"), /nobody emits/, "an older engine's name");
  assert.match(complaint("vllm:current_qps"), /nobody emits/, "for others' dashboards alone");
  assert.match(complaint('sum(rate(lmstack_requests_total{endpoint="x"}[$__rate_interval]))'), /no label endpoint/);
  assert.match(complaint("sum(lmstack_requests_total)"), /without rate/);
  assert.match(complaint("rate(lmstack_queue_length[$__rate_interval])"), /has no rate/);
  assert.match(complaint("rate(lmstack_requests_total[5m])"), /does not follow/);
  assert.match(complaint("lmstack_queue_length / lmstack_client_connections"), /may be 0/);
  assert.match(complaint("sum by (lmstack_queue_length"), /no PromQL/);
  const [name, spec] = Object.entries(dashboards)[0] ?? [];
  assert.ok(spec !== undefined, name);
  const panel = { kind: "stat", title: "x", description: "", unit: "", queries: [{ expr: "nothing_at_all" }] } as const;
  const found = lintDashboard(parsed({ ...spec, uid: "other", rows: [{ title: "r", panels: [panel] }] }));
  for (const complaintOf of [/uid other/, /no description/, /no unit/, /nobody emits nothing_at_all/]) {
    assert.ok(
      found.some((line) => complaintOf.test(line)),
      String(complaintOf),
    );
  }
});

test("every alert has a runbook, a test that fires and one that does not, and says whom it is about", () => {
  const alerts = alertsOf(alertGroups(1));
  assert.deepEqual(withoutRunbook(alerts), []);
  assert.deepEqual(alertTests.map(({ alert }) => alert).toSorted(), alerts.map(({ name }) => name).toSorted());
  for (const { name, summary, description, value } of alerts) {
    assert.match(summary, /\.$/, name);
    for (const [, label = ""] of `${summary}${description}`.matchAll(/\$labels\.(\w+)/g)) {
      const kept = /by \(([^)]*)\)/.exec(value)?.[1]?.split(/, ?/) ?? ["model", "model_name", "instance"];
      assert.ok(kept.includes(label), `${name} speaks of ${label}, which ${value} drops`);
    }
  }
  const [some] = alerts;
  assert.ok(some !== undefined);
  assert.deepEqual(withoutRunbook([{ ...some, runbook: "availability.md#nothing-here" }]), [
    `${some.name}: availability.md#nothing-here`,
  ]);
});

test("what autoscalers ask names what is emitted", () => {
  const read = (name: string): string => readFileSync(join(root, "observability/autoscaling", name), "utf8");
  const asked = [...read("keda.yaml").matchAll(/^ +query: (.*)$/gm)].map(([, query = ""]) => query);
  assert.equal(asked.length, 2);
  for (const query of asked) assert.deepEqual(lintExpression("keda.yaml", query, false), []);
  const adapted = Array.from(read("prometheus-adapter.yaml").matchAll(/__name__="([^"]+)"/g), ([, name = ""]) => name);
  assert.equal(adapted.length, 2);
  for (const name of adapted) assert.deepEqual(lintExpression("prometheus-adapter.yaml", `max(${name})`, false), []);
});

test("what the containers of the compose file mount is there", () => {
  const folder = join(root, "observability/compose");
  const mounted = [...readFileSync(join(folder, "compose.yaml"), "utf8").matchAll(/^ +- (\.[^:]*):/gm)];
  assert.ok(mounted.length >= 6);
  for (const [, path = ""] of mounted) assert.ok(existsSync(join(folder, path)), path);
});

test("the console has a way out of every outcome that is an error, on a page that is there", () => {
  for (const outcome of outcomes) {
    const way = remedy(outcome);
    if (outcome === "ok" || outcome === "client_gone") {
      assert.equal(way, null, outcome);
      continue;
    }
    const [file = "", anchor = ""] = (way?.[1] ?? "").split("#");
    const headings = readFileSync(join(root, file), "utf8").matchAll(/^## (.*)$/gm);
    const sections = Array.from(headings, ([, heading = ""]) => anchorOf(heading));
    assert.ok(anchor === "" || sections.includes(anchor), `${outcome}: ${file}#${anchor}`);
  }
});

test("outcomes are sorted into ours, the client's and good ones without a rest", () => {
  assert.deepEqual([...badOutcomes, ...clientOutcomes, "ok"].toSorted(), [...outcomes].toSorted());
});

test("the objective of the first token is a bucket's bound", () => {
  const { buckets } = metricCatalogue.lmstack_time_to_first_token_seconds;
  assert.ok(buckets.includes(objectives.ttftSeconds));
  assert.ok(!Number.isInteger(objectives.ttftSeconds), "a whole bound is written with .0");
});

test("durations are written as Prometheus reads them, and shorter for a test", () => {
  assert.deepEqual(
    [300, 3_600, 86_400, 90].map((seconds) => duration(seconds, 1)),
    ["5m", "1h", "1d", "90s"],
  );
  assert.deepEqual([duration(300, 60), duration(120, 240)], ["5s", "500ms"]);
});

test("generated files are those of their TypeScript, in the chart too", () => {
  const stale = observabilityFiles.filter(([path, generate]) => readFileSync(join(root, path), "utf8") !== generate());
  assert.deepEqual(
    stale.map(([path]) => path),
    [],
    "node scripts/docs.ts",
  );
});
