// What of the chart can be held without Helm: its values files, its version, and the scripts that its pods run.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { parse } from "yaml";

import { root } from "../repo/imports.ts";

const helm = join(root, "helm");
const read = (path: string): string => readFileSync(join(helm, path), "utf8");

type Known = null | { readonly [key: string]: Known } | readonly [Known];

/** Paths of keys that the chart would refuse. */
function unknownKeys(value: unknown, known: Known, path = ""): string[] {
  if (known === null || value === null || typeof value !== "object") return [];
  if (Array.isArray(known)) {
    const [entry] = known as readonly [Known];
    return Array.isArray(value) ? value.flatMap((item, at) => unknownKeys(item, entry, `${path}[${at}]`)) : [];
  }
  const keys = known as { readonly [key: string]: Known };
  return Object.entries(value).flatMap(([key, inner]) => {
    const below = keys[key] === undefined ? keys["*"] : keys[key];
    return below === undefined ? [`${path}.${key}`] : unknownKeys(inner, below, `${path}.${key}`);
  });
}

const { values } = JSON.parse(read("files/known.json")) as { readonly values: Known };

describe("values files name known keys only", () => {
  for (const file of ["values.yaml", "values-customized.yaml", ...globSync("examples/*.yaml", { cwd: helm })]) {
    test(basename(file), () => assert.deepEqual(unknownKeys(parse(read(file)), values), []));
  }
});

test("the README's values are those of the chart's folder, to the letter", () => {
  assert.deepEqual(parse(read("values-customized.yaml")), {
    servingEngineSpec: {
      modelSpec: [
        {
          name: "opt125m",
          repository: "lmcache/vllm-openai",
          tag: "latest",
          modelURL: "facebook/opt-125m",
          replicaCount: 1,
          requestCPU: 6,
          requestMemory: "16Gi",
          requestGPU: 1,
          pvcStorage: "10Gi",
        },
      ],
    },
    routerSpec: { extraArgs: ["--routing-logic", "roundrobin"] },
  });
});

test("the chart is of the package's version", () => {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
  const chart = parse(read("Chart.yaml")) as { readonly version: string; readonly appVersion: string };
  assert.deepEqual([chart.version, chart.appVersion], [version, version]);
});

/** An engine's metrics, one answer after the other; the last one stays. Says how often it was asked. */
async function metrics(t: TestContext, answers: readonly string[]): Promise<{ port: number; asked: () => number }> {
  let asked = 0;
  const server = createServer((_request, response) => {
    response.end(answers[Math.min(asked++, answers.length - 1)]);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, asked: () => asked };
}

const busy = (running: number, waiting: number): string =>
  [
    "# HELP vllm:num_requests_running Number of requests",
    `vllm:num_requests_running{engine="0",model_name="m"} ${running.toFixed(1)}`,
    `vllm:num_requests_waiting{engine="0",model_name="m"} ${waiting.toFixed(1)}`,
    'vllm:num_requests_waiting_by_reason{engine="0",model_name="m"} 7.0',
    'vllm:num_requests_swapped{engine="0",model_name="m"} 9.0',
  ].join("\n");

/** Runs a hook as a pod would; resolves with its exit code. */
function hook(command: string, args: readonly string[]): Promise<number | null> {
  const child = spawn(command, args, { stdio: "ignore" });
  return new Promise((resolve) => child.once("exit", resolve));
}

const hooks: Readonly<Record<string, (...args: readonly string[]) => Promise<number | null>>> = {
  "drain.py": (...args) => hook("python3", ["-c", read("files/engine/drain.py"), ...args]),
  "drain.mjs": (...args) =>
    hook(process.execPath, ["--input-type=module", "-e", read("files/engine/drain.mjs"), ...args]),
};

for (const [name, run] of Object.entries(hooks)) {
  const missing = name.endsWith(".py") && spawnSync("python3", ["--version"]).status !== 0;
  describe(`preStop of engines, ${name}`, { skip: missing ? "no python3 here" : false }, () => {
    test("waits until nothing runs and nothing waits, twice in a row", async (t) => {
      const { port, asked } = await metrics(t, [busy(2, 0), busy(0, 1), busy(0, 0), busy(1, 0), busy(0, 0)]);
      assert.equal(await run(String(port), "0", "60"), 0);
      assert.equal(asked(), 6);
    });

    test("gives up when its time is over", async (t) => {
      const { port, asked } = await metrics(t, [busy(1, 0)]);
      assert.equal(await run(String(port), "0", "0.7"), 0);
      assert.ok(asked() >= 1);
    });

    test("does not wait for an engine that is dead", async () => {
      // nothing listens on port 1
      assert.equal(await run("1", "0", "600"), 0);
    });
  });
}

describe("helm test", () => {
  /** A router that lists some models; `dead` answers 503. */
  async function router(t: TestContext, models: readonly string[]): Promise<{ url: string; asked: string[] }> {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      if (request.method === "GET") {
        response.end(JSON.stringify({ data: models.map((id) => ({ id })) }));
        return;
      }
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        const { model } = JSON.parse(body) as { readonly model: string };
        asked.push(model);
        if (model === "dead") response.writeHead(503);
        response.end(JSON.stringify({ choices: [{ text: "hi" }] }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
  }

  async function run(url: string, seconds: string, expected: object): Promise<{ code: number | null; words: string }> {
    const args = ["--input-type=module", "-e", read("files/test.mjs"), url, seconds, JSON.stringify(expected)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let words = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (words += chunk.toString()));
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { code, words };
  }

  test("asks every model that should have an engine, and lets those at rest sleep", async (t) => {
    const { url, asked } = await router(t, ["dead", "a", "b"]);
    const expected = [
      { model: "a", asked: true },
      { model: "dead", asked: false },
      { model: "b", asked: true },
    ];
    const { code, words } = await run(url, "60", expected);
    assert.equal(code, 0, words);
    assert.deepEqual(asked, ["a", "b"]);
    assert.match(words, /^models: dead, a, b\na answers: "hi"\ndead is listed\nb answers: "hi"\n$/);
  });

  test("asks what is there where the release has no models of its own", async (t) => {
    const { url, asked } = await router(t, ["theirs", "others"]);
    assert.equal((await run(url, "60", [])).code, 0);
    assert.deepEqual(asked, ["theirs"]);
  });

  test("fails when its time is over, saying what is missing", async (t) => {
    const { url } = await router(t, ["dead"]);
    const dead = await run(url, "0", [{ model: "dead", asked: true }]);
    assert.equal(dead.code, 1);
    assert.match(dead.words, /\/v1\/completions: 503/);
    const absent = await run(url, "0", [{ model: "absent", asked: true }]);
    assert.equal(absent.code, 1);
    assert.match(absent.words, /\/v1\/models: absent not served yet/);
  });
});
