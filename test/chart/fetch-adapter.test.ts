// The init container that fetches a LoRA adapter, against a server that has one.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";

import { root } from "../repo/imports.ts";

const script = readFileSync(join(root, "helm/files/engine/fetch_adapter.py"), "utf8");
const skip = spawnSync("python3", ["--version"]).status === 0 ? false : "no python3 here";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "lmstack-adapter-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Serves files by path; keeps the headers that it was asked with. */
async function serve(t: TestContext, files: Readonly<Record<string, string | Buffer>>) {
  const asked: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    asked.push(request.headers);
    const content = files[request.url ?? ""];
    if (content === undefined) response.writeHead(404).end();
    else response.end(content);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function fetchAdapter(source: object, to: string, env: Readonly<Record<string, string>> = {}) {
  const child = spawn("python3", ["-c", script, JSON.stringify(source), to], { env: { ...process.env, ...env } });
  let complaints = "";
  child.stderr.on("data", (data: Buffer) => (complaints += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { code, complaints };
}

/** An archive with an adapter in a folder of its own, as people make them. */
function archive(t: TestContext): Buffer {
  const path = folder(t);
  mkdirSync(join(path, "sql"));
  writeFileSync(join(path, "sql/adapter_config.json"), '{"r": 8}');
  writeFileSync(join(path, "sql/adapter_model.safetensors"), "weights");
  return spawnSync("tar", ["-czf", "-", "-C", path, "sql"], { encoding: "buffer" }).stdout;
}

describe("fetching an adapter by http", { skip }, () => {
  test("the two files of a folder", async (t) => {
    const { url, asked } = await serve(t, { "/sql/adapter_config.json": "{}", "/sql/adapter_model.safetensors": "w" });
    const to = join(folder(t), "sql");
    const { code, complaints } = await fetchAdapter({ type: "http", adapterPath: `${url}/sql/` }, to, {
      HTTP_TOKEN: "abc",
    });
    assert.equal(code, 0, complaints);
    assert.equal(readFileSync(join(to, "adapter_model.safetensors"), "utf8"), "w");
    assert.deepEqual([...new Set(asked.map(({ authorization }) => authorization))], ["Bearer abc"]);
  });

  test("an archive, with or without a folder in it", async (t) => {
    const { url } = await serve(t, { "/sql.tar.gz": archive(t) });
    const to = join(folder(t), "sql");
    const { code, complaints } = await fetchAdapter({ type: "http", adapterPath: `${url}/sql.tar.gz` }, to);
    assert.equal(code, 0, complaints);
    assert.equal(readFileSync(join(to, "adapter_config.json"), "utf8"), '{"r": 8}');
  });

  test("what is missing is named, and the pod does not start without it", async (t) => {
    const { url } = await serve(t, {});
    const { code, complaints } = await fetchAdapter(
      { type: "http", adapterPath: `${url}/sql`, adapterName: "sql" },
      join(folder(t), "sql"),
    );
    assert.equal(code, 1);
    assert.match(complaints, /adapter sql: http:.*adapter_config\.json: .*404/);
    assert.doesNotMatch(complaints, /Traceback/);
  });
});
