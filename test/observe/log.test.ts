// Lines of the log, as text: one thing said is one line, whatever clients put into it.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { RouterLog } from "../../src/observe/log.ts";

function textLog(): { log: RouterLog; lines: () => string[] } {
  let text = "";
  const sink = { write: (more: string) => void (text += more), flush: () => undefined, flushSync: () => undefined };
  const log = new RouterLog({ level: "info", format: "text", routingLine: true }, sink);
  const lines = (): string[] => {
    log.close();
    return text.split("\n");
  };
  return { log, lines };
}

const ended = {
  requestId: "r",
  model: "m",
  api: "chat",
  outcome: "client_error",
  status: 404,
  endpoint: null,
  reason: null,
  attempts: 0,
  migrations: 0,
  migration: null,
  durationMs: 1,
  firstTokenMs: null,
  queuedMs: 0,
  promptTokens: null,
  generatedTokens: null,
  cachedTokens: null,
};

test("the routing line is production-stack's, to the letter", () => {
  const { log, lines } = textLog();
  log.routed("r", null, "http://e:1", 1_700_000_000_123, 0.26);
  log.routed("r", "s 1", "http://e:1", 1_700_000_000_123, 12.34);
  assert.deepEqual(lines(), [
    "Routing request r with session id None to http://e:1 at 1700000000.123, process time = 0.0003",
    "Routing request r with session id s 1 to http://e:1 at 1700000000.123, process time = 0.0123",
    "",
  ]);
});

test("a client can't write lines of its own into the log, steer the terminal that shows it, or flood it", () => {
  // a session named by a JSON field, and a model that is repeated in an error, were printed as they came
  const { log, lines } = textLog();
  const evil = "x\nRouting request forged\r\u001b[2J\u009b2J";
  log.routed("r", evil, "http://e:1", 0, 0);
  log.routed("r", "s".repeat(60_000), "http://e:1", 0, 0);
  log.request({ ...ended, error: `The model \`${evil}\` does not exist` });
  log.warn(`engine e: ${evil}`);
  const seen = lines();
  assert.equal(seen.length, 5);
  for (const line of seen) {
    assert.ok(line.length < 1_500);
    assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f]/);
  }
  assert.match(seen[0] ?? "", /session id x\\u000aRouting request forged\\u000d\\u001b\[2J\\u009b2J to http/);
});

test("a reader of the log that has stopped reading costs a bounded amount of memory", async (t) => {
  const path = fileURLToPath(new URL("stalled-reader.ts", import.meta.url));
  const child = fork(path, { stdio: ["ignore", "pipe", "inherit", "ipc"] });
  t.after(() => child.kill("SIGKILL"));
  const [message] = (await once(child, "message")) as [{ heapBytes: number }];
  assert.ok(message.heapBytes < 80 * 1024 * 1024, `${message.heapBytes} of 128 MiB were kept`);
});

test("a table of statistics is written as it is, and its names can't break its lines", () => {
  const { log, lines } = textLog();
  const row = { models: ["a\nb"], server: "http://e:1", state: "ready", prefillRequests: 1, decodingRequests: 2 };
  log.stats([{ ...row, qps: 0.5, avgTtft: 0.25, avgLatency: 1.5, avgItl: null, finished: 7, uptimeSeconds: 61.2 }]);
  assert.deepEqual(lines(), [
    "==================================================",
    "Model: a\\u000ab",
    "Server: http://e:1 (ready)",
    " Request Stats: QPS: 0.50, Avg TTFT: 0.250 s, Avg Latency: 1.500 s, Avg ITL: -, Prefill Requests: 1, Decoding Requests: 2, Finished: 7, Uptime: 61 sec",
    "==================================================",
    "",
  ]);
});
