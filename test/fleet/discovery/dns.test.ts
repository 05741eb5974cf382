// Engines by DNS, against a real resolver and a DNS server of the test.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ManualClock } from "../../../src/clock.ts";
import { DnsSource } from "../../../src/fleet/discovery/dns.ts";
import { get, post } from "../../helpers/http-client.ts";
import { startRawEngine } from "../../helpers/raw-engine.ts";
import { startTestRouter } from "../../helpers/router.ts";
import { turns, until } from "../../helpers/until.ts";
import { a, aaaa, srv, startDnsServer, type DnsServer } from "./dns-server.ts";

interface Followed {
  readonly server: DnsServer;
  readonly clock: ManualClock;
  readonly source: DnsSource;
  readonly failures: string[];
  readonly complaints: string[];
  readonly recoveries: string[];
  /** URLs of the last set; null = none was published. */
  urls(): string | null;
  shows(urls: string): Promise<void>;
  /** Waits until it has nothing to do before time passes. */
  rests(): Promise<void>;
}

async function follow(t: TestContext, names: string[], prepare: (server: DnsServer) => void): Promise<Followed> {
  const server = await startDnsServer(t);
  prepare(server);
  const clock = new ManualClock();
  let last: string | null = null;
  const failures: string[] = [];
  const complaints: string[] = [];
  const recoveries: string[] = [];
  const source = new DnsSource({
    names,
    servers: [server.address],
    refreshMs: 30_000,
    clock,
    random: () => 0.5,
    events: {
      publish: ({ endpoints }) => (last = endpoints.map(({ url }) => url).join(" ")),
      failed: (problem) => failures.push(problem),
      complain: (text) => complaints.push(text),
      recovered: (text) => recoveries.push(text),
    },
  });
  t.after(() => source.stop());
  return {
    server,
    clock,
    source,
    failures,
    complaints,
    recoveries,
    urls: () => last,
    shows: (urls) => until(() => last === urls, `${urls} is there`),
    rests: () => until(() => clock.pending === names.length, "it waits for the next look"),
  };
}

test("all addresses of a name are engines, of both families, on its port", async (t) => {
  const { server, shows, clock, rests } = await follow(t, ["engines.test:9000"], ({ records }) =>
    records.set("engines.test", [a("10.0.0.2"), a("10.0.0.1"), aaaa("fd00::1")]),
  );
  await shows("http://10.0.0.1:9000 http://10.0.0.2:9000 http://[fd00::1]:9000");
  await rests();
  server.records.set("engines.test", [a("10.0.0.3")]);
  clock.advance(4_990);
  await turns(20);
  assert.equal(server.asked.length, 2, "not before the records end");
  clock.advance(20);
  await shows("http://10.0.0.3:9000");
});

test("without a port it is 8000, and a final dot changes nothing", async (t) => {
  const { shows } = await follow(t, ["engines.test."], ({ records }) => records.set("engines.test", [a("10.0.0.1")]));
  await shows("http://10.0.0.1:8000");
});

test("hosts and ports of SRV records with the best priority are engines", async (t) => {
  const { server, shows, clock, rests } = await follow(t, ["_http._tcp.engines.test"], ({ records }) => {
    records.set("_http._tcp.engines.test", [srv("one.test", 8001), srv("two.test", 8002), srv("spare.test", 1, 10)]);
    records.set("one.test", [a("10.0.0.1", 60)]);
    records.set("two.test", [a("10.0.0.2", 2), aaaa("fd00::2", 60)]);
    records.set("spare.test", [a("10.0.0.9")]);
  });
  await shows("http://10.0.0.1:8001 http://10.0.0.2:8002 http://[fd00::2]:8002");
  assert.ok(!server.asked.some((question) => question.includes("spare")));
  await rests();
  server.records.set("_http._tcp.engines.test", [srv("one.test", 8001)]);
  clock.advance(2_000);
  await shows("http://10.0.0.1:8001");
});

test("a TTL of hours waits for thirty seconds, one of nothing for a second", async (t) => {
  for (const [ttl, waits] of [
    [7200, 30_000],
    [0, 1_000],
  ] as const) {
    const { server, clock, rests, source } = await follow(t, ["engines.test"], ({ records }) =>
      records.set("engines.test", [a("10.0.0.1", ttl)]),
    );
    await rests();
    clock.advance(waits - 10);
    await turns(20);
    assert.equal(server.asked.length, 2);
    clock.advance(20);
    await until(() => server.asked.length === 4, "it is asked again");
    source.stop();
  }
});

test("a server that fails or falls silent changes nothing, and is told once", async (t) => {
  const { server, clock, rests, shows, urls, source, complaints, failures, recoveries } = await follow(
    t,
    ["engines.test"],
    ({ records }) => records.set("engines.test", [a("10.0.0.1", 1)]),
  );
  await shows("http://10.0.0.1:8000");
  await rests();
  server.failure = "servfail";
  clock.advance(1_000);
  await until(() => complaints.length === 1, "it complains");
  assert.match(complaints[0] ?? "", /^DNS engines\.test: query\w+ ESERVFAIL engines\.test$/);
  assert.equal(source.problem, complaints[0]);
  assert.notEqual(source.staleSinceMs, null);
  for (let i = 0; i < 3; i++) {
    await rests();
    clock.advance(5_000);
  }
  await until(() => failures.length >= 3, "it goes on trying");
  assert.equal(complaints.length, 1);
  assert.equal(urls(), "http://10.0.0.1:8000");
  server.failure = null;
  server.records.set("engines.test", [a("10.0.0.2", 1)]);
  await until(() => {
    clock.advance(100);
    return urls() === "http://10.0.0.2:8000";
  }, "it is answered again");
  assert.equal(source.staleSinceMs, null);
  assert.deepEqual(recoveries, ["DNS engines.test: answered again"]);
});

test("an answer that nothing is there any more is believed the second time", async (t) => {
  const { server, clock, rests, shows, urls } = await follow(t, ["engines.test"], ({ records }) =>
    records.set("engines.test", [a("10.0.0.1", 1)]),
  );
  await shows("http://10.0.0.1:8000");
  await rests();
  server.records.delete("engines.test");
  clock.advance(1_000);
  await until(() => server.asked.length === 4, "it is asked");
  await rests();
  assert.equal(urls(), "http://10.0.0.1:8000");
  clock.advance(1_000);
  await shows("");
  server.records.set("engines.test", [a("10.0.0.5", 1)]);
  await rests();
  clock.advance(1_000);
  await shows("http://10.0.0.5:8000");
});

test("a name that does not exist is an answer", async (t) => {
  const { urls } = await follow(t, ["absent.test"], () => undefined);
  await until(() => urls() === "", "nothing is there, for certain");
});

test("several names are one set, published when each was answered", async (t) => {
  const { server, clock, urls, shows, complaints } = await follow(t, ["one.test", "two.test"], (dns) => {
    dns.failing = "A";
    dns.records.set("one.test", [a("10.0.0.1")]);
    dns.records.set("two.test", [aaaa("fd00::2")]);
  });
  await until(() => server.asked.length === 4 && clock.pending === 2, "both were asked");
  // of one of them nothing is known, since its only family can't be asked
  assert.equal(urls(), null);
  assert.equal(complaints.length, 1);
  server.failing = null;
  clock.advance(30_000);
  await shows("http://10.0.0.1:8000 http://[fd00::2]:8000");
});

test("one family that can't be asked leaves its addresses as they were", async (t) => {
  const { server, clock, rests, shows } = await follow(t, ["engines.test"], ({ records }) =>
    records.set("engines.test", [a("10.0.0.1", 1), aaaa("fd00::1", 1)]),
  );
  await shows("http://10.0.0.1:8000 http://[fd00::1]:8000");
  await rests();
  server.failing = "AAAA";
  server.records.set("engines.test", [a("10.0.0.2", 1)]);
  clock.advance(1_000);
  await shows("http://10.0.0.2:8000 http://[fd00::1]:8000");
});

test("G2: a router finds its engines by DNS, follows them, and is ready when the first answer is there", async (t) => {
  const engine = await startRawEngine(t);
  const server = await startDnsServer(t);
  server.failure = "servfail";
  const argv = ["--service-discovery", "dns", "--dns-names", `engines.test:${engine.port}`];
  const router = await startTestRouter(t, [...argv, "--dns-servers", server.address], { early: true });
  await until(() => router.metric('lmstack_discovery_failures_total{reason="unreachable"}') > 0, "it was not told");
  const early = await get(router.port, "/ready");
  assert.equal(early.status, 503);
  assert.match(early.text, /waiting for the first list of endpoints: DNS engines\.test:\d+: queryA/);
  server.records.set("engines.test", [a("127.0.0.1")]);
  server.failure = null;
  await until(() => router.context.registry.serving("test-model") !== undefined, "its model is known");
  assert.equal((await get(router.port, "/ready")).status, 200);
  assert.equal((await post(router.port, "/v1/completions", { model: "test-model", prompt: "x" })).status, 200);
});
