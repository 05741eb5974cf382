// /metrics as text, in both formats, letter by letter.
import assert from "node:assert/strict";
import { test } from "node:test";
import { contentTypes, formatFor } from "../../src/observe/exposition.ts";
import { MetricsRegistry } from "../../src/observe/registry.ts";
import { get } from "../helpers/http-client.ts";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";

/** Lines of one family. */
function family(text: string, name: string): string[] {
  return text.split("\n").filter((line) => line.includes(name));
}

test("counters, gauges and histograms in the format of Prometheus", () => {
  const registry = new MetricsRegistry({ legacy: false });
  registry.value("lmstack_requests_total").child('a "b"\\c\nd', "chat", "ok").value = 3;
  registry.value("lmstack_draining").child().value = 1;
  registry.distribution("lmstack_engine_connect_seconds").child().observe(0.02);
  const text = registry.render();
  assert.deepEqual(family(text, "lmstack_requests_total"), [
    "# HELP lmstack_requests_total Requests for an engine that ended, by how they ended.",
    "# TYPE lmstack_requests_total counter",
    'lmstack_requests_total{model="a \\"b\\"\\\\c\\nd",api="chat",outcome="ok"} 3',
  ]);
  assert.equal(family(text, "lmstack_draining").at(-1), "lmstack_draining 1");
  const buckets = family(text, "lmstack_engine_connect_seconds");
  assert.ok(buckets.includes('lmstack_engine_connect_seconds_bucket{le="0.01"} 0'));
  assert.ok(buckets.includes('lmstack_engine_connect_seconds_bucket{le="0.025"} 1'));
  assert.ok(buckets.includes('lmstack_engine_connect_seconds_bucket{le="1.0"} 1'), "as vLLM writes it");
  assert.deepEqual(buckets.slice(-3), [
    'lmstack_engine_connect_seconds_bucket{le="+Inf"} 1',
    "lmstack_engine_connect_seconds_sum 0.02",
    "lmstack_engine_connect_seconds_count 1",
  ]);
});

test("OpenMetrics names a counter's family without _total, ends with EOF, and carries the trace of a measurement", () => {
  const registry = new MetricsRegistry({ legacy: true });
  registry.value("lmstack_retries_total").child("reset").value = 2;
  const connect = registry.distribution("lmstack_engine_connect_seconds").child();
  connect.observe(0.7);
  connect.observeTraced(0.02, { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", atSeconds: 1_700_000_000.25 });
  const text = registry.render("openmetrics");
  assert.ok(text.endsWith("\n# EOF\n"));
  assert.ok(text.includes("# TYPE lmstack_retries counter\nlmstack_retries_total{"));
  assert.ok(
    text.includes(
      'lmstack_engine_connect_seconds_bucket{le="0.025"} 1 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.02 1700000000.250\n',
    ),
  );
  assert.ok(text.includes('lmstack_engine_connect_seconds_bucket{le="0.05"} 1\n'), "only the bucket it fell into");
  assert.ok(!registry.render().includes("trace_id"), "the older format has no place for it");
});

test("a scraper gets the format that it asks for", () => {
  const prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75";
  assert.equal(formatFor(prometheus), "openmetrics");
  assert.equal(formatFor("text/plain;version=0.0.4"), "prometheus");
  assert.equal(formatFor("*/*"), "prometheus");
  assert.equal(formatFor(null), "prometheus");
  assert.match(contentTypes.openmetrics, /^application\/openmetrics-text; version=1\.0\.0/);
});

test("the router answers in the format that is asked for", async (t) => {
  const engine = await startRawEngine(t);
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  const plain = await get(router.port, "/metrics");
  assert.equal(plain.header("content-type"), contentTypes.prometheus);
  assert.match(plain.text, /^# TYPE lmstack_requests_total counter$/m);
  const open = await get(router.port, "/metrics", ["accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1"]);
  assert.equal(open.header("content-type"), contentTypes.openmetrics);
  assert.match(open.text, /^# TYPE lmstack_requests counter$/m);
  assert.ok(open.text.endsWith("# EOF\n"));
});

test("without --legacy-metrics no name of production-stack is there", () => {
  const text = new MetricsRegistry({ legacy: false }).render();
  assert.ok(!/^# TYPE (vllm:|router_)/m.test(text));
  assert.ok(/^# TYPE vllm:current_qps gauge$/m.test(new MetricsRegistry({ legacy: true }).render()));
});
