// SIGUSR2: a new process of the same command line takes over the listening socket, and this one drains. A new version, or
// options that need a restart, without a refused connection: the socket is open in one of the two at any time.
import { spawn, type ChildProcess } from "node:child_process";
import type { Clock } from "../clock.ts";
import type { RunningRouter } from "../proxy/start-router.ts";

/** What the successor tells its parent when it serves. */
const ready = "ready";
/** A successor that does not serve by then has failed, and this process stays. */
const limitMs = 60_000;
/** Where the successor finds the socket. */
const socketFd = 3;

/** Resolves with the successor's process id when one has taken over. */
export function replaced(router: RunningRouter, clock: Clock): Promise<number> {
  return new Promise((resolve) => {
    let starting = false;
    process.on("SIGUSR2", () => {
      if (starting) return;
      starting = true;
      router.log.info("SIGUSR2: starting a successor on the same socket");
      void start(router, clock).then(({ pid, problem }) => {
        starting = false;
        if (pid !== null) resolve(pid);
        else router.log.error(`the successor did not start, this process goes on: ${problem}`);
        return undefined;
      });
    });
  });
}

/** Tells whoever started this process as a successor that it serves. */
export function announceReady(): void {
  if (process.send === undefined) return;
  process.send(ready, () => process.disconnect());
}

interface Started {
  readonly pid: number | null;
  readonly problem: string;
}

function start(router: RunningRouter, clock: Clock): Promise<Started> {
  const { listenFd } = router;
  if (listenFd === null) return Promise.resolve({ pid: null, problem: "its listening socket has no descriptor" });
  const [, program = "", ...argv] = process.argv;
  // of a flag that is given twice the last one counts
  const args = [...process.execArgv, program, ...argv, "--listen-fd", String(socketFd)];
  return new Promise((resolve) => {
    const child: ChildProcess = spawn(process.execPath, args, {
      stdio: ["inherit", "inherit", "inherit", listenFd, "ipc"],
    });
    const timer = clock.setTimer(limitMs, () => child.kill("SIGKILL"));
    const failed = (problem: string): void => {
      timer.cancel();
      resolve({ pid: null, problem });
    };
    child.once("error", (error) => failed(error.message));
    child.once("exit", (code, signal) => failed(`it ended with ${code ?? signal}`));
    child.once("message", () => {
      timer.cancel();
      child.removeAllListeners();
      // it lives on when this process has ended
      child.unref();
      resolve({ pid: child.pid ?? null, problem: "" });
    });
  });
}
