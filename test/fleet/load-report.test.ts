// Reports of load in the head of an answer, as vLLM writes them, as others might, and as nobody should.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readLoadReport } from "../../src/fleet/load-report.ts";

test("vLLM's two forms say the same", () => {
  const report = { waiting: 3, kvUsage: 0.0425 };
  assert.deepEqual(
    readLoadReport("TEXT named_metrics.num_requests_waiting=3.0, named_metrics.kv_cache_usage_perc=0.0425"),
    report,
  );
  assert.deepEqual(
    readLoadReport('JSON {"named_metrics": {"num_requests_waiting": 3.0, "kv_cache_usage_perc": 0.0425}}'),
    report,
  );
  assert.deepEqual(readLoadReport("TEXT named_metrics.kv_cache_usage_perc=1e-05"), { waiting: null, kvUsage: 0.00001 });
});

test("data-parallel ranks are taken together: requests add up, of the shares it is the mean", () => {
  const ranks = [
    "named_metrics.num_requests_waiting=1.0",
    "named_metrics.num_requests_waiting=4.0",
    "named_metrics.kv_cache_usage_perc=0.25",
    "named_metrics.kv_cache_usage_perc=0.75",
  ];
  assert.deepEqual(readLoadReport(`TEXT ${ranks.join(", ")}`), { waiting: 5, kvUsage: 0.5 });
});

test("what others add or call otherwise does no harm", () => {
  assert.deepEqual(readLoadReport("text cpu_utilization=0.3,named_metrics.num_requests_waiting=2,rps_fractional=10"), {
    waiting: 2,
    kvUsage: null,
  });
  assert.deepEqual(readLoadReport('JSON {"cpuUtilization": 0.3, "namedMetrics": {"kv_cache_utilization": 7}}'), {
    waiting: null,
    kvUsage: 1,
  });
});

test("what can't be read is no report", () => {
  for (const value of [
    "",
    "TEXT",
    "TEXT ",
    "named_metrics.num_requests_waiting=3.0",
    "BIN CZqZmZmZmbk/",
    "TEXT named_metrics.num_requests_waiting=many",
    "TEXT named_metrics.num_requests_waiting=-1, named_metrics.kv_cache_usage_perc=nan",
    "TEXT num_requests_waiting=3",
    "JSON {",
    "JSON null",
    "JSON []",
    'JSON {"named_metrics": null}',
    'JSON {"named_metrics": {"num_requests_waiting": "3"}}',
    'JSON {"named_metrics": {"num_requests_waiting": 1e999}}',
    `TEXT ${"x=1, ".repeat(2000)}named_metrics.num_requests_waiting=3`,
  ])
    assert.equal(readLoadReport(value), null, value.slice(0, 80));
});

test("no text makes it throw, or say what can't be", () => {
  const part = fc.constantFrom(
    "TEXT ",
    "JSON ",
    "named_metrics",
    ".",
    "num_requests_waiting",
    "=",
    "1",
    "{",
    "}",
    '"',
    ":",
    ",",
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(part, fc.string({ maxLength: 4 })), { maxLength: 24 }), (parts) => {
      const report = readLoadReport(parts.join(""));
      if (report === null) return;
      assert.ok((report.waiting ?? 0) >= 0 && (report.kvUsage ?? 0) >= 0 && (report.kvUsage ?? 0) <= 1);
    }),
    { numRuns: 2000 },
  );
});
