// What a person gets who types something wrong: one line with option, value, reason and way out, and exit code 2. And the
// help, which has to fit a terminal of 80 columns.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { readPreset } from "../../src/commands/preset.ts";
import { run } from "./process.ts";

const backend = ["--static-backends", "http://127.0.0.1:9"];

/** Without a port of their own to be in use. */
const mistakes: Readonly<Record<string, readonly [readonly string[], RegExp]>> = {
  "an unknown flag": [["up", "--prot", "1"], /^lmstack: --prot: unknown option; did you mean --port\?$/],
  "an unknown command": [["rooter"], /^lmstack: rooter: unknown command; did you mean lmstack router\?$/],
  "a file that is not there": [
    ["router", "--dynamic-config-yaml", "/no/such.yaml"],
    /^lmstack: --dynamic-config-yaml \/no\/such\.yaml: no such file; give the path of a readable file$/,
  ],
  "a folder in place of a file": [["up", "--config", "/"], /^lmstack: --config \/: a directory, not a file; .+$/],
  "a router without engines": [["router"], /^lmstack: router: there is no engine to route to; list engines with .+$/],
  "a URL that is none": [
    ["router", "--static-backends", "10.0.0.1"],
    /^lmstack: --static-backends 10\.0\.0\.1: not a URL; write http:\/\/10\.0\.0\.1$/,
  ],
  "a port out of range": [["router", ...backend, "--port", "70000"], /^lmstack: --port 70000: .+65535.*$/],
  "a preset that up does not know": [
    ["up", "--preset", "h100"],
    /^lmstack: --preset h100: there is no such preset; give one of llama-3\.1-8b-1xh100, .+ or a file that ends in \.json$/,
  ],
  "a preset that the engine does not know": [["engine", "--preset", "h100"], /^lmstack: --preset h100: .+$/],
  "a preset file that is not there": [
    ["up", "--preset", "/no/such.json"],
    /^lmstack: --preset \/no\/such\.json: no such file; .+$/,
  ],
};

for (const [what, [args, line]] of Object.entries(mistakes)) {
  test(`${what} is one line and exit code 2`, async (t) => {
    const { code, out, err } = await run(t, args);
    assert.equal(code, 2);
    assert.equal(out, "");
    assert.match(err.replace(/\n$/, ""), line);
  });
}

/** A port that somebody else has. */
async function takenPort(t: TestContext): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

for (const command of ["up", "router", "engine"]) {
  test(`${command}: a port in use is one line and exit code 2`, async (t) => {
    const port = await takenPort(t);
    const args = ["--host", "127.0.0.1", "--port", String(port), ...(command === "router" ? backend : [])];
    const { code, err } = await run(t, [command, ...args]);
    assert.equal(code, 2);
    assert.equal(
      err,
      `lmstack: --port ${port}: the port is in use on 127.0.0.1; choose another one, or 0 for any free port\n`,
    );
  });
}

test("several engines of one process end when one of their ports is in use", async (t) => {
  const port = await takenPort(t);
  const { code, err } = await run(t, ["engine", "--host", "127.0.0.1", "--port", String(port - 1), "--engines", "2"]);
  assert.equal(code, 2);
  assert.match(err, /^lmstack: --port \d+: the port is in use on 127\.0\.0\.1; /);
});

test("a preset file is checked field by field", () => {
  const good = { b0Us: 1000, b1Us: 1, b2Us: 1, kvBlocks: 1000 };
  const read = (text: string): ReturnType<typeof readPreset> => readPreset("mine.json", { read: () => text });
  const wrong: readonly (readonly [string, RegExp])[] = [
    ["{", /not JSON: /],
    ["[]", /not a JSON object; fields are id, b0Us, /],
    [JSON.stringify({ ...good, b0us: 1 }), /b0us is no field of a preset; fields are id, b0Us, /],
    [JSON.stringify({ ...good, b0Us: "1" }), /b0Us is no number from 0 on; /],
    [JSON.stringify({ b0Us: 1, b1Us: 1, b2Us: 1 }), /kvBlocks is missing; /],
    [
      JSON.stringify({
        ...good,
        decodeStepUs: [
          [4, 1],
          [1, 2],
        ],
      }),
      /decodeStepUs is no list of points; give \[\[tokens, /,
    ],
    [JSON.stringify({ ...good, decodeStepUs: [[1, "2"]] }), /decodeStepUs is no list of points; /],
    [JSON.stringify({ ...good, kvBlocks: 1 }), /kvBlocks is too small; give a whole number from 2 on/],
  ];
  for (const [text, reason] of wrong) {
    assert.throws(() => read(text), new RegExp(`^UsageError: --preset mine\\.json: ${reason.source}`));
  }
  assert.deepEqual(read(JSON.stringify({ ...good, id: "other" })), { ...good, id: "mine.json", b3Us: 0 });
  const full = { ...good, b3Us: 1, kneeTokens: 5, b1AboveUs: 2, requestUs: 3, decodeStepUs: [[1, 9]] };
  assert.deepEqual(read(JSON.stringify(full)), { ...full, id: "mine.json" });
});

test("the help of each command fits 80 columns, and names each option once", async (t) => {
  for (const args of [["--help"], ["up", "--help"], ["router", "--help"], ["engine", "--help"], ["check", "--help"]]) {
    const { code, out, err } = await run(t, args);
    assert.equal(code, 0);
    assert.equal(err, "");
    assert.match(out, /^Usage: lmstack /);
    for (const line of out.split("\n")) assert.ok(line.length <= 80, `${args.join(" ")}: ${line}`);
    const options = [...out.matchAll(/^ {2}(--\S+)/gm)].map(([, option]) => option);
    assert.equal(new Set(options).size, options.length);
  }
});
