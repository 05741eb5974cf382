// Replays recorded requests to a simulated engine that was started as the recorded server was. Between the plan and the
// comparison; it holds no expectation of its own.

import { startEngine } from "../../../src/engine/serve.ts";
import type { RunningEngine } from "../../../src/engine/serve.ts";
import { until } from "../support.ts";
import { compare } from "./compare.ts";
import type { CompareOptions, Difference } from "./compare.ts";
import { casesOf, groups, readIndex, recorded, servers } from "./plan.ts";
import type { RecordedCase } from "./plan.ts";
import { call, readResponses } from "./wire.ts";
import type { Call } from "./wire.ts";

export interface CaseResult {
  readonly id: string;
  readonly differences: readonly Difference[];
}

/** Starts the request and leaves it under way. */
function begin({ port }: { readonly port: number }, one: RecordedCase): Call {
  const closes = one.end.startsWith("eof") || one.name.startsWith("half_close");
  const answers = responsesOf(one).filter(({ status }) => !status.includes(" 100 ")).length;
  return call(port, one.request, {
    responses: closes ? 0 : answers,
    halfClose: one.name.startsWith("half_close"),
    head: isHead(one),
  });
}

const isHead = (one: RecordedCase): boolean => one.request.subarray(0, 5).toString("latin1") === "HEAD ";

const responsesOf = (one: RecordedCase): ReturnType<typeof readResponses> => readResponses(one.response, isHead(one));

async function finish(one: RecordedCase, running: Call, options?: CompareOptions): Promise<CaseResult> {
  const bytes = await running.bytes;
  return { id: one.id, differences: compare(responsesOf(one), readResponses(bytes, isHead(one)), options) };
}

export async function replayGroup(group: string): Promise<CaseResult[]> {
  const plan = groups[group] ?? {};
  const engine = await startEngine({ ...servers[readIndex(group).server], ...plan.options });
  try {
    const results: CaseResult[] = [];
    for (const one of casesOf(group)) {
      const busy = await occupy(engine, plan.busy?.[one.name] ?? 0);
      results.push(await finish(one, begin(engine, one)));
      await busy();
    }
    return results;
  } finally {
    await engine.close();
  }
}

/**
 * The same requests to a real server, which was started as the recorded one, and to a simulated engine: what they answer is
 * compared with one another. Cases that need other requests under way are left to the recordings.
 */
export async function replayLive(group: string, port: number): Promise<CaseResult[]> {
  const plan = groups[group] ?? {};
  const engine = await startEngine({ ...servers[readIndex(group).server], ...plan.options });
  try {
    const results: CaseResult[] = [];
    for (const one of casesOf(group)) {
      if (plan.busy?.[one.name] !== undefined) continue;
      const simulated = begin(engine, one);
      const live = await begin({ port }, one).bytes;
      const differences = compare(readResponses(live, isHead(one)), readResponses(await simulated.bytes, isHead(one)));
      results.push({ id: one.id, differences });
    }
    return results;
  } finally {
    await engine.close();
  }
}

/** Streams that are in flight until the returned function has been called. */
async function occupy(engine: RunningEngine, streams: number): Promise<() => Promise<void>> {
  const stop = new AbortController();
  const body = JSON.stringify({ prompt: "x", max_tokens: 900, ignore_eos: true, stream: true });
  const headers = { "content-type": "application/json", authorization: "Bearer key-one" };
  const init = { method: "POST", body, headers, signal: stop.signal };
  const responses = Array.from({ length: streams }, () => fetch(`${engine.url}/v1/completions`, init));
  await Promise.all(responses);
  await until(() => engine.state().running + engine.state().waiting === streams, "the streams run");
  return async () => {
    stop.abort();
    await until(() => engine.state().inFlight === 0, "the streams are gone");
  };
}

/** The group in which requests are met in the middle by pause, sleep and abort. */
export async function replayStory(): Promise<CaseResult[]> {
  // Steps so long that the call meets the request in the middle also where the machine is busy: those that are aborted
  // need never come to their end.
  const steps = (b0Us: number) => ({ id: "slow", b0Us, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 2048 });
  const engine = await startEngine({ ...servers["A"], preset: steps(5_000) });
  const aborting = await startEngine({ ...servers["A"], preset: steps(40_000) });
  const results: CaseResult[] = [];
  const one = (name: string): RecordedCase => recorded("dev", name);
  const run = async (name: string, on = engine): Promise<void> => {
    results.push(await finish(one(name), begin(on, one(name))));
  };
  const met = async (
    name: string,
    calls: readonly string[],
    on: RunningEngine,
    ignoreCounts: boolean,
  ): Promise<void> => {
    const tokens = on.state().generatedTokens;
    const victim = begin(on, one(name));
    await until(() => on.state().generatedTokens > tokens + 5, "the request generates");
    for (const next of calls) await run(`${name}__${next}`, on);
    results.push(await finish(one(name), victim, { ignoreCounts }));
  };
  try {
    const paused = ["the_call", "is_paused", "resume"];
    for (const name of ["stream_hit_by_pause_abort", "nonstream_hit_by_pause_abort"])
      await met(name, paused, aborting, true);
    for (const name of ["stream_hit_by_pause_wait", "stream_hit_by_pause_keep"]) await met(name, paused, engine, false);
    // by the wrong id nothing is aborted, and the request runs to its end
    await met("stream_hit_by_abort_requests", ["the_call"], engine, false);
    await met("stream_hit_by_abort_requests_full_id", ["the_call"], aborting, true);
    await run("pause_then_request__pause");
    await run("health_while_paused");
    const held = begin(engine, one("request_while_paused"));
    await held.started;
    await run("pause_then_request__resume");
    results.push(await finish(one("request_while_paused"), held));
    for (const name of ["sleep_not_enabled", "is_sleeping_after", "health_after_sleep", "wake_up"]) await run(name);
    await run("completion_after_wake");
    return results;
  } finally {
    await engine.close();
    await aborting.close();
  }
}
