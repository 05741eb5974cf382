// Four simulated engines behind a router, all in this process and on real sockets: what the official clients are tried on.
import type { TestContext } from "node:test";
import { startEngine } from "../../src/engine/serve.ts";
import type { EngineOptions, Fault, RunningEngine } from "../../src/engine/serve.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";

/** A name with a slash, as those of most real models. */
export const model = "facebook/opt-125m";

export interface Fleet {
  readonly engines: readonly RunningEngine[];
  readonly router: TestRouter;
  /** What the engines count, added up. */
  sum(count: "aborted" | "finished" | "requests" | "running"): number;
  /** The same fault on every engine, until the end of the test. */
  fault(t: TestContext, fault: Fault): void;
}

export interface FleetOptions {
  /** Options of `lmstack router` beside the engines. */
  readonly argv?: readonly string[];
  readonly engine?: EngineOptions;
  readonly random?: () => number;
}

/** Ends with the test. */
export async function startFleet(t: TestContext, options: FleetOptions = {}): Promise<Fleet> {
  const settings: EngineOptions = { preset: "fast", models: [model], simApi: true, ...options.engine };
  const engines = await Promise.all(Array.from({ length: 4 }, () => startEngine(settings)));
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  const urls = engines.map((engine) => engine.url).join(",");
  const router = await startTestRouter(t, ["--static-backends", urls, ...(options.argv ?? [])], {
    random: options.random ?? Math.random,
  });
  return {
    engines,
    router,
    sum: (count) => engines.reduce((total, engine) => total + engine.state()[count], 0),
    fault(test, fault) {
      for (const engine of engines) engine.setFault(fault);
      test.after(() => {
        for (const engine of engines) engine.clearFaults();
      });
    },
  };
}

/** A `fetch` that keeps when each call began, in milliseconds, and counts the answers. */
export interface CountingFetch {
  readonly fetch: typeof fetch;
  readonly calledAtMs: readonly number[];
  readonly answers: number;
}

export function countingFetch(): CountingFetch {
  const calledAtMs: number[] = [];
  let answers = 0;
  return {
    calledAtMs,
    get answers() {
      return answers;
    },
    fetch: async (input, init) => {
      calledAtMs.push(performance.now());
      const answer = await fetch(input, init);
      answers++;
      return answer;
    },
  };
}
