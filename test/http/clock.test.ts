// Timers of the machine's clock against what sockets have received: after a stall both are due, and the bytes came first.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { systemClock, type Timer } from "../../src/clock.ts";
import { until } from "../helpers/until.ts";

/** Connects, and sends bytes when it is told to, whatever the test's own loop does. */
const peer = `
  const { workerData: { port, flag } } = require("node:worker_threads");
  const net = require("node:net");
  const socket = net.connect(port, "127.0.0.1", () => {
    Atomics.wait(flag, 0, 0);
    socket.write("here", () => {
      Atomics.store(flag, 0, 2);
      Atomics.notify(flag, 0);
    });
  });
`;

test("a loop that stood still hears what has come before it calls anybody late", async (t) => {
  // A chaos run on a machine busy with others: its router closed connections as silent whose request was in the kernel.
  const seen: string[] = [];
  const server = net.createServer().listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(peer, { eval: true, workerData: { port: address.port, flag } });
  t.after(() => worker.terminate());
  const [socket] = (await once(server, "connection")) as [net.Socket];
  t.after(() => socket.destroy());
  socket.on("data", () => seen.push("bytes"));

  const dueMs = systemClock.nowMs() + 20;
  systemClock.setTimer(20, () => seen.push("timer"));
  // In the same turn as the timer that it cancels, and before it: Node fires timers of one delay in the order in which they were
  // set. One of 19 ms, set behind it, was due no earlier when a millisecond passed between the two lines.
  let cancelled: Timer | null = null;
  systemClock.setTimer(20, () => cancelled?.cancel());
  cancelled = systemClock.setTimer(20, () => seen.push("cancelled timer"));
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
  Atomics.wait(flag, 0, 1);
  while (systemClock.nowMs() < dueMs + 5);
  await until(() => seen.length >= 2, "bytes and timer were seen");
  assert.deepEqual(seen, ["bytes", "timer"]);
});
