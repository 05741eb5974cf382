// `lmstack up` as a process: from the first line to an answer, an engine that is killed, and every way in which it ends.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { until } from "../helpers/until.ts";
import { childrenOf, hasProc, isAlive, start, type Command } from "./process.ts";

const model = "facebook/opt-125m";

interface Up {
  readonly command: Command;
  readonly url: string;
  /** Pids of the engines. */
  readonly engines: number[];
}

/** Started, with all engines ready. */
async function up(t: TestContext, args: readonly string[] = []): Promise<Up> {
  const command = start(t, ["up", "--port", "0", "--engines", "2", "--log-format", "text", ...args]);
  const [, url = ""] = await command.says(/all 2 engines are up: (http:\S+) answers/);
  return { command, url, engines: childrenOf(command.pid) };
}

function post(url: string, path: string, body: object): Promise<Response> {
  return fetch(`${url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

const gone = (pids: readonly number[]): boolean => pids.every((pid) => !isAlive(pid));

const options = { skip: hasProc ? false : "processes are looked up in /proc" };

test("up prints where it listens, and answers the README's request to the letter", options, async (t) => {
  const { command, url } = await up(t);
  assert.match(command.out, /lmstack up: http:\/\/localhost:\d+ with 2 simulated engines of facebook\/opt-125m/);
  const response = await post(url, "/completions", {
    model,
    prompt: "Write a simple poem: ",
    stream: false,
    max_tokens: 30,
  });
  assert.equal(response.status, 200);
  const answer = (await response.json()) as Record<string, unknown> & {
    id: string;
    choices: Record<string, unknown>[];
    usage: Record<string, unknown>;
  };
  assert.match(answer.id, /^cmpl-/);
  assert.equal(answer["model"], model);
  assert.ok(answer.choices[0] !== undefined && "stop_reason" in answer.choices[0]);
  assert.ok("prompt_logprobs" in answer.choices[0]);
  assert.equal(answer.usage["completion_tokens"], 30);
  assert.ok("prompt_tokens_details" in answer.usage);
  await command.says(/Routing request \S+ with session id None to http:\/\/127\.0\.0\.1:\d+ at /);

  const page = await fetch(`${url}/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
  assert.match(await page.text(), /<textarea/);

  command.child.kill("SIGINT");
  assert.deepEqual(await command.exit(), { code: 0, signal: null });
  assert.equal(command.err, "");
});

test(
  "under kvaware the engines of up publish what they hold, and the router finds a prompt by it",
  options,
  async (t) => {
    const { command, url } = await up(t, ["--routing-logic", "kvaware"]);
    const metrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
    const exact = async (): Promise<number> =>
      (await metrics()).match(/kv_event_state\{[^}]*state="exact"\} 1/g)?.length ?? 0;
    const latestMs = performance.now() + 20_000;
    while ((await exact()) < 2) {
      assert.ok(performance.now() < latestMs, await metrics());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const tokens = Array.from({ length: 200 }, (_, i) => 100 + i);
    for (let i = 0; i < 2; i++)
      await (await post(url, "/v1/completions", { model, prompt: tokens, max_tokens: 2 })).text();
    assert.match(await metrics(), /lmstack_kv_lookups_total\{view="exact",reason="exact"\} 2/);
    command.child.kill("SIGINT");
    assert.deepEqual(await command.exit(), { code: 0, signal: null });
  },
);

test("up says that an engine was killed, starts it again on its port and uses it again", options, async (t) => {
  const { command, url, engines } = await up(t);
  const [victim = 0] = engines;
  assert.equal(engines.length, 2);
  process.kill(victim, "SIGKILL");
  const [, engine = ""] = await command.says(/engine (http:\S+) has ended \(SIGKILL\) and is started again/);
  // the other one answers meanwhile
  assert.equal((await post(url, "/v1/completions", { model, prompt: "x", max_tokens: 1 })).status, 200);
  await command.says(new RegExp(`engine ${engine} is up again`));
  const now = childrenOf(command.pid);
  assert.equal(now.length, 2);
  assert.ok(!now.includes(victim));
  const from = command.out.length;
  let used = false;
  const sending = (async () => {
    while (!used) await (await post(url, "/v1/completions", { model, prompt: "x", max_tokens: 1 })).text();
  })();
  await command.says(new RegExp(`Routing request \\S+ with session id None to ${engine} `), from);
  used = true;
  await sending;
  const { requests } = (await (await fetch(`${engine}/sim/state`)).json()) as { requests: number };
  assert.ok(requests > 0);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`up ends all of it on ${signal}`, options, async (t) => {
    const { command, engines } = await up(t);
    command.child.kill(signal);
    assert.deepEqual(await command.exit(), { code: 0, signal: null });
    assert.ok(gone(engines));
  });
}

test("up lets a stream finish at the first Ctrl-C, which reaches its engines too", options, async (t) => {
  const { command, url, engines } = await up(t);
  const response = await post(url, "/v1/completions", {
    model,
    prompt: "x",
    max_tokens: 150,
    ignore_eos: true,
    stream: true,
  });
  for (const pid of [command.pid, ...engines]) process.kill(pid, "SIGINT");
  const text = await response.text();
  assert.match(text, /"finish_reason":"length"/);
  assert.match(text, /data: \[DONE\]\n\n$/);
  assert.deepEqual(await command.exit(), { code: 0, signal: null });
  assert.ok(gone(engines));
  assert.doesNotMatch(command.out, /has ended/);
});

test("up ends at once at the second Ctrl-C", options, async (t) => {
  const { command, url, engines } = await up(t);
  const response = await post(url, "/v1/completions", {
    model,
    prompt: "x",
    max_tokens: 30_000,
    ignore_eos: true,
    stream: true,
  });
  command.child.kill("SIGINT");
  await command.says(/ending; once more ends at once/);
  command.child.kill("SIGINT");
  assert.deepEqual(await command.exit(), { code: 0, signal: null });
  assert.ok(gone(engines));
  await response.text().catch(() => undefined);
});

test("engines end when up is killed", options, async (t) => {
  const { command, engines } = await up(t);
  command.child.kill("SIGKILL");
  await command.exit();
  await until(() => gone(engines), "the engines are gone");
});
