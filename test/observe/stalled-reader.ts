// A process whose log nobody reads: writes a lot and tells its memory over IPC.
import { RouterLog } from "../../src/observe/log.ts";

const log = new RouterLog({ level: "info", format: "text", routingLine: true });
const session = "s".repeat(900);
let rounds = 0;

/** 8 MiB at a time, with turns of the loop in between. */
function round(): void {
  for (let i = 0; i < 8 * 1024; i++) log.routed("r", session, "http://e:1", 0, 0);
  if (++rounds < 16) setImmediate(round);
  else process.send?.({ heapBytes: process.memoryUsage().heapUsed }, () => process.kill(process.pid, "SIGKILL"));
}

round();
