// Active checks. A new endpoint gets traffic only after its first success and after its models are known; a known one is
// looked at every 10 s, and every 2 s while anything is wrong with it. `/health` of vLLM says 200 also when it hangs, so a
// good check proves little: it only allows the breaker's probe.
import type { Clock, Timer } from "../clock.ts";
import type { ModelType } from "../config/types.ts";
import { askEngine } from "./engine-client.ts";
import type { Endpoint, ModelEntry } from "./endpoint.ts";
import type { Registry } from "./registry.ts";

export interface HealthOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly registry: Registry;
  readonly timeoutMs: number;
  /** The engines' API key, read anew for each check. */
  readonly engineKey: () => string | null;
  /** Told about each change of mind, for the log. */
  readonly onProblem: (endpoint: Endpoint, problem: string) => void;
  readonly onReady: (endpoint: Endpoint) => void;
}

/** A dummy request of production-stack's `--static-backend-health-checks`. */
export interface InferenceCheck {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly types: ReadonlyMap<string, ModelType>;
}

const calmMs = 10_000;
const troubledMs = 2_000;
/** A starting endpoint is asked quickly at first: it is what a person at a terminal waits for. */
const startingMs = 250;
/** Shortest time between two checks out of turn of an endpoint, however many requests fail on it. */
const hurryMs = 250;
/** Time between two checks of a fleet, so that a large one, of which many start or fail, costs no more than its size in calm. */
const perEndpointMs = 5;
/** Checks under way at one time, so that a fleet of thousands is not asked all at once. */
const maxAtOnce = 64;

/** When an endpoint is checked. Times by the clock. */
interface Entry {
  dueMs: number;
  /** When it was last asked out of turn. */
  hurriedMs: number;
  busy: boolean;
  /** Checks in a row that went wrong. */
  failures: number;
  inferenceDueMs: number;
}

export class HealthMonitor {
  readonly #options: HealthOptions;
  readonly #next = new Map<Endpoint, Entry>();
  #timer: Timer | null = null;
  #underWay = 0;
  #stopped = false;
  #inference: InferenceCheck | null = null;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  setInferenceCheck(check: InferenceCheck | null): void {
    this.#inference = check;
  }

  /** Looks at the registry again: new endpoints are checked at once, removed ones no more. */
  sync(): void {
    if (this.#stopped) return;
    const present = new Set(this.#options.registry.list().filter((endpoint) => !endpoint.leaving));
    for (const endpoint of this.#next.keys()) if (!present.has(endpoint)) this.#next.delete(endpoint);
    const now = this.#options.clock.nowMs();
    for (const endpoint of present) {
      if (!this.#next.has(endpoint))
        this.#next.set(endpoint, {
          dueMs: now,
          hurriedMs: now - hurryMs,
          busy: false,
          failures: 0,
          inferenceDueMs: now,
        });
    }
    this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#next.clear();
  }

  /** Asks soon: a request has just failed on it. */
  hurry(endpoint: Endpoint): void {
    const entry = this.#next.get(endpoint);
    if (entry === undefined || entry.busy) return;
    const soon = Math.max(this.#options.clock.nowMs(), entry.hurriedMs + hurryMs);
    if (soon >= entry.dueMs) return;
    entry.dueMs = soon;
    entry.hurriedMs = soon;
    this.#run();
  }

  readonly #run = (): void => {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#stopped) return;
    const now = this.#options.clock.nowMs();
    let soonest = Number.POSITIVE_INFINITY;
    for (const [endpoint, entry] of this.#next) {
      if (entry.busy) continue;
      if (entry.dueMs > now) soonest = Math.min(soonest, entry.dueMs);
      // without a place it waits for the end of another check, which comes back here
      else if (this.#underWay < maxAtOnce) void this.#check(endpoint, entry);
    }
    if (soonest !== Number.POSITIVE_INFINITY) {
      this.#timer = this.#options.clock.setTimer(Math.max(1, soonest - now), this.#run);
    }
  };

  async #check(endpoint: Endpoint, entry: Entry): Promise<void> {
    const { clock, random } = this.#options;
    entry.busy = true;
    this.#underWay++;
    const wasKnown = endpoint.known;
    const problem = await this.#ask(endpoint, entry).catch((error: unknown) =>
      error instanceof Error ? error.message : String(error),
    );
    this.#underWay--;
    entry.busy = false;
    if (this.#stopped) return;
    if (endpoint.leaving) {
      this.#run();
      return;
    }
    const now = clock.nowMs();
    endpoint.asked = true;
    let waitMs: number;
    if (problem === null) {
      entry.failures = 0;
      endpoint.lastProblem = null;
      endpoint.breaker.checkPassed(now);
      if (!wasKnown) {
        endpoint.becameReady(now);
        this.#options.registry.reindex();
        this.#options.onReady(endpoint);
      }
      waitMs = endpoint.breaker.state(now) === "ready" ? calmMs : troubledMs;
    } else {
      entry.failures++;
      if (endpoint.lastProblem !== problem) this.#options.onProblem(endpoint, problem);
      endpoint.lastProblem = problem;
      // one lost check is not yet a dead engine, unless nobody listens there
      if (wasKnown && (entry.failures >= 2 || /ECONNREFUSED/.test(problem))) endpoint.breaker.checkFailed(now);
      waitMs = !wasKnown && entry.failures < 40 ? startingMs : troubledMs;
    }
    waitMs = Math.max(waitMs, perEndpointMs * this.#next.size);
    entry.dueMs = now + waitMs * (0.9 + 0.2 * random());
    this.#run();
  }

  /** @returns null when all is well, else what is wrong */
  async #ask(endpoint: Endpoint, entry: Entry): Promise<string | null> {
    const { clock, timeoutMs } = this.#options;
    const key = this.#options.engineKey();
    const health = await askEngine(endpoint, "GET", "/health", null, key, timeoutMs, clock);
    if (health.status !== 200) return `/health answered ${health.status}`;
    const models = await askEngine(endpoint, "GET", "/v1/models", null, key, timeoutMs, clock);
    const problem = this.#learnModels(endpoint, models.status, models.body);
    if (problem !== null) return problem;
    const inference = this.#inference;
    if (inference === null || clock.nowMs() < entry.inferenceDueMs) return null;
    const wrong = await this.#infer(endpoint, inference, key);
    // a failed one is asked again with the next check, or that would find all well and take its word back
    if (wrong === null) entry.inferenceDueMs = clock.nowMs() + inference.intervalMs;
    return wrong;
  }

  #learnModels(endpoint: Endpoint, status: number, body: Buffer): string | null {
    const entries = status === 200 ? parseModels(body) : null;
    if (entries === null) {
      // models named in the configuration need nobody's word
      return endpoint.configuredModels === null
        ? `/v1/models answered ${status === 200 ? "something else than a list" : status}`
        : null;
    }
    endpoint.entries = entries;
    if (endpoint.configuredModels !== null) return null;
    const ids = entries.map((entry) => entry.id);
    if (ids.length === 0) return "/v1/models names no model";
    if (JSON.stringify(ids) !== JSON.stringify(endpoint.models)) {
      endpoint.models = ids;
      if (endpoint.known) this.#options.registry.reindex();
    }
    return null;
  }

  async #infer(endpoint: Endpoint, check: InferenceCheck, key: string | null): Promise<string | null> {
    const model = endpoint.models[0] ?? "";
    const request = dummyRequest(check.types.get(endpoint.url) ?? "completion", model);
    if (request === null) return null;
    const answer = await askEngine(
      endpoint,
      "POST",
      request.path,
      JSON.stringify(request.body),
      key,
      check.timeoutMs,
      this.#options.clock,
    );
    return answer.status === 200 ? null : `${request.path} answered ${answer.status} to a health check`;
  }
}

function parseModels(body: Buffer): ModelEntry[] | null {
  try {
    const parsed: unknown = JSON.parse(body.toString("utf8"));
    if (typeof parsed !== "object" || parsed === null || !("data" in parsed) || !Array.isArray(parsed.data))
      return null;
    return parsed.data.filter(isEntry);
  } catch {
    return null;
  }
}

function isEntry(value: unknown): value is ModelEntry {
  return typeof value === "object" && value !== null && "id" in value && typeof value.id === "string";
}

function dummyRequest(type: ModelType, model: string): { path: string; body: object } | null {
  switch (type) {
    case "chat":
    case "vision":
      return {
        path: "/v1/chat/completions",
        body: { model, messages: [{ role: "user", content: "Hello" }], max_tokens: 1 },
      };
    case "completion":
      return { path: "/v1/completions", body: { model, prompt: "Hello", max_tokens: 1 } };
    case "messages":
      return { path: "/v1/messages", body: { model, messages: [{ role: "user", content: "Hello" }], max_tokens: 1 } };
    case "embeddings":
      return { path: "/v1/embeddings", body: { model, input: "Hello" } };
    case "rerank":
      return { path: "/v1/rerank", body: { model, query: "Hello", documents: ["Test"] } };
    case "score":
      return { path: "/v1/score", body: { model, text_1: "Hello", text_2: "Test" } };
    case "transcription":
      return null; // needs a sound file; `/health` and `/v1/models` have to do
  }
}
