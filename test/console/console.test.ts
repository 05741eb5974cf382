// The console's side of a real router: its files, its stream, its key, and that it costs nothing while nobody looks.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { gunzipSync } from "node:zlib";
import type { Entry, Snapshot } from "../../src/console/shapes.ts";
import { startEngine } from "../../src/engine/serve.ts";
import { temporaryFile } from "../helpers/files.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

const authorized = { headers: { authorization: "Bearer secret" } };

async function stack(t: TestContext, argv: readonly string[] = []): Promise<TestRouter> {
  const engine = await startEngine({ models: ["tiny"], preset: "fast" });
  t.after(() => engine.close());
  const keys = temporaryFile(t, "admin-keys", "secret\n");
  return startTestRouter(t, ["--static-backends", engine.url, "--console", "--admin-key-file", keys, ...argv], {
    page: "<!doctype html><title>page</title>",
  });
}

/** Reads snapshots until one satisfies; leaves then. */
async function look(router: TestRouter, satisfies: (snapshot: Snapshot) => boolean): Promise<Snapshot> {
  const response = await fetch(`${router.url}/console/events`, authorized);
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.ok(response.body !== null);
  let text = "";
  for await (const bytes of response.body) {
    text += Buffer.from(bytes).toString("utf8");
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const snapshot = JSON.parse(/^data: (.*)$/m.exec(text.slice(0, end))?.[1] ?? "null") as Snapshot;
      text = text.slice(end + 2);
      // leaving the loop closes the connection
      if (satisfies(snapshot)) return snapshot;
    }
  }
  throw new Error("the stream ended");
}

const complete = (router: TestRouter, model = "tiny"): Promise<Response> =>
  fetch(`${router.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, prompt: "x", max_tokens: 3, stream: true, stream_options: { include_usage: true } }),
  });

test("the page and what it loads come compressed, together below 150 KB, and name no other origin", async (t) => {
  const router = await stack(t);
  let bytes = 0;
  for (const path of ["/console", "/console/console.js", "/console/console.css"]) {
    const response = await fetch(router.url + path, { headers: { "accept-encoding": "gzip" } });
    assert.equal(response.status, 200, path);
    assert.equal(response.headers.get("content-encoding"), "gzip");
    bytes += Number(response.headers.get("content-length"));
    const etag = response.headers.get("etag") ?? "";
    const again = await fetch(router.url + path, { headers: { "if-none-match": etag } });
    assert.equal(again.status, 304);
  }
  assert.ok(bytes < 150_000, `${bytes} bytes`);
  const page = await fetch(`${router.url}/console`);
  assert.match(page.headers.get("content-security-policy") ?? "", /^default-src 'none'; connect-src 'self';/);
  assert.doesNotMatch(await page.text(), /https?:\/\//);
  assert.equal((await fetch(`${router.url}/console/nothing.js`)).status, 404);
});

test("HEAD is answered as GET, without the body: load balancers and monitors ask for pages so", async (t) => {
  const router = await stack(t);
  for (const path of ["/console", "/console/", "/console/console.js", "/console/nothing.js", "/", "/metrics"]) {
    const [head, whole] = await Promise.all(
      ["HEAD", "GET"].map((method) => fetch(router.url + path, { method, headers: { "accept-encoding": "identity" } })),
    );
    assert.ok(head !== undefined && whole !== undefined);
    const body = await whole.text();
    assert.equal(await head.text(), "");
    assert.equal(head.status, whole.status, path);
    for (const name of ["content-type", "etag", "content-security-policy"])
      assert.equal(head.headers.get(name), whole.headers.get(name), `${path} ${name}`);
    if (path !== "/metrics") assert.equal(head.headers.get("content-length"), String(Buffer.byteLength(body)), path);
  }
  const events = await fetch(`${router.url}/console/events`, { method: "HEAD", ...authorized });
  assert.equal(events.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.equal(router.context.console?.watched, false);
});

test("files that were compressed are the files", async (t) => {
  const router = await stack(t);
  const http = await import("node:http");
  const zipped = await new Promise<Buffer>((resolve, reject) => {
    http
      .get(`${router.url}/console/console.css`, { headers: { "accept-encoding": "gzip" } }, (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () => resolve(Buffer.concat(parts)));
      })
      .on("error", reject);
  });
  const plain = await fetch(`${router.url}/console/console.css`, { headers: { "accept-encoding": "identity" } });
  assert.equal(gunzipSync(zipped).toString(), await plain.text());
});

test("what happens in the router is in the stream: endpoints, ended requests with their reason, errors", async (t) => {
  const router = await stack(t);
  await (await complete(router)).text();
  assert.equal((await complete(router, "nope")).status, 404);
  const snapshot = await look(router, ({ ended }) => ended.length === 2);
  const [endpoint] = snapshot.endpoints;
  assert.deepEqual([endpoint?.state, endpoint?.models, endpoint?.ttftMs.length], ["ready", ["tiny"], 1]);
  const [good, bad] = snapshot.ended;
  assert.deepEqual(
    [good?.outcome, good?.status, good?.reason, good?.endpoint, good?.generatedTokens, good?.error],
    ["ok", 200, "only_candidate", endpoint?.id, 3, null],
  );
  assert.deepEqual([bad?.outcome, bad?.status, bad?.endpoint], ["client_error", 404, null]);
  assert.match(bad?.error ?? "", /nope/);
  assert.deepEqual(
    snapshot.errors.map(({ requestId }) => requestId),
    [bad?.requestId],
  );
  assert.equal(snapshot.policy, "prefixaware");
});

test("a refusal of the engine's own is an error too, and no good end", async (t) => {
  // it was shown as a good one: only errors in the router's own words counted
  const router = await stack(t);
  const refused = await fetch(`${router.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", prompt: "x", max_tokens: -1 }),
  });
  assert.equal(refused.status, 400);
  const { errors } = await look(router, ({ ended }) => ended.length === 1);
  assert.deepEqual(
    errors.map(({ outcome, error }) => [outcome, error]),
    [["client_error", "The engine answered 400."]],
  );
});

test("while somebody looks, choices come with what each candidate would have cost, and engines with their own figures", async (t) => {
  const engines = await Promise.all([0, 1].map(() => startEngine({ models: ["tiny"], preset: "fast" })));
  for (const engine of engines) t.after(() => engine.close());
  const router = await startTestRouter(t, [
    "--static-backends",
    engines.map(({ url }) => url).join(","),
    "--engine-stats-interval",
    "0.05",
    "--console",
    "--admin-key-file",
    temporaryFile(t, "admin-keys", "secret\n"),
  ]);
  await (await complete(router)).text();
  const { console: desk } = router.context;
  assert.ok(desk !== null);
  const seen: Entry[] = [];
  const looking = look(router, ({ ended, endpoints }) => {
    seen.push(...ended);
    return seen.length === 2 && endpoints.every(({ engine }) => engine !== null);
  });
  await until(() => desk.watched, "somebody looks");
  await (await complete(router)).text();
  const { endpoints } = await looking;
  const [before, after] = seen;
  assert.equal(before?.scores, null);
  const ids = endpoints.map(({ id }) => id);
  assert.deepEqual(after?.scores?.map(({ id }) => id).toSorted(), ids.toSorted());
  assert.ok(ids.includes(after?.endpoint ?? ""));
  const costs = after?.scores?.map(({ cost }) => cost) ?? [];
  assert.deepEqual(
    costs,
    costs.toSorted((a, b) => a - b),
    "the cheapest one is first",
  );
  for (const { engine } of endpoints) {
    assert.deepEqual([engine?.running, engine?.waiting], [0, 0]);
    assert.ok(engine !== null && engine.kvUsage >= 0 && engine.hitRate >= 0 && engine.ageMs >= 0);
  }
});

test("who looks is one watcher until it leaves; then nothing is made any more", async (t) => {
  const router = await stack(t);
  const { console: desk } = router.context;
  assert.ok(desk !== null);
  assert.equal(desk.watched, false);
  await look(router, () => desk.watched);
  await until(() => !desk.watched, "the watcher has left");
});

test("the configuration in force names files of keys, and never a key", async (t) => {
  const router = await stack(t);
  const response = await fetch(`${router.url}/console/configuration`, authorized);
  const text = await response.text();
  const shown = JSON.parse(text) as { dynamic: { policy: string }; adminKeyFile: { path: string } | string };
  assert.equal(shown.dynamic.policy, "prefixaware");
  assert.doesNotMatch(text, /secret/);
});

test("stream and configuration need the key of an administrator; the page, which asks for it, needs none", async (t) => {
  const router = await stack(t);
  for (const path of ["/console/events", "/console/configuration"]) {
    assert.equal((await fetch(router.url + path)).status, 401, path);
    const wrong = await fetch(router.url + path, { headers: { authorization: "Bearer wrong" } });
    assert.equal(wrong.status, 401, path);
  }
  assert.equal((await fetch(`${router.url}/console`)).status, 200);
});

test("without --console there is none", async (t) => {
  const engine = await startEngine({ models: ["tiny"], preset: "fast" });
  t.after(() => engine.close());
  const router = await startTestRouter(t, ["--static-backends", engine.url]);
  for (const path of ["/console", "/console/console.js", "/console/events", "/console/configuration"])
    assert.equal((await fetch(router.url + path)).status, 404, path);
});

test("a router that drains ends the streams of its watchers", async (t) => {
  const router = await stack(t, ["--drain-delay-seconds", "0"]);
  const response = await fetch(`${router.url}/console/events`, authorized);
  const drained = router.running.drain();
  assert.match(await response.text(), /^event: snapshot\n/);
  await drained;
});
