// `lmstack check config`: which kind of file it is, what is wrong with it, and the exit code.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { runCheck } from "../../src/commands/check.ts";
import { filesOf } from "./files.ts";

async function check(name: string, text: string, more: Readonly<Record<string, string>> = {}) {
  let output = "";
  const code = await runCheck(name, filesOf({ [name]: text, ...more }), (part) => (output += part));
  return { code, lines: output.trimEnd().split("\n") };
}

test("a good file of options is summed up", async () => {
  const { code, lines } = await check("r.yaml", "port: 8000\nretries: 1\n");
  assert.equal(code, 0);
  assert.deepEqual(lines, ["OK: r.yaml: options of lmstack router: 2 options set (retries, port)"]);
});

test("a file of options is not asked for engines, which flags may add", async () => {
  assert.equal((await check("r.yaml", "")).code, 0);
});

test("every problem of a file of options is listed in order of its lines", async () => {
  const { code, lines } = await check(
    "r.yaml",
    "port: 70000\nstatic-backends: [http://a:1, foo]\nprot: 7\napi_key_file: k\n",
  );
  assert.equal(code, 2);
  assert.deepEqual(lines, [
    "r.yaml:1: port 70000: too large; give a whole number from 0 to 65535",
    "r.yaml:2: static-backends foo: not a URL; write http://foo",
    "r.yaml:3: prot: unknown key; did you mean port?",
    "r.yaml:4: api_key_file k: no such file; give the path of a readable file",
    "r.yaml: 4 problems",
  ]);
});

test("a dynamic file is known by its keys", async () => {
  const { code, lines } = await check(
    "d.yaml",
    "service_discovery: static\nrouting_logic: random\nstatic_backends: http://a:1,http://b:1\n",
  );
  assert.equal(code, 0);
  assert.deepEqual(lines, ["OK: d.yaml: dynamic configuration: 2 engines, 0 models named, 0 aliases, policy random"]);
});

test("a dynamic file in JSON is known by its extension", async () => {
  const { code, lines } = await check(
    "d.json",
    '{\n "service_discovery": "static",\n "routing_logic": "fastest",\n "static_backends": "http://a:1"\n}',
  );
  assert.equal(code, 2);
  assert.match(lines[0] ?? "", /^d\.json:3: routing_logic fastest: unknown/);
});

test("a file of options that shares keys with the dynamic one is still a file of options", async () => {
  const { lines } = await check("r.yaml", "routing_logic: random\nstatic_backends: http://a:1\nport: 8000\n");
  assert.match(lines.join(), /^OK: r\.yaml: options of lmstack router/);
});

test("warnings are shown and are no failure", async () => {
  const { code, lines } = await check("r.yaml", "lmcache-controller-port: 9000\n");
  assert.equal(code, 0);
  assert.equal(lines[0], "warning: without effect here, ignored: lmcache-controller-port");
});

test("broken YAML is named with its line", async () => {
  const { code, lines } = await check("r.yaml", "port: 1\nhost: [a\n");
  assert.equal(code, 2);
  assert.match(lines[0] ?? "", /^r\.yaml:\d: syntax: .*; correct the YAML$/);
});

/** Runs the real binary: what a terminal sees. */
function lmstack(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const cli = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...argv], { env: {} }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
    });
  });
}

test("the binary answers a mistake with one line on standard error and exit code 2", async () => {
  assert.deepEqual(await lmstack("router", "--prot", "1"), {
    code: 2,
    stdout: "",
    stderr: "lmstack: --prot: unknown option; did you mean --port?\n",
  });
});

test("the binary prints its help on standard output and ends well", async () => {
  const { code, stdout, stderr } = await lmstack("--help");
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^Usage: lmstack COMMAND/);
});

test("the binary checks a file that is not there", async () => {
  const { code, stdout } = await lmstack("check", "config", "/nonexistent/r.yaml");
  assert.equal(code, 2);
  assert.match(stdout, /no such file/);
});
