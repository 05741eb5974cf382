// One chaos run: engines, networks and clients that misbehave as a seed tells them to, a router between them in the same
// process, and the oracle over all that was seen. Afterwards everything is made well again, and the router has to be well
// too: requests succeed, every count is back at 0, and no socket or timer is left.
import { systemClock, type Clock } from "../../src/clock.ts";
import { loadRouterConfig } from "../../src/config/parse-command.ts";
import { policyNames } from "../../src/config/types.ts";
import { RouterLog } from "../../src/observe/log.ts";
import { startRouter, type RunningRouter } from "../../src/proxy/start-router.ts";
import { valueOf } from "../helpers/exposition.ts";
import { until } from "../helpers/until.ts";
import { Asks } from "./asks.ts";
import { plainVisit, visit, type Ports } from "./clients.ts";
import { Draw } from "./draw.ts";
import { cutOutcome, judge, judgeCounts, wasOvertaken, type Recorded, type View } from "./oracle.ts";
import { misbehavingEngine } from "./raw-model.ts";
import { sabotage, SimEngine, type Stage } from "./saboteur.ts";
import { ChaosProxy, type Mischief } from "./tcp-proxy.ts";

export interface ChaosReport {
  readonly seed: number;
  readonly requests: number;
  readonly outcomes: Readonly<Record<string, number>>;
  /** From the end of all mischief until requests succeed again. */
  readonly recoveryMs: number;
  readonly violations: readonly string[];
}

const clients = 24;
/** How long a router may take until it is well again; breakers and checks need about 5 s. */
const recoveryLimitMs = 20_000;
const goodInARow = 20;
/** So many violations tell enough. */
const maxViolations = 20;

/** Timers that are set and have neither fired nor been cancelled. */
class CountingClock implements Clock {
  pending = 0;
  readonly nowMs = systemClock.nowMs;
  readonly wallMs = systemClock.wallMs;

  setTimer(delayMs: number, fn: () => void): ReturnType<Clock["setTimer"]> {
    let waiting = true;
    this.pending++;
    const settle = (): void => {
      if (waiting) this.pending--;
      waiting = false;
    };
    const timer = systemClock.setTimer(delayMs, () => {
      settle();
      fn();
    });
    return {
      cancel: () => {
        settle();
        timer.cancel();
      },
    };
  }
}

/** Settings under which a run of seconds meets every time limit. */
function routerArguments(draw: Draw, urls: readonly string[]): string[] {
  const settings = {
    host: "127.0.0.1",
    port: 0,
    "log-format": "json",
    "log-level": "info",
    "static-backends": urls.join(","),
    retries: draw.pick([0, 1, 2, 2, 3]),
    "routing-logic": draw.pick(["roundrobin", "random", "leastload"]),
    "connect-timeout-seconds": draw.pick([0.1, 0.5]),
    "first-event-timeout-seconds": draw.pick([0.2, 0.5, 1]),
    "idle-timeout-seconds": draw.pick([0.3, 0.6]),
    "total-timeout-seconds": draw.pick([1, 2, 3]),
    "sse-heartbeat-seconds": draw.pick([0, 0.1, 0.3]),
    "client-stall-timeout-seconds": 5,
    "head-timeout-seconds": draw.pick([0.5, 1]),
    "body-idle-timeout-seconds": draw.pick([0.5, 1]),
    // No client stays silent on purpose. With 2 s this was a limit on the machine: a turn of the loop may take so long, and then
    // a request crossed with the silent end of its connection, which no client could tell from a loss (seeds 10, 22, 30, 33).
    "client-keep-alive-seconds": 60,
    "engine-keep-alive-seconds": draw.pick([0.05, 1, 4]),
    "backend-health-check-timeout-seconds": draw.pick([0.3, 1]),
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

export function engineMischief(draw: Draw, lossless: boolean): Mischief {
  const direction = draw.pick(["up", "down"] as const);
  return draw.weighted<Mischief>([
    [60, { kind: "pass" }],
    [10, { kind: "delay", direction, delayMs: draw.between(1, 60) }],
    [10, { kind: "trickle", direction, pieceBytes: draw.between(1, 40) }],
    [lossless ? 0 : 5, { kind: "drop", direction, afterBytes: draw.below(2000) }],
    [lossless ? 0 : 5, { kind: "cut", direction, afterBytes: draw.below(2000), ending: "reset" }],
    [lossless ? 0 : 5, { kind: "corrupt", direction, afterBytes: draw.below(2000), mask: draw.between(1, 255) }],
  ]);
}

export function networkMischief(draw: Draw): Mischief {
  const direction = draw.pick(["up", "down"] as const);
  const afterBytes = draw.below(1500);
  return draw.weighted<Mischief>([
    [1, { kind: "drop", direction, afterBytes }],
    [1, { kind: "cut", direction, afterBytes, ending: "reset" }],
    [1, { kind: "cut", direction, afterBytes, ending: "end" }],
    [1, { kind: "corrupt", direction, afterBytes, mask: draw.between(1, 255) }],
  ]);
}

/** What the router's log says, kept. */
class Protocol {
  readonly recorded: Recorded[] = [];
  readonly write = (text: string): void => {
    for (const line of text.split("\n")) {
      if (!line.includes('"msg":"request"')) continue;
      this.recorded.push(JSON.parse(line) as Recorded);
    }
  };
  readonly flush = (): void => undefined;
  readonly flushSync = (): void => undefined;
}

/** Sockets and listeners of this process. */
function sockets(): number {
  return process.getActiveResourcesInfo().filter((name) => /^(TCP|TLS)/.test(name)).length;
}

/** @param atLeast requests that have to end, however long a busy machine takes for them */
export async function runChaos(seed: number, seconds: number, atLeast = 0): Promise<ChaosReport> {
  const socketsBefore = sockets();
  const set = new Draw(seed, "settings");
  const violations: string[] = [];
  let calm = false;
  let fleetChanged = false;

  const reference = new SimEngine(seed);
  const sims = [0, 1, 2].map(() => new SimEngine(seed));
  const raws = [0, 1, 2].map((i) => misbehavingEngine(new Draw(seed, `raw engine ${i}`), () => calm));
  await Promise.all([reference, ...sims].map((engine) => engine.start()));
  await Promise.all(raws.map((engine) => engine.listen()));
  // one of each kind is reached directly
  const proxies = [...sims.slice(1), ...raws.slice(1)].map((engine, i) => {
    const draw = new Draw(seed, `network of engine ${i}`);
    return new ChaosProxy(engine.port, () => (calm ? { kind: "pass" } : engineMischief(draw, false)));
  });
  await Promise.all(proxies.map((proxy) => proxy.listen()));
  const direct = [sims[0], raws[0]].map((engine) => `http://127.0.0.1:${engine?.port}`);
  const urls = [...direct, ...proxies.map(({ url }) => url)];

  const protocol = new Protocol();
  const clock = new CountingClock();
  const { config } = loadRouterConfig(routerArguments(set, urls), {});
  const routerDraw = new Draw(seed, "router");
  const router = await startRouter(config, {
    clock,
    random: routerDraw.unit,
    version: "chaos",
    page: null,
    log: new RouterLog(config.log, protocol),
  });
  await until(() => router.context.registry.list().some((endpoint) => endpoint.known), "an endpoint is known");

  const slowDraw = new Draw(seed, "slow network");
  const badDraw = new Draw(seed, "bad network");
  const slow = new ChaosProxy(router.port, () => engineMischief(slowDraw, true));
  const bad = new ChaosProxy(router.port, () => networkMischief(badDraw));
  await Promise.all([slow.listen(), bad.listen()]);
  const ports: Ports = { direct: router.port, slow: slow.port, bad: bad.port };

  // --- the storm
  const views: View[] = [];
  const asks = new Asks(new Draw(seed, "asks"), `http://127.0.0.1:${reference.port}`, `chaos-${seed}`);
  const endMs = performance.now() + seconds * 1000;
  const storm = (): boolean =>
    (performance.now() < endMs || protocol.recorded.length < atLeast) && violations.length < maxViolations;
  const client = async (number: number): Promise<void> => {
    const draw = new Draw(seed, `client ${number}`);
    while (storm()) {
      try {
        views.push(...(await visit(ports, asks, draw)));
      } catch (error) {
        violations.push(`a client saw what is no HTTP, or waited in vain: ${String(error)}`);
      }
    }
  };
  const changesFleet = set.chance(0.5);
  const terminates = set.chance(0.5);
  const stage: Stage = {
    changesFleet,
    terminates,
    sims,
    raws,
    endpoints: urls.length,
    apply: (present, policy) => {
      if (present.length < urls.length) fleetChanged = true;
      apply(router, present, policy);
    },
    cutAll: () => {
      for (const proxy of proxies) proxy.cutAll();
    },
    restarts: new Set(),
  };
  const saboteur = async (): Promise<void> => {
    const draw = new Draw(seed, "saboteur");
    while (storm()) {
      sabotage(stage, draw);
      await new Promise<void>((resolve) => setTimeout(resolve, draw.between(20, 150)));
    }
  };
  await Promise.all([saboteur(), ...Array.from({ length: clients }, (_, i) => client(i))]);

  // --- all is well again
  calm = true;
  await Promise.all([...stage.restarts, ...sims.map((engine) => engine.ready())]);
  for (const engine of sims) engine.calm();
  stage.cutAll();
  stage.apply(
    urls.map((_, i) => i),
    config.dynamic.policy,
  );
  const recoveryMs = await recovery(router.port, asks, views, violations);

  // --- and nothing is left
  const settle = async (condition: () => boolean, what: string): Promise<void> => {
    await until(condition, what).catch((error: unknown) => violations.push(String(error)));
  };
  await settle(() => router.context.active.size === 0, "no request is under way");
  slow.close();
  bad.close();
  await settle(() => metric(router, "lmstack_client_connections") === 0, "no client is connected");
  await settle(
    () => sims.every(({ engine }) => engine !== null && engine.state().inFlight === 0),
    "no engine works for anybody",
  );
  if (router.context.bufferedBytes !== 0) violations.push(`${router.context.bufferedBytes} bytes stay reserved`);
  violations.push(...judgeCounts(router.context.metrics.registry.render(), protocol.recorded, fleetChanged));
  const endpoints = router.context.registry.list();
  apply(router, [], config.dynamic.policy);
  await settle(() => router.context.registry.list().length === 0, "no endpoint is left");
  await settle(() => endpoints.every(({ pool }) => pool.size === 0), "no connection to an engine is left");
  router.close();
  await settle(() => clock.pending === 0, `no timer of the router is left`);
  for (const proxy of proxies) proxy.close();
  for (const engine of raws) engine.kill();
  await Promise.all([reference, ...sims].map((engine) => engine.close()));
  await settle(() => sockets() <= socketsBefore, "no socket is left");

  const corrupted = new Set(proxies.flatMap((proxy) => [...proxy.corrupted]));
  violations.push(...judgeAll(views, protocol.recorded, corrupted, terminates));
  const outcomes: Record<string, number> = {};
  for (const { outcome } of protocol.recorded) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  return {
    seed,
    requests: protocol.recorded.length,
    outcomes,
    recoveryMs,
    violations: violations.slice(0, maxViolations),
  };
}

function apply(router: RunningRouter, present: readonly number[], policy: string): void {
  const { dynamic } = router.context.config;
  const name = policyNames.find((known) => known === policy) ?? dynamic.policy;
  const endpoints = present.flatMap((i) => dynamic.endpoints[i] ?? []);
  router.apply({ ...dynamic, policy: name, endpoints }, "chaos");
}

function metric(router: RunningRouter, name: string): number {
  return valueOf(router.context.metrics.registry.render(), name);
}

/** @returns milliseconds until requests succeed */
async function recovery(port: number, asks: Asks, views: View[], violations: string[]): Promise<number> {
  const began = performance.now();
  let good = 0;
  let last = "";
  while (good < goodInARow) {
    const took = performance.now() - began;
    if (took > recoveryLimitMs) {
      violations.push(`not well ${recoveryLimitMs / 1000} s after the last mischief: ${last}`);
      return took;
    }
    try {
      const view = await plainVisit(port, asks);
      views.push(view);
      const { response } = view;
      const whole = response?.status === 200 && response.complete && !response.text.includes('"error"');
      good = whole ? good + 1 : 0;
      if (!whole) last = `${response?.status} ${response?.text.slice(0, 300)}`;
    } catch (error) {
      violations.push(`after the last mischief: ${String(error)}`);
      return performance.now() - began;
    }
    if (good === 0) await new Promise<void>((resolve) => setTimeout(resolve, 20));
  }
  return performance.now() - began;
}

/** @param terminates engines were told to stop, in which case some of vLLM's APIs end an answer as if it were whole */
function judgeAll(
  views: readonly View[],
  recorded: readonly Recorded[],
  corrupted: ReadonlySet<string>,
  terminates: boolean,
): string[] {
  const lines = new Map<string, Recorded[]>();
  for (const line of recorded) {
    const known = lines.get(line.requestId);
    if (known === undefined) lines.set(line.requestId, [line]);
    else known.push(line);
  }
  return views.flatMap((view) => {
    const silent = terminates && (view.ask.api === "responses" || view.ask.api === "messages");
    const damaged = silent || corrupted.has(view.ask.id) || view.manner === "bad network";
    const overtaken = wasOvertaken(
      view,
      (id) => lines.get(id)?.some(({ outcome }) => cutOutcome.test(outcome)) === true,
    );
    const stayed = view.stayed && !overtaken;
    return judge({ ...view, stayed }, lines.get(view.ask.id) ?? [], damaged) ?? [];
  });
}
