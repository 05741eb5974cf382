// How the router is let in: the service account of its pod, kubeconfigs, exec plug-ins; and what it costs those who don't
// need any of it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { credentials } from "../../../src/fleet/discovery/kubernetes/access.ts";
import { temporaryFile } from "../../helpers/files.ts";
import { kubeconfigFor } from "./api-server.ts";

const none = { kubeconfigFile: null, context: null, apiServer: null };

const authorization = async (source: ReturnType<typeof credentials>): Promise<unknown> => {
  const { headers } = (await source.read()).options;
  const fields = Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value as unknown] as const);
  return new Map(fields).get("authorization");
};

test("in a pod the service account's token is read anew for each request, since it is renewed under way", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "lmstack-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "token"), "first\n");
  writeFileSync(join(folder, "ca.crt"), "PEM");
  const source = credentials({ ...none, apiServer: "https://10.96.0.1:443", serviceAccountFolder: folder });
  const { server, options } = await source.read();
  assert.equal(server, "https://10.96.0.1:443");
  assert.equal(String(options.ca), "PEM");
  assert.equal(await authorization(source), "Bearer first");
  writeFileSync(join(folder, "token"), "second");
  assert.equal(await authorization(source), "Bearer second");
});

test("a kubeconfig is taken before the service account", async (t) => {
  const kubeconfigFile = kubeconfigFor(t, "http://127.0.0.1:9/base/", { token: "from-file" });
  const source = credentials({ ...none, kubeconfigFile, apiServer: "https://10.96.0.1:443" });
  assert.equal((await source.read()).server, "http://127.0.0.1:9/base");
  assert.equal(await authorization(source), "Bearer from-file");
});

test("an exec plug-in is asked for a token, and again when the token was refused", async (t) => {
  const state = temporaryFile(t, "count", "0");
  const plugin = temporaryFile(
    t,
    "plugin.mjs",
    `import { readFileSync, writeFileSync } from "node:fs";
    const count = Number(readFileSync(${JSON.stringify(state)}, "utf8")) + 1;
    writeFileSync(${JSON.stringify(state)}, String(count));
    const status = { token: "token-" + count };
    console.log(JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status }));`,
  );
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: process.execPath, args: [plugin] };
  const source = credentials({ ...none, kubeconfigFile: kubeconfigFor(t, "http://127.0.0.1:9", { exec }) });
  assert.equal(await authorization(source), "Bearer token-1");
  assert.equal(await authorization(source), "Bearer token-1");
  source.forget();
  assert.equal(await authorization(source), "Bearer token-2");
});

test("a context that is not there is said with those that are", async (t) => {
  const kubeconfigFile = kubeconfigFor(t, "http://127.0.0.1:9");
  await assert.rejects(credentials({ ...none, kubeconfigFile, context: "production" }).read(), {
    message: "the kubeconfig has no context production; known are test",
  });
});

test("a kubeconfig that is wrong may be put right while the router runs", async (t) => {
  const kubeconfigFile = temporaryFile(t, "kubeconfig", "nonsense: [");
  const source = credentials({ ...none, kubeconfigFile });
  await assert.rejects(source.read());
  const server = "https://127.0.0.1:9";
  writeFileSync(
    kubeconfigFile,
    JSON.stringify({
      clusters: [{ name: "c", cluster: { server } }],
      users: [{ name: "u", user: {} }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
  assert.equal((await source.read()).server, server);
});

const run = promisify(execFile);

/** Runs a script in a process of its own, without the variables and the home of this one. */
async function alone(script: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "lmstack-test-"));
  try {
    const env = { PATH: process.env["PATH"], HOME: folder };
    return (await run(process.execPath, ["--input-type=module", "-e", script], { env })).stdout.trim();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const access = JSON.stringify(new URL("../../../src/fleet/discovery/kubernetes/access.ts", import.meta.url).href);
const router = JSON.stringify(new URL("../../../src/proxy/start-router.ts", import.meta.url).href);

test("where nothing says how to reach a cluster, the ways to say it are named", async () => {
  const said = await alone(
    `const { credentials } = await import(${access});
    const source = credentials({ kubeconfigFile: null, context: null, apiServer: null });
    await source.read().catch((error) => console.log(error.message));`,
  );
  assert.match(said, /^no API server is configured: give --kubeconfig FILE, or run in a pod/);
});

test("the client library is not loaded by a router that looks for no pods", async () => {
  const said = await alone(
    `import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context); } });
    await import(${router});
    console.log(loaded.length > 50, loaded.some((url) => url.includes("@kubernetes")));`,
  );
  assert.equal(said, "true false");
});
