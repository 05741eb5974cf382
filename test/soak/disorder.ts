// The disorder of a soak: a few of the engines, networks and clients of the chaos runs, on the same router as the bulk. What
// their clients see is judged as there; the log is not looked at.
import { Asks } from "../chaos/asks.ts";
import { visit } from "../chaos/clients.ts";
import { Draw } from "../chaos/draw.ts";
import { judgeSeen } from "../chaos/oracle.ts";
import { misbehavingEngine } from "../chaos/raw-model.ts";
import { sabotage, SimEngine, type Stage } from "../chaos/saboteur.ts";
import { engineMischief, networkMischief } from "../chaos/run.ts";
import { ChaosProxy } from "../chaos/tcp-proxy.ts";

export class Disorder {
  readonly #seed: number;
  readonly #reference: SimEngine;
  readonly #sims: readonly SimEngine[];
  readonly #raws;
  readonly #proxies: ChaosProxy[] = [];
  readonly #networks: ChaosProxy[] = [];
  readonly #restarts = new Set<Promise<void>>();
  #calm = false;
  #running: Promise<unknown> = Promise.resolve();
  urls: string[] = [];
  requests = 0;
  readonly violations: string[] = [];

  constructor(seed: number) {
    this.#seed = seed;
    this.#reference = new SimEngine(seed);
    this.#sims = [new SimEngine(seed), new SimEngine(seed)];
    this.#raws = [0, 1].map((i) => misbehavingEngine(new Draw(seed, `raw engine ${i}`), () => this.#calm));
  }

  async start(): Promise<void> {
    await Promise.all([this.#reference, ...this.#sims].map((engine) => engine.start()));
    await Promise.all(this.#raws.map((engine) => engine.listen()));
    for (const [i, engine] of [...this.#sims, ...this.#raws].entries()) {
      const draw = new Draw(this.#seed, `network of engine ${i}`);
      this.#proxies.push(
        new ChaosProxy(engine.port, () => (this.#calm ? { kind: "pass" } : engineMischief(draw, false))),
      );
    }
    await Promise.all(this.#proxies.map((proxy) => proxy.listen()));
    this.urls = this.#proxies.map(({ url }) => url);
  }

  /** Begins, and goes on until {@link stop}. */
  async storm(routerPort: number, clients: number): Promise<void> {
    const slowDraw = new Draw(this.#seed, "slow network");
    const badDraw = new Draw(this.#seed, "bad network");
    const slow = new ChaosProxy(routerPort, () => engineMischief(slowDraw, true));
    const bad = new ChaosProxy(routerPort, () => networkMischief(badDraw));
    this.#networks.push(slow, bad);
    await Promise.all(this.#networks.map((proxy) => proxy.listen()));
    const ports = { direct: routerPort, slow: slow.port, bad: bad.port };
    const asks = new Asks(new Draw(this.#seed, "asks"), `http://127.0.0.1:${this.#reference.port}`, "soak");
    const client = async (number: number): Promise<void> => {
      const draw = new Draw(this.#seed, `client ${number}`);
      while (!this.#calm) {
        try {
          for (const view of await visit(ports, asks, draw)) {
            this.requests++;
            const damaged =
              view.manner === "bad network" || this.#proxies.some(({ corrupted }) => corrupted.delete(view.ask.id));
            const wrong = judgeSeen(view, damaged);
            if (wrong !== null && this.violations.length < 20) this.violations.push(wrong);
          }
        } catch (error) {
          this.violations.push(String(error));
        }
      }
    };
    const stage: Stage = {
      changesFleet: false,
      terminates: false,
      sims: this.#sims,
      raws: this.#raws,
      endpoints: 0,
      apply: () => undefined,
      cutAll: () => {
        for (const proxy of this.#proxies) proxy.cutAll();
      },
      restarts: this.#restarts,
    };
    const saboteur = async (): Promise<void> => {
      const draw = new Draw(this.#seed, "saboteur");
      while (!this.#calm) {
        sabotage(stage, draw);
        await new Promise<void>((resolve) => setTimeout(resolve, draw.between(50, 300)));
      }
    };
    this.#running = Promise.all([saboteur(), ...Array.from({ length: clients }, (_, i) => client(i))]);
  }

  async stop(): Promise<void> {
    this.#calm = true;
    await this.#running;
    await Promise.all([...this.#restarts, ...this.#sims.map((engine) => engine.ready())]);
    for (const proxy of this.#networks) proxy.close();
  }

  async close(): Promise<void> {
    for (const proxy of this.#proxies) proxy.close();
    for (const engine of this.#raws) engine.kill();
    await Promise.all([this.#reference, ...this.#sims].map((engine) => engine.close()));
  }
}
