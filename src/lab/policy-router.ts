// The router's own policies as the router of a run: the very code of `routing` and `cache`, with the accounts that the proxy
// keeps. What the proxy learns from sockets (a first token, an end, a scrape) comes from the engine cores here.

import { RequestQueue, type QueuedRequest } from "../admission/queue.ts";
import { ApproximateIndex, type Placement } from "../cache/approximate.ts";
import type { Prompt } from "../cache/prompt.ts";
import type { CacheView } from "../cache/view.ts";
import type { Random } from "../engine/core/index.ts";
import { defaultLateBinding, type Handover, type LateBindingOptions } from "../routing/late-binding.ts";
import { EndpointLoad, type LoadTicket } from "../routing/load.ts";
import { isWait, type Candidate, type Choice, type Policy, type RequestView } from "../routing/policy.ts";
import { engineBlockTokens, type LabFleet, type LabRouter } from "./simulation.ts";

/** Makes a policy that looks at caches through a view. */
export type MakePolicy = (cache: CacheView) => Policy;

export interface PolicyRouterOptions {
  readonly make: MakePolicy;
  /** What was sent where, or what the engines report. */
  readonly view: "approximate" | "exact";
  /** Whether requests may wait in the router. */
  readonly waits: boolean;
  readonly scrapeMs: number;
  /** Share of the requests that other routers get. */
  readonly othersShare: number;
  /** Absent = as the router. */
  readonly lateBinding?: LateBindingOptions;
  /** From then on the queue is in plain order of arrival. Absent = never. */
  readonly inOrderFromMs?: number;
}

/** A prompt that also says which request it is of: the exact view asks the engines themselves. */
export interface LabPrompt extends Prompt {
  readonly request: number;
}

interface Sent {
  readonly ticket: LoadTicket;
  readonly placement: Placement | null;
  readonly predicted: number;
}

class WaitingRequest implements QueuedRequest {
  readonly request: number;
  readonly view: RequestView;
  readonly #candidates: readonly Candidate[];
  readonly #send: (request: number, choice: Choice) => void;

  constructor(
    request: number,
    view: RequestView,
    candidates: readonly Candidate[],
    send: (request: number, choice: Choice) => void,
  ) {
    this.request = request;
    this.view = view;
    this.#candidates = candidates;
    this.#send = send;
  }

  candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  bind({ candidates, choice }: Handover<QueuedRequest>): void {
    const chosen = candidates[choice.index];
    if (chosen === undefined) throw new Error("a request was handed over to nobody");
    this.#send(this.request, { ...choice, index: this.#candidates.indexOf(chosen) });
  }
}

export function policyRouter(
  options: PolicyRouterOptions,
  fleet: LabFleet,
  prompts: readonly LabPrompt[],
  random: Random,
): LabRouter {
  const { make, view, waits, scrapeMs, othersShare, lateBinding = defaultLateBinding } = options;
  const { inOrderFromMs = Number.POSITIVE_INFINITY } = options;
  const { clock, engines } = fleet;
  const unit = (): number => random.unit();
  const loads = engines.map(() => new EndpointLoad());
  const candidates = loads.map((load, at): Candidate => ({ id: endpointId(at), weight: 1, load }));
  const index = new ApproximateIndex();
  for (const [at, load] of loads.entries()) {
    load.capacityTokens = (engines[at]?.stats().kvBlocksTotal ?? 0) * engineBlockTokens;
    index.setEngine(endpointId(at), {
      capacityTokens: load.capacityTokens,
      blockTokens: engineBlockTokens,
      caching: true,
    });
  }
  const exact = view === "exact" ? new ExactView(fleet) : null;
  const policy = make(exact ?? index);
  const binding: LateBindingOptions = {
    ...lateBinding,
    get window() {
      return clock.nowMs() < inOrderFromMs ? lateBinding.window : 1;
    },
  };
  const queue = new RequestQueue({ clock, random: unit, policy, lateBinding: binding });
  const sent = new Map<number, Sent>();

  const scrape = (): void => {
    for (const [at, load] of loads.entries()) {
      const engine = engines[at];
      if (engine === undefined) continue;
      load.scraped = {
        atMs: clock.nowMs(),
        running: engine.running,
        waiting: engine.waiting,
        kvUsage: engine.kvUsage,
        own: load.queued + load.running,
        ownHeldTokens: load.heldTokens,
      };
    }
    clock.setTimer(scrapeMs, scrape);
  };
  scrape();

  const send = (request: number, { index: at, cachedTokens }: Choice): void => {
    const asked = fleet.requests[request];
    const prompt = prompts[request];
    const load = loads[at];
    if (asked === undefined || prompt === undefined || load === undefined) throw new Error(`no endpoint ${at}`);
    const { promptTokens } = asked;
    const ticket = load.send(promptTokens, promptTokens - cachedTokens, null, clock.nowMs());
    exact?.expect(request, at, 1);
    const placement = exact === null ? index.sent(endpointId(at), prompt) : null;
    sent.set(request, { ticket, placement, predicted: cachedTokens });
    fleet.send(request, at);
  };

  return {
    arrive(request) {
      const asked = fleet.requests[request];
      if (asked === undefined) return;
      const asking: RequestView = {
        model: "model",
        sessionKey: asked.session,
        prompt: prompts[request] ?? null,
        promptTokens: asked.promptTokens,
        maxTokens: null,
        priority: 0,
        othersShare,
        mayWait: waits,
        nowMs: clock.nowMs(),
      };
      const decision = policy(asking, candidates, unit);
      // as the router: who comes while others wait takes a place behind them, or it would overtake them unseen
      if (!isWait(decision) && queue.size === 0) {
        send(request, decision);
        return;
      }
      const uncached = Math.max(1, asked.promptTokens - decision.cachedTokens);
      queue.wait(new WaitingRequest(request, asking, candidates, send), uncached, candidates);
    },
    firstToken(request) {
      sent.get(request)?.ticket.firstToken(clock.nowMs(), true);
      queue.kick();
    },
    finished(request, at, { cachedTokens, generatedTokens }) {
      const entry = sent.get(request);
      if (entry === undefined) return;
      sent.delete(request);
      exact?.expect(request, at, -1);
      entry.ticket.release(clock.nowMs(), generatedTokens);
      if (entry.placement !== null) {
        index.finished(entry.placement, generatedTokens);
        if (entry.predicted > 0) index.observed(endpointId(at), entry.predicted, cachedTokens);
      }
      queue.kick();
    },
  };
}

/** Routers tell endpoints apart by their addresses. */
function endpointId(at: number): string {
  return `http://engine-${at}:8000`;
}

/** What KV events say: the engines' own blocks; and those of requests on their way, until they have ended. */
class ExactView implements CacheView {
  readonly complete = true;
  readonly #fleet: LabFleet;
  readonly #places: ReadonlyMap<string, number>;
  readonly #expected: readonly Uint16Array[];

  constructor(fleet: LabFleet) {
    this.#fleet = fleet;
    this.#places = new Map(fleet.engines.map((_, at) => [endpointId(at), at]));
    this.#expected = fleet.engines.map(() => new Uint16Array(fleet.names.distinct));
  }

  expect(request: number, at: number, more: 1 | -1): void {
    const expected = this.#expected[at];
    if (expected === undefined) return;
    for (const name of this.#fleet.names.of(request, false)) expected[name] = (expected[name] ?? 0) + more;
  }

  match(endpoint: string, prompt: Prompt): number {
    const { request } = prompt as LabPrompt;
    const at = this.#places.get(endpoint) ?? 0;
    const found = this.#fleet.cachedTokens(request, at, this.#expected[at]);
    const most = Math.floor((prompt.length - 1) / engineBlockTokens) * engineBlockTokens;
    return Math.min(found, most);
  }
}
