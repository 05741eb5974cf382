// What happens to the engines of a chaos run while it goes on: they fail in their ways, die and come back, leave the fleet and
// join it again, and the policy changes under load.
import { startEngine, type Fault, type RunningEngine } from "../../src/engine/serve.ts";
import type { RawEngine } from "../helpers/raw-engine.ts";
import { simModel } from "./asks.ts";
import type { Draw } from "./draw.ts";

/** A simulated engine that can die and come back on its port. */
export class SimEngine {
  readonly #seed: number;
  #engine: RunningEngine | null = null;
  #starting: Promise<void> | null = null;
  port = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  async start(): Promise<void> {
    this.#engine = await startEngine({
      models: [simModel],
      preset: "fast",
      simApi: true,
      seed: this.#seed,
      port: this.port,
    });
    this.port = this.#engine.port;
  }

  get engine(): RunningEngine | null {
    return this.#engine;
  }

  fault(fault: Fault): void {
    this.#engine?.setFault(fault);
  }

  calm(): void {
    this.#engine?.clearFaults();
  }

  /** As SIGKILL, or as SIGTERM, and back after a while. */
  die(how: "crash" | "close", downMs: number): void {
    const dying = this.#engine;
    if (dying === null || this.#starting !== null) return;
    this.#engine = null;
    const dead = how === "crash" ? Promise.resolve(dying.crash()) : dying.close();
    this.#starting = dead
      .then(() => new Promise<void>((resolve) => setTimeout(resolve, downMs)))
      .then(() => this.start())
      .finally(() => {
        this.#starting = null;
      });
  }

  /** Resolves when it is up again, if it is on its way. */
  async ready(): Promise<void> {
    await this.#starting;
  }

  async close(): Promise<void> {
    await this.ready();
    await this.#engine?.close();
    this.#engine = null;
  }
}

const simFaults: readonly Fault[] = [
  { fault: "error_status", status: 503, share: 0.5, seconds: 0.3 },
  { fault: "error_status", status: 500, share: 0.5, seconds: 0.3 },
  { fault: "error_status", status: 429, share: 0.7, seconds: 0.2, retryAfter: 1 },
  { fault: "cut_mid_stream", share: 0.4, after: 1, variant: "reset", seconds: 0.4 },
  { fault: "cut_mid_stream", share: 0.4, after: 2, variant: "clean", seconds: 0.4 },
  { fault: "cut_mid_stream", share: 0.4, after: 0, variant: "half_chunk", seconds: 0.4 },
  { fault: "cut_mid_stream", share: 0.4, after: 1, variant: "half_frame", seconds: 0.4 },
  { fault: "stall_mid_stream", share: 0.3, after: 2, seconds: 0.3 },
  { fault: "error_frame", share: 0.3, after: 0, seconds: 0.3 },
  { fault: "error_frame", share: 0.3, after: 3, seconds: 0.3 },
  { fault: "hang", share: 0.5, seconds: 0.3 },
  { fault: "hang", seconds: 0.5 },
  { fault: "hang_before_headers", share: 0.3, seconds: 0.3 },
  { fault: "refuse", seconds: 0.3 },
  { fault: "engine_dead", seconds: 0.4 },
  { fault: "wrong_models", seconds: 0.3 },
  { fault: "slow_headers", share: 0.3, seconds: 0.05 },
  { fault: "slow_body_read", share: 0.3, seconds: 0.05 },
];

export interface Stage {
  /** Whether endpoints leave and join. */
  readonly changesFleet: boolean;
  /** Whether engines get SIGTERM, and abort what they have. */
  readonly terminates: boolean;
  readonly sims: readonly SimEngine[];
  readonly raws: readonly RawEngine[];
  /** Lists these endpoints (by their place among all) under a policy. */
  apply(present: readonly number[], policy: string): void;
  readonly endpoints: number;
  /** Cuts all connections through the proxies. */
  cutAll(): void;
  /** Engines that are on their way back. */
  readonly restarts: Set<Promise<void>>;
}

/** One thing goes wrong, or right again. */
export function sabotage(stage: Stage, draw: Draw): void {
  draw.weighted<() => void>([
    [60, () => draw.pick(stage.sims).fault(draw.pick(simFaults))],
    [20, () => draw.pick(stage.sims).calm()],
    [6, () => draw.pick(stage.sims).die("crash", draw.between(10, 300))],
    [stage.terminates ? 4 : 0, () => draw.pick(stage.sims).die("close", draw.between(10, 300))],
    [
      4,
      () => {
        const back = restart(draw.pick(stage.raws), draw.between(10, 300)).finally(() => stage.restarts.delete(back));
        stage.restarts.add(back);
      },
    ],
    [4, () => stage.cutAll()],
    [
      8,
      () => {
        const all = Array.from({ length: stage.endpoints }, (_, i) => i);
        const present = !stage.changesFleet || draw.chance(0.4) ? all : all.filter(() => draw.chance(0.7));
        stage.apply(present.length > 0 ? present : all, draw.pick(["roundrobin", "random", "leastload"]));
      },
    ],
  ])();
}

const restarting = new Set<RawEngine>();

async function restart(engine: RawEngine, downMs: number): Promise<void> {
  if (restarting.has(engine)) return;
  restarting.add(engine);
  const { port } = engine;
  engine.kill();
  await new Promise<void>((resolve) => setTimeout(resolve, downMs));
  await engine.listen(port).catch(() => undefined);
  restarting.delete(engine);
}
