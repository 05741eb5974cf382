// Lists and watches against a server that plays back what a real one said, cut wherever bytes can be cut, and against one
// that goes away, forgets, refuses and falls silent.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ManualClock } from "../../../src/clock.ts";
import { kubernetesApi } from "../../../src/fleet/discovery/kubernetes/api.ts";
import { JsonLines } from "../../../src/fleet/discovery/kubernetes/json-lines.ts";
import { ListWatch, type KubernetesObject } from "../../../src/fleet/discovery/kubernetes/list-watch.ts";
import { collectionOf } from "../../../src/fleet/discovery/kubernetes/rights.ts";
import { turns, until } from "../../helpers/until.ts";
import { ApiServer, answer, event, openWatch, pod, podList, recorded, startApiServer } from "./api-server.ts";

interface Followed {
  readonly server: ApiServer;
  readonly clock: ManualClock;
  readonly watch: ListWatch<string>;
  readonly failures: string[];
  readonly complaints: string[];
  readonly recoveries: string[];
  /** How often it said that the copy has changed. */
  changes(): number;
  /** Names of what is there now. */
  names(): string;
  /** Lets time pass, in steps, until it is so. */
  pass(ms: number, condition: () => boolean, what: string): Promise<void>;
  /** Waits without time passing. */
  shows(names: string): Promise<void>;
}

async function follow(
  t: TestContext,
  prepare: (server: ApiServer) => void = () => undefined,
  options: { readonly watchTimeoutMs?: number; readonly reduce?: (object: KubernetesObject) => string } = {},
): Promise<Followed> {
  const server = await startApiServer(t);
  prepare(server);
  const clock = new ManualClock();
  const failures: string[] = [];
  const complaints: string[] = [];
  const recoveries: string[] = [];
  let forgotten = 0;
  let changes = 0;
  const read = async () => ({
    server: server.url,
    options: { headers: { authorization: `Bearer token-${forgotten}` } },
  });
  const watch = new ListWatch<string>({
    api: kubernetesApi({ read, forget: () => forgotten++ }),
    collection: collectionOf("pods", "default"),
    labelSelector: "app=engine",
    watchTimeoutMs: options.watchTimeoutMs ?? 0,
    clock,
    random: () => 0.5,
    reduce: options.reduce ?? (({ metadata }) => metadata.name),
    onChange: () => changes++,
    onFailure: (problem) => failures.push(problem),
    onComplaint: (text) => complaints.push(text),
    onRecovery: (text) => recoveries.push(text),
  });
  t.after(() => watch.stop());
  const names = (): string => watch.values().join(" ");
  return {
    server,
    clock,
    watch,
    failures,
    complaints,
    recoveries,
    changes: () => changes,
    names,
    async pass(ms, condition, what) {
      for (let passed = 0; passed < ms && !condition(); passed += 50) {
        clock.advance(50);
        await turns(20);
      }
      await until(condition, what);
    },
    shows: (wanted) => until(() => watch.synced && names() === wanted, `"${wanted}" is there, not "${names()}"`),
  };
}

const two = podList([pod({ name: "a" }), pod({ name: "b" })], 10);

test("a recorded watch is followed to the state that the server then lists", async (t) => {
  // what the server lists afterwards is the judge; versions differ by what happened to others
  const summary = ({ metadata }: KubernetesObject): string =>
    JSON.stringify([metadata.name, metadata.uid, metadata.resourceVersion, metadata.labels]);
  const { server, watch } = await follow(t, () => undefined, { reduce: summary });
  await until(() => server.watches.length === 1, "it watches");
  server.watch.response.end(recorded.watch.body);
  const wanted = (JSON.parse(recorded.lateList.body) as { items: KubernetesObject[] }).items.map(summary).sort();
  await until(
    () => JSON.stringify([...watch.values()].sort()) === JSON.stringify(wanted),
    "the copy is what the server lists",
  );
});

test("the list asks for pages, the watch goes on from the list's version, both with the selector", async (t) => {
  const { server, shows } = await follow(t, (api) => {
    api.onList = (request) =>
      answer(request, request.query.get("continue") === null ? recorded.firstPage : recorded.secondPage);
  });
  await shows("engine-a engine-b");
  await until(() => server.watches.length === 1, "it watches");
  assert.equal(server.lists.length, 2);
  const version = (JSON.parse(recorded.firstPage.body) as { metadata: { resourceVersion: string } }).metadata;
  const { query, path } = server.watch;
  assert.equal(path, "/api/v1/namespaces/default/pods");
  assert.equal(query.get("resourceVersion"), version.resourceVersion);
  assert.equal(query.get("allowWatchBookmarks"), "true");
  assert.equal(query.get("timeoutSeconds"), "450");
  assert.ok([...server.lists, server.watch].every((request) => request.query.get("labelSelector") === "app=engine"));
});

test("a recorded watch is the same lines wherever its bytes are cut", () => {
  const bytes = Buffer.from(recorded.watch.body);
  const whole = recorded.watch.body.split("\n").filter((line) => line !== "");
  assert.match(recorded.watch.body, /für später ✓/, "characters of several bytes are among them");
  for (let cut = 0; cut <= bytes.length; cut++) {
    // only the lines around the cut can differ
    const from = bytes.lastIndexOf(0x0a, Math.max(0, cut - 2)) + 1;
    const next = bytes.indexOf(0x0a, cut);
    const end = next < 0 ? bytes.length : next + 1;
    const lines = new JsonLines();
    const got = [...lines.push(bytes.subarray(from, cut)), ...lines.push(bytes.subarray(cut, end))];
    const wanted = bytes
      .toString("utf8", from, end)
      .split("\n")
      .filter((line) => line !== "");
    assert.deepEqual(got, wanted, `cut at ${cut}`);
  }
  const lines = new JsonLines();
  const single = Array.from(bytes, (_, at) => lines.push(bytes.subarray(at, at + 1))).flat();
  assert.deepEqual(single, whole);
});

test("a line without an end is not kept for ever", () => {
  const lines = new JsonLines();
  const piece = Buffer.alloc(1024 * 1024, 0x20);
  assert.throws(() => {
    for (let i = 0; i < 20; i++) lines.push(piece);
  }, /more than/);
});

test("a watch that ends in the middle of an event goes on from the last whole one", async (t) => {
  const { server, shows, pass } = await follow(t, (api) => (api.onList = (request) => answer(request, two)));
  await until(() => server.watches.length === 1, "it watches");
  const half = event("ADDED", pod({ name: "d", version: 12 })).slice(0, 90);
  server.watch.response.end(event("ADDED", pod({ name: "c", version: 11 })) + half);
  await shows("a b c");
  await pass(2000, () => server.watches.length === 2, "it watches again");
  assert.equal(server.watch.query.get("resourceVersion"), "11");
  assert.equal(server.lists.length, 1, "nothing was listed again");
  server.watch.response.write(event("ADDED", pod({ name: "d", version: 12 })));
  await shows("a b c d");
});

test("bookmarks move the version on, so that an old watch is not too old", async (t) => {
  const { server, pass } = await follow(t, (api) => (api.onList = (request) => answer(request, two)));
  await until(() => server.watches.length === 1, "it watches");
  server.watch.response.end(event("BOOKMARK", { kind: "Pod", metadata: { resourceVersion: "900" } }));
  await pass(2000, () => server.watches.length === 2, "it watches again");
  assert.equal(server.watch.query.get("resourceVersion"), "900");
});

for (const [how, expire] of [
  ["as an event", (request) => openWatch(request) ?? request.response.end(recorded.expiredWatch.body)],
  ["as a status", (request) => answer(request, recorded.expiredPage)],
] as const satisfies [string, ApiServer["onWatch"]][]) {
  test(`a version that the server has forgotten (410 ${how}) ends in a new list, without ghosts`, async (t) => {
    const { server, shows, pass, failures, complaints } = await follow(t, (api) => {
      api.onList = (request) => answer(request, two);
      api.onWatch = expire;
    });
    await until(() => server.watches.length === 1, "it watches");
    // while nobody watched, b went and c came
    server.onList = (request) => answer(request, podList([pod({ name: "a" }), pod({ name: "c" })], 50));
    server.onWatch = openWatch;
    await pass(2000, () => server.watches.length === 2, "it watches again");
    await shows("a c");
    assert.equal(server.watch.query.get("resourceVersion"), "50");
    assert.deepEqual(failures, ["expired"]);
    assert.deepEqual(complaints, [], "it is nothing that anybody has to do something about");
  });
}

test("a list whose next page has expired begins anew", async (t) => {
  let pages = 0;
  const { server, shows, pass } = await follow(t, (api) => {
    api.onList = (request) => {
      pages++;
      if (request.query.get("continue") !== null) answer(request, recorded.expiredPage);
      else answer(request, pages === 1 ? recorded.firstPage : two);
    };
  });
  await pass(2000, () => server.watches.length === 1, "it got through");
  await shows("a b");
});

test("a server that always says 410 is not asked in a tight loop", async (t) => {
  const { server, clock } = await follow(t, (api) => {
    api.onList = (request) => answer(request, two);
    api.onWatch = (request) => answer(request, recorded.expiredPage);
  });
  for (let i = 0; i < 200; i++) {
    clock.advance(50);
    await turns(10);
  }
  assert.ok(server.lists.length > 5 && server.lists.length < 30, `${server.lists.length} lists in 10 s`);
});

test("a watch that falls silent is begun anew, and what was missed comes after all", async (t) => {
  const { server, clock, shows, failures, watch } = await follow(t, (api) => (api.onList = (r) => answer(r, two)));
  await until(() => server.watches.length === 1 && watch.staleSinceMs === null, "it watches");
  clock.advance(149_000);
  await turns(50);
  assert.equal(server.watches.length, 1);
  // any byte is a sign of life
  server.watch.response.write(event("BOOKMARK", { kind: "Pod", metadata: { resourceVersion: "11" } }));
  await until(() => clock.pending === 1, "the watchdog waits again");
  await turns(50);
  clock.advance(149_000);
  await turns(50);
  assert.equal(server.watches.length, 1);
  clock.advance(2_000);
  await until(() => failures.length === 1, "the silence is noticed");
  clock.advance(1_000);
  await until(() => server.watches.length === 2, "it watches again");
  assert.equal(server.watch.query.get("resourceVersion"), "11");
  assert.equal(server.watches[0]?.gone, true, "the silent one is left");
  assert.deepEqual(failures, ["silent"]);
  server.watch.response.write(event("DELETED", pod({ name: "a", version: 12 })));
  await shows("b");
});

test("everything is listed again once in a while, whatever the watches say", async (t) => {
  const { server, clock, shows, pass, watch } = await follow(t, (api) => (api.onList = (r) => answer(r, two)));
  const live = async (minutes: number): Promise<void> => {
    const watches = server.watches.length;
    await until(() => watch.staleSinceMs === null, "it watches");
    for (let minute = 0; minute < minutes; minute++) {
      server.watch.response.write(event("BOOKMARK", { kind: "Pod", metadata: { resourceVersion: "11" } }));
      await turns(50);
      clock.advance(60_000);
    }
    server.watch.response.end();
    await pass(1000, () => server.watches.length === watches + 1, "it watches again");
  };
  await until(() => server.watches.length === 1, "it watches");
  await live(9);
  assert.equal(server.lists.length, 1);
  server.onList = (request) => answer(request, podList([pod({ name: "a" })], 20));
  await live(9);
  assert.equal(server.lists.length, 2);
  await shows("a");
});

test("a right that is missing is said by name, with the rule to add, and its return is noticed", async (t) => {
  const { server, shows, pass, complaints, recoveries, failures, watch } = await follow(t, (api) => {
    api.onList = (request) => answer(request, recorded.forbidden);
  });
  await until(() => complaints.length === 1, "it complains");
  assert.equal(
    complaints[0],
    "/api/v1/namespaces/default/pods: system:serviceaccount:recording:default may not list pods in namespace default: " +
      'add to a Role of namespace default that is bound to it the rule {apiGroups: [""], resources: [pods], verbs: [list, watch]}',
  );
  assert.equal(watch.problem, complaints[0]);
  assert.equal(watch.synced, false);
  await pass(3000, () => server.lists.length >= 4, "it goes on trying");
  assert.equal(complaints.length, 1, "it says so once");
  assert.ok(failures.every((problem) => problem === "forbidden"));
  server.onList = (request) => answer(request, two);
  await pass(2000, () => watch.problem === null, "all is well");
  await shows("a b");
  assert.deepEqual(recoveries, ["/api/v1/namespaces/default/pods: read again"]);
});

test("rights that are taken away and given back leave the last known state, then the true one", async (t) => {
  const { server, shows, pass, complaints, watch } = await follow(t, (api) => (api.onList = (r) => answer(r, two)));
  await until(() => server.watches.length === 1, "it watches");
  server.onList = server.onWatch = (request) => answer(request, recorded.forbidden);
  server.watch.response.end();
  await pass(15_000, () => complaints.length > 0, "it complains");
  assert.match(complaints[0] ?? "", /may not watch pods in namespace default/);
  await shows("a b");
  assert.notEqual(watch.staleSinceMs, null);
  server.onList = (request) => answer(request, podList([pod({ name: "c" })], 99));
  server.onWatch = (request) => answer(request, recorded.expiredPage);
  await pass(1500, () => watch.values().join() === "c", "within a second and a half the true state is there");
});

test("without the right to watch it lists every ten seconds", async (t) => {
  const { server, pass, names } = await follow(t, (api) => {
    api.onList = (request) => answer(request, two);
    api.onWatch = (request) => answer(request, recorded.forbidden);
  });
  await until(() => server.watches.length === 1, "it tried to watch");
  server.onList = (request) => answer(request, podList([pod({ name: "z" })], 11));
  await pass(12_000, () => names() === "z", "the next list is read");
  assert.equal(server.lists.length, 2);
});

test("credentials that are refused are read again", async (t) => {
  const { server, shows, pass, complaints } = await follow(t, (api) => {
    api.onList = (request) => answer(request, request.authorization === "Bearer token-1" ? two : recorded.unauthorized);
  });
  await pass(2000, () => server.lists.length === 2, "it asks with new ones");
  await shows("a b");
  assert.match(complaints[0] ?? "", /does not accept the credentials \(401\)/);
});

test("a busy server is asked again when it says", async (t) => {
  const busy = { status: 429, body: "too many" };
  const { server, clock, pass, complaints } = await follow(t, (api) => {
    api.onList = (request) => answer(request, busy, { "retry-after": "5" });
  });
  await until(() => complaints.length === 1 && clock.pending === 1, "it waits");
  server.onList = (request) => answer(request, two);
  clock.advance(4900);
  await turns(50);
  assert.equal(server.lists.length, 1);
  await pass(200, () => server.lists.length === 2, "it asks");
});

for (const [what, body] of [
  ["half a JSON document", '{"kind":"PodList","items":['],
  ["a proxy's page", "<html>please log in</html>"],
  ["another object", '{"kind":"Status"}'],
  ["an empty answer", ""],
] as const) {
  test(`${what} instead of a list leaves what was there`, async (t) => {
    const { server, pass, complaints, names } = await follow(t, (api) => {
      api.onList = (request) => answer(request, two);
      api.onWatch = (request) => answer(request, recorded.expiredPage);
    });
    await until(() => server.watches.length === 1, "it watches");
    server.onList = (request) => answer(request, { status: 200, body });
    await pass(3000, () => complaints.length > 0, "it complains");
    assert.equal(names(), "a b");
    server.onWatch = openWatch;
    server.onList = (request) => answer(request, podList([pod({ name: "c" })], 30));
    await pass(3000, () => names() === "c", "and then reads the true one");
  });
}

test("nonsense in a watch is answered with a new list", async (t) => {
  for (const line of [
    "nonsense\n",
    "{}\n",
    '{"type":"ADDED"}\n',
    '{"type":"NEWS","object":{"metadata":{"name":"x","resourceVersion":"5"}}}\n',
  ]) {
    const { server, pass, failures, watch } = await follow(t, (api) => (api.onList = (r) => answer(r, two)));
    await until(() => server.watches.length === 1, "it watches");
    server.watch.response.write(line);
    await pass(3000, () => server.lists.length === 2 && server.watches.length === 2, `it listed again after ${line}`);
    assert.deepEqual(failures, ["bad_data"]);
    watch.stop();
  }
});

test("what came before an error in the same bytes is told", async (t) => {
  // the change stood in the copy, and nobody heard of it until the next one
  const { server, pass, changes, names, failures } = await follow(t, (api) => (api.onList = (r) => answer(r, two)));
  await until(() => server.watches.length === 1, "it watches");
  assert.equal(changes(), 1);
  const broken = event("ERROR", { kind: "Status", code: 500, message: "etcdserver: leader changed" });
  server.watch.response.write(event("DELETED", pod({ name: "a", version: 11 })) + broken);
  await pass(2000, () => server.watches.length === 2, "it watches again");
  assert.equal(names(), "b");
  assert.equal(changes(), 2);
  assert.deepEqual(failures, ["server_error"]);
  assert.equal(server.lists.length, 1);
});

test("a server that goes and comes back: nothing changes, then the truth is there within two seconds", async (t) => {
  const { server, clock, pass, names, complaints, recoveries, watch } = await follow(t, (api) => {
    api.onList = (request) => answer(request, two);
  });
  await until(() => watch.staleSinceMs === null, "it watches");
  const port = Number(new URL(server.url).port);
  await server.close();
  for (let i = 0; i < 30 * 20; i++) {
    clock.advance(50);
    await turns(5);
  }
  assert.equal(names(), "a b");
  assert.equal(complaints.length, 1);
  assert.match(complaints[0] ?? "", /ECONNREFUSED/);
  assert.ok(clock.nowMs() - (watch.staleSinceMs ?? 0) > 25_000);
  const back = new ApiServer();
  back.onList = (request) => answer(request, podList([pod({ name: "b" }), pod({ name: "c" })], 77));
  // its memory begins with its start
  back.onWatch = (request) => {
    if (request.query.get("resourceVersion") === "77") openWatch(request);
    else answer(request, recorded.expiredPage);
  };
  await back.listen(port);
  t.after(() => back.close());
  await pass(2000, () => names() === "b c", "the truth is there");
  assert.equal(recoveries.length, 1);
});

test("a watch that breaks off once is no news for the log", async (t) => {
  const { server, pass, complaints, failures } = await follow(t, (api) => (api.onList = (r) => answer(r, two)));
  await until(() => server.watches.length === 1, "it watches");
  server.cut();
  await pass(2000, () => server.watches.length === 2, "it watches again");
  assert.deepEqual(failures, ["unreachable"]);
  assert.deepEqual(complaints, []);
});

test("one of the same name that came before the old one's end was told stays", async (t) => {
  const { server, shows } = await follow(t, (api) => (api.onList = (r) => answer(r, two)), {
    reduce: ({ metadata }) => metadata.uid,
  });
  await until(() => server.watches.length === 1, "it watches");
  server.watch.response.write(
    event("ADDED", pod({ name: "a", uid: "second", version: 11 })) +
      event("DELETED", pod({ name: "a", uid: "uid-a", version: 12 })),
  );
  await shows("second uid-b");
});

test("nothing goes on after the end", async (t) => {
  const { server, clock, watch } = await follow(t, (api) => (api.onList = (r) => answer(r, two)));
  await until(() => server.watches.length === 1, "it watches");
  watch.stop();
  await until(() => server.watches[0]?.gone === true, "the watch is left");
  clock.advance(600_000);
  await turns(50);
  assert.equal(server.watches.length + server.lists.length, 2);
  assert.equal(clock.pending, 0);
});
