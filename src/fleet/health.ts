// Active checks. A new endpoint gets traffic only after its first success and after its models are known; a known one is
// looked at every 10 s, and every 2 s while anything is wrong with it. `/health` of vLLM says 200 also when it hangs, so a
// good check proves little: it only allows the breaker's probe, and one that hung has to make a token first.
import type { Clock } from "../clock.ts";
import type { ModelType } from "../config/types.ts";
import { askEngine } from "./engine-client.ts";
import type { Endpoint, ModelEntry } from "./endpoint.ts";
import type { Registry } from "./registry.ts";
import { Rota } from "./rota.ts";

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

interface Check {
  /** Checks in a row that went wrong. */
  failures: number;
  /** By the clock. */
  inferenceDueMs: number;
}

export class HealthMonitor {
  readonly #options: HealthOptions;
  readonly #rota: Rota<Check>;
  #inference: InferenceCheck | null = null;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#rota = new Rota<Check>({
      clock: options.clock,
      maxAtOnce,
      begin: (_, nowMs) => ({ state: { failures: 0, inferenceDueMs: nowMs }, waitMs: 0 }),
      ask: (endpoint, check) => this.#check(endpoint, check),
    });
  }

  setInferenceCheck(check: InferenceCheck | null): void {
    this.#inference = check;
  }

  /** Looks at the registry again: new endpoints are checked at once, removed ones no more. */
  sync(): void {
    this.#rota.sync(this.#options.registry.list().filter((endpoint) => !endpoint.leaving));
  }

  stop(): void {
    this.#rota.stop();
  }

  /** Asks soon: a request has just failed on it. */
  hurry(endpoint: Endpoint): void {
    this.#rota.hurry(endpoint, hurryMs);
  }

  async #check(endpoint: Endpoint, check: Check): Promise<number> {
    const { clock, random } = this.#options;
    const wasKnown = endpoint.known;
    const problem = await this.#ask(endpoint, check).catch((error: unknown) =>
      error instanceof Error ? error.message : String(error),
    );
    if (endpoint.leaving || !this.#rota.has(endpoint)) return 0;
    const now = clock.nowMs();
    endpoint.asked = true;
    let waitMs: number;
    if (problem === null) {
      check.failures = 0;
      endpoint.lastProblem = null;
      endpoint.breaker.checkPassed(now);
      if (!wasKnown) {
        endpoint.becameReady(now);
        this.#options.registry.reindex();
        this.#options.onReady(endpoint);
      }
      waitMs = endpoint.breaker.state(now) === "ready" ? calmMs : troubledMs;
    } else {
      check.failures++;
      if (endpoint.lastProblem !== problem) this.#options.onProblem(endpoint, problem);
      endpoint.lastProblem = problem;
      // one lost check is not yet a dead engine, unless nobody listens there
      if (wasKnown && (check.failures >= 2 || /ECONNREFUSED/.test(problem))) endpoint.breaker.checkFailed(now);
      waitMs = !wasKnown && check.failures < 40 ? startingMs : troubledMs;
    }
    waitMs = Math.max(waitMs, perEndpointMs * this.#rota.size);
    return waitMs * (0.9 + 0.2 * random());
  }

  /** @returns null when all is well, else what is wrong */
  async #ask(endpoint: Endpoint, check: Check): Promise<string | null> {
    const { clock, timeoutMs } = this.#options;
    const key = this.#options.engineKey();
    const health = await askEngine(endpoint, "GET", "/health", null, key, timeoutMs, clock);
    if (health.status !== 200) return `/health answered ${health.status}`;
    const models = await askEngine(endpoint, "GET", "/v1/models", null, key, timeoutMs, clock);
    const problem = this.#learnModels(endpoint, models.status, models.body);
    if (problem !== null) return problem;
    if (endpoint.progress.stalled) return await this.#awakens(endpoint, key);
    const inference = this.#inference;
    if (inference === null || clock.nowMs() < check.inferenceDueMs) return null;
    const wrong = unwell(await this.#infer(endpoint, inference.types, inference.timeoutMs, key));
    // a failed one is asked again with the next check, or that would find all well and take its word back
    if (wrong === null) check.inferenceDueMs = clock.nowMs() + inference.intervalMs;
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

  /**
   * One that hung says that it is well, as it did while it hung. So it is asked for a token before a client's request tries it,
   * which would be held up for seconds each time.
   */
  async #awakens(endpoint: Endpoint, key: string | null): Promise<string | null> {
    const types = this.#inference?.types ?? noTypes;
    const answer = await this.#infer(endpoint, types, this.#options.timeoutMs, key);
    if (answer?.status === 200) endpoint.progress.heard(this.#options.clock.nowMs());
    // one that makes no text says no more than that it answers: a client's request has to try it
    return answer !== null && answer.status >= 500 ? unwell(answer) : null;
  }

  /** @returns null when there is nothing that it could be asked */
  async #infer(
    endpoint: Endpoint,
    types: InferenceCheck["types"],
    timeoutMs: number,
    key: string | null,
  ): Promise<{ readonly path: string; readonly status: number } | null> {
    const model = endpoint.models[0] ?? "";
    const request = dummyRequest(types.get(endpoint.url) ?? "completion", model);
    if (request === null) return null;
    const { path, body } = request;
    const { clock } = this.#options;
    const { status } = await askEngine(endpoint, "POST", path, JSON.stringify(body), key, timeoutMs, clock);
    return { path, status };
  }
}

const noTypes: InferenceCheck["types"] = new Map();

function unwell(answer: { readonly path: string; readonly status: number } | null): string | null {
  if (answer === null || answer.status === 200) return null;
  return `${answer.path} answered ${answer.status} to a health check`;
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
