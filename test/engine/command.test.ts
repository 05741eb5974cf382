// `lmstack engine` as a process: what it prints, and every way in which it ends.

import assert from "node:assert/strict";
import { fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, it } from "node:test";
import { events, request, send } from "./support.ts";

const program = fileURLToPath(new URL("fixtures/engine-process.ts", import.meta.url));

interface Started {
  readonly child: ChildProcess;
  readonly lines: readonly string[];
  /** Engines, as {@link send} wants them. */
  readonly engines: readonly { readonly port: number }[];
}

/** Starts the command and reads its listening lines. */
async function start(options: { engines?: number } = {}): Promise<Started> {
  const child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.setEncoding("utf8");
  while (text.split("\n").length <= (options.engines ?? 1)) {
    const [data] = (await once(child.stdout, "data")) as [string];
    text += data;
  }
  const lines = text.trimEnd().split("\n");
  return { child, lines, engines: lines.map((line) => ({ port: Number(line.split(":").at(-1)) })) };
}

const stream = { prompt: "Once", max_tokens: 4000, ignore_eos: true, stream: true };

describe("lmstack engine", () => {
  it("prints one line per engine and serves each", async () => {
    const { child, lines, engines } = await start({ engines: 3 });
    for (const line of lines) assert.match(line, /^lmstack engine listening on http:\/\/127\.0\.0\.1:\d+$/);
    assert.equal(new Set(lines).size, 3);
    for (const engine of engines) {
      assert.equal((await send(engine, request("GET", "/health"))).response.statusLine, "HTTP/1.1 200 OK");
    }
    child.kill("SIGINT");
    assert.deepEqual(await once(child, "exit"), [0, null]);
  });

  it("ends streams with finish_reason abort on SIGTERM and exits with 0", async () => {
    const { child, engines } = await start();
    const [engine] = engines;
    assert.ok(engine !== undefined);
    const streaming = send(engine, request("POST", "/v1/completions", stream));
    for (;;) {
      const { response } = await send(engine, request("GET", "/sim/state"));
      if (response.chunks.join("").includes('"running":1')) break;
    }
    child.kill("SIGTERM");
    const { response } = await streaming;
    assert.match(events(response).at(-2) ?? "", /"finish_reason":"abort"/);
    assert.ok(response.complete);
    assert.deepEqual(await once(child, "exit"), [0, null]);
  });

  it("exits on a crash fault without a word to its clients", async () => {
    const { child, engines } = await start();
    const [engine] = engines;
    assert.ok(engine !== undefined);
    const exit = once(child, "exit");
    await send(engine, request("POST", "/sim/faults", { fault: "crash" }));
    assert.deepEqual(await exit, [1, null]);
  });

  it("says over IPC where it listens and does not outlive the channel", async () => {
    const child = fork(program, ["{}"], { silent: true });
    const [message] = (await once(child, "message")) as [{ type: string; url: string }];
    assert.equal(message.type, "listening");
    assert.match(message.url, /^http:\/\/127\.0\.0\.1:\d+$/);
    const exit = once(child, "exit");
    child.disconnect();
    assert.deepEqual(await exit, [0, null]);
  });

  it("can be stopped while it is still starting up", async () => {
    const child = fork(program, [JSON.stringify({ startupSeconds: 600 })], { silent: true });
    const exit = once(child, "exit");
    await once(child, "spawn");
    // The channel is read once the command listens for its end, so this cannot come too early.
    child.disconnect();
    assert.deepEqual(await exit, [0, null]);
  });

  it("fails with 1 when the port is taken", async () => {
    const { child, engines } = await start();
    const port = engines[0]?.port ?? 0;
    const second = spawn(process.execPath, [program, JSON.stringify({ port })], { stdio: "ignore" });
    assert.deepEqual(await once(second, "exit"), [1, null]);
    child.kill("SIGTERM");
    await once(child, "exit");
  });
});
