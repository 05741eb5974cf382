// Conversations over several routers in front of the same simulated engines: each turn goes through another router, as behind a
// Service that knows no sessions. Shared by a test and a benchmark.
import type { TestContext } from "node:test";
import { startEngine, type RunningEngine } from "../../src/engine/serve.ts";
import { startTestRouter, type TestRouter } from "./router.ts";
import { until } from "./until.ts";

export interface ConversationOptions {
  readonly routers: number;
  readonly engines: number;
  readonly policy: "kvaware" | "prefixaware" | "leastload";
  /** Each router is told how many there are. */
  readonly told?: boolean;
  readonly sessions: number;
  /** Sessions of a group share their system prompt. */
  readonly groups: number;
  readonly turns: number;
  /** Requests at one time. */
  readonly concurrency: number;
  /** Step times of the engines, and how much faster than life they go. */
  readonly preset: string;
  readonly speed: number;
}

export interface ConversationResult {
  /** Part of all prompt tokens that engines had cached. */
  readonly hitRate: number;
  /** What one engine with room for all would have cached. */
  readonly ideal: number;
  /** Computed prompt tokens of the busiest engine over the mean. */
  readonly imbalance: number;
}

const model = "m";
const systemTokens = 600;
const questionTokens = 150;
const answerTokens = 50;
const blockSize = 16;
const portOf = (endpoint: string | null | undefined): string => /:(\d+)$/.exec(endpoint ?? "")?.[1] ?? "0";

/** Token ids from a number: the same number, the same tokens. */
function tokensOf(seed: number, count: number): number[] {
  let state = (seed * 2_654_435_761 + 12_345) % 2_147_483_647;
  return Array.from({ length: count }, () => {
    state = (state * 48_271) % 2_147_483_647;
    return 100 + (state % 20_000);
  });
}

async function startRouters(
  t: TestContext,
  engines: readonly RunningEngine[],
  { routers, policy, told = false }: ConversationOptions,
): Promise<TestRouter[]> {
  const urls = engines.map((engine) => engine.url).join(",");
  const places = engines
    .map(({ kvEvents: [one] }) => `${portOf(one?.endpoint)}:${portOf(one?.replayEndpoint)}`)
    .join(",");
  const argv = ["--static-backends", urls, "--routing-logic", policy, "--static-kv-events", places];
  if (told) argv.push("--router-replicas", String(routers));
  const started = await Promise.all(
    Array.from({ length: routers }, () => startTestRouter(t, [...argv, "--tokenize-timeout-seconds", "10"])),
  );
  if (policy !== "kvaware") return started;
  const follows = ({ context: { kv, registry } }: TestRouter): boolean =>
    registry.list().every(({ id }) => kv.sources.stateOf(id) === "exact");
  await until(() => started.every(follows), "every router follows every engine");
  return started;
}

async function ask(router: TestRouter, prompt: readonly number[]): Promise<{ prompt: number; cached: number }> {
  const response = await fetch(`${router.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, prompt, max_tokens: answerTokens, ignore_eos: true }),
  });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  const { usage } = (await response.json()) as {
    usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
  };
  return { prompt: usage.prompt_tokens, cached: usage.prompt_tokens_details.cached_tokens };
}

/** Runs them, and ends what it has started with the test. */
export async function runConversations(t: TestContext, options: ConversationOptions): Promise<ConversationResult> {
  const kvEvents = {
    enable_kv_cache_events: true,
    endpoint: "tcp://127.0.0.1:*",
    replay_endpoint: "tcp://127.0.0.1:*",
  };
  const { preset, speed } = options;
  const settings = { preset, speed, blockSize, models: [model], maxModelLen: 32_768, kvEvents } as const;
  const engines = await Promise.all(Array.from({ length: options.engines }, () => startEngine(settings)));
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  const routers = await startRouters(t, engines, options);
  let [prompt, cached, ideal, next] = [0, 0, 0, 0];
  const shared = new Set<number>();

  async function converse(session: number): Promise<void> {
    const group = session % options.groups;
    let tokens = tokensOf(1_000_000 + group, systemTokens);
    let known = 0;
    for (let turn = 0; turn < options.turns; turn++) {
      tokens = [...tokens, ...tokensOf(session * 100 + turn, questionTokens)];
      const router = routers[next++ % routers.length] as TestRouter;
      const usage = await ask(router, tokens);
      prompt += usage.prompt;
      cached += usage.cached;
      const before = Math.max(known, shared.has(group) ? systemTokens : 0);
      ideal += Math.floor(before / blockSize) * blockSize;
      shared.add(group);
      known = tokens.length;
      // what the engine has answered is nearly what comes back; here it is other tokens, so that nothing is flattered
      tokens = [...tokens, ...tokensOf(session * 100 + turn + 50, answerTokens)];
    }
  }

  const waiting = Array.from({ length: options.sessions }, (_, at) => at);
  const worker = async (): Promise<void> => {
    for (let session = waiting.shift(); session !== undefined; session = waiting.shift()) await converse(session);
  };
  await Promise.all(Array.from({ length: options.concurrency }, worker));
  const computed = engines.map((engine) => {
    const { queryTokens, hitTokens } = engine.state();
    return queryTokens - hitTokens;
  });
  const mean = computed.reduce((sum, tokens) => sum + tokens, 0) / computed.length;
  return { hitRate: cached / prompt, ideal: ideal / prompt, imbalance: Math.max(...computed) / mean };
}
