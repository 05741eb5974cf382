// `kvaware` in front of a real vLLM that publishes its cache: what the router predicts is what vLLM counts, turn after turn; and
// again after its subscription was cut, after messages were lost, and after vLLM was started anew, by the same router.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { ChaosProxy } from "../chaos/tcp-proxy.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";
import { requireOwnVllm, type OwnVllm } from "./requires.ts";

const model = "tiny";
const sessions = 8;
/** So that one in a hundred of a part can be late: what an engine has just stored may be on its way when the next request comes. */
const turns = 14;

/** Publishes on sockets of the file system: what vLLM binds on TCP would be open to the network. */
function serverOf(folder: string) {
  const config = {
    enable_kv_cache_events: true,
    publisher: "zmq",
    endpoint: `ipc://${folder}/events`,
    replay_endpoint: `ipc://${folder}/replay`,
    topic: "kv@tiny",
  };
  const flags = ["--enable-prompt-tokens-details", "--block-size=32", "--kv-events-config", JSON.stringify(config)];
  return { model, flags, env: { VLLM_SERVER_DEV_MODE: "1" } } as const;
}

/** A TCP port that leads to a socket of the file system; connections can be cut, and refused. */
class Bridge {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  path: string;
  open = true;
  port = 0;

  constructor(path: string) {
    this.path = path;
    this.#server = net.createServer((near) => {
      if (!this.open) {
        near.resetAndDestroy();
        return;
      }
      const far = net.connect(this.path);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on("error", () => undefined); // either end may leave
        socket.on("close", () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far).pipe(near);
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        const address = this.#server.address();
        if (typeof address === "object" && address !== null) this.port = address.port;
        resolve();
      });
    });
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#server.close();
    this.cut();
  }
}

interface Answer {
  readonly usage: { readonly prompt_tokens_details: { readonly cached_tokens: number } | null };
  readonly choices: readonly { readonly message: { readonly content: string } }[];
}

async function ask(router: TestRouter, messages: readonly object[]): Promise<Answer> {
  const response = await fetch(`${router.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, messages, max_tokens: 12, temperature: 0 }),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as Answer;
}

interface Predictions {
  readonly equal: number;
  readonly less: number;
  readonly more: number;
}

const predictions = (router: TestRouter): Predictions => {
  const value = (result: string): number => router.metric(`lmstack_kv_predictions_total{result="${result}"}`);
  return { equal: value("equal"), less: value("less"), more: value("more") };
};

const counted = (router: TestRouter): { equal: number; wrong: number } => {
  const { equal, less, more } = predictions(router);
  return { equal, wrong: less + more };
};

const words = (seed: number, count: number): string =>
  Array.from({ length: count }, (_, at) => `word${(seed * 7919 + at * 104_729) % 9973}`).join(" ");

/**
 * Conversations that share a system prompt; each answer is part of the next question. Never is something believed to be cached
 * that is not.
 */
async function converse(t: TestContext, router: TestRouter, seed: number): Promise<void> {
  const before = predictions(router);
  const system = { role: "system", content: words(seed, 60) };
  const talks = Array.from({ length: sessions }, (_, at) => [
    system,
    { role: "user", content: words(seed + at + 1, 40) },
  ]);
  let cached = 0;
  const missed: string[] = [];
  for (let turn = 0; turn < turns; turn++) {
    for (const [at, messages] of talks.entries()) {
      const known = `${state(router)}, ${router.context.kv.sources.blocksOf(router.context.registry.list()[0]?.id ?? "")} blocks known`;
      const was = predictions(router);
      const { usage, choices } = await ask(router, messages);
      await router.idle();
      const is = predictions(router);
      for (const result of ["less", "more"] as const)
        if (is[result] > was[result])
          missed.push(`turn ${turn} of ${at}: ${result} was told (${known}; then ${state(router)})`);
      cached += usage.prompt_tokens_details?.cached_tokens ?? 0;
      messages.push(
        { role: "assistant", content: choices[0]?.message.content ?? "" },
        { role: "user", content: words(seed + 100 * turn + at, 30) },
      );
    }
  }
  const after = predictions(router);
  const equal = after.equal - before.equal;
  const less = after.less - before.less;
  const all = equal + less + after.more - before.more;
  t.diagnostic(`${equal} of ${all} predictions came true to the token; ${cached} tokens were cached`);
  assert.ok(cached > 5_000, `${cached} tokens were cached`);
  // those before vLLM had told of any cached token are not counted
  assert.ok(all >= sessions * (turns - 1), `${all} predictions`);
  assert.equal(after.more, before.more, missed.join("; "));
  assert.ok(equal >= 0.99 * all, `${equal} of ${all} came true; ${missed.join("; ")}`);
}

const state = (router: TestRouter): string => {
  const { kv, registry } = router.context;
  return kv.sources.stateOf(registry.list()[0]?.id ?? "");
};
const exact = (router: TestRouter): Promise<void> =>
  until(() => state(router) === "exact", "its events are followed", 60_000);

const kvAware = (...argv: readonly string[]): string[] => [
  "--routing-logic",
  "kvaware",
  "--tokenize-timeout-seconds",
  "30",
  ...argv,
];

test("kvaware in front of a real vLLM:", { timeout: 580_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "kv-e2e-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const server = serverOf(folder);
  const bridges = [new Bridge(`${folder}/events`), new Bridge(`${folder}/replay`)] as const;
  for (const bridge of bridges) {
    await bridge.listen();
    t.after(() => bridge.close());
  }
  const wire = new ChaosProxy(0, () => ({ kind: "pass" }));
  await wire.listen();
  t.after(() => wire.close());
  /** Goes on over the restart of vLLM. */
  let lasting: TestRouter | null = null;

  const connect = (vllm: OwnVllm): void => {
    wire.targetPort = Number(new URL(vllm.origin).port);
    wire.cutAll();
  };

  await t.test("one server", async (one) => {
    const vllm = await requireOwnVllm(one, server);
    if (vllm === null) return;
    connect(vllm);

    await one.test("asked where its events are, with its own /tokenize", async (part) => {
      const router = await startTestRouter(part, kvAware("--static-backends", vllm.origin));
      await exact(router);
      await converse(part, router, 1_000);
      assert.equal(router.metric('lmstack_kv_lookups_total{view="exact",reason="exact"}'), sessions * turns);
    });

    await one.test("with its tokenizer and chat template in the router", async (part) => {
      const tokenizers = `${model}:${vllm.modelFolder}`;
      const router = await startTestRouter(part, kvAware("--static-backends", vllm.origin, "--tokenizers", tokenizers));
      await exact(router);
      await converse(part, router, 2_000);
      assert.equal(router.metric('lmstack_kv_lookups_total{view="exact",reason="exact"}'), sessions * turns);
    });

    const places = bridges.map(({ port }) => port).join(":");
    const router = await startTestRouter(t, kvAware("--static-backends", wire.url, "--static-kv-events", places));
    lasting = router;
    await exact(router);

    await one.test("after its subscription was cut, and with it messages were lost", async (part) => {
      await converse(part, router, 3_000);
      for (const bridge of bridges) bridge.open = false;
      for (const bridge of bridges) bridge.cut();
      await ask(router, [{ role: "user", content: words(4_000, 300) }]);
      await until(() => state(router) === "disconnected", "the router has noticed");
      for (const bridge of bridges) bridge.open = true;
      await exact(router);
      const before = counted(router);
      await ask(router, [{ role: "user", content: words(4_000, 300) }]);
      await router.idle();
      assert.deepEqual(counted(router), { equal: before.equal + 1, wrong: before.wrong }, "what was missed is known");
      await converse(part, router, 5_000);
    });

    await one.test("after its cache was reset", async (part) => {
      const response = await fetch(`${vllm.origin}/reset_prefix_cache`, { method: "POST" });
      assert.equal(response.status, 200, await response.text());
      // the event goes out with the next step: this one request can't know
      await ask(router, [{ role: "user", content: words(6_000, 100) }]);
      await router.idle();
      await converse(part, router, 7_000);
    });
  });

  await t.test("another server in its place", async (other) => {
    const router = lasting;
    if (router === null) return;
    const vllm = await requireOwnVllm(other, server);
    if (vllm === null) return;
    connect(vllm);
    const [endpoint] = router.context.registry.list();
    const { clock } = router.context;
    await until(() => endpoint?.breaker.admits(clock.nowMs()) === true, "the router tries it again", 60_000);
    await exact(router);
    await converse(other, router, 3_000);
  });
});
