// Workloads of our own, by name: what people run in front of a fleet, each reduced to what matters for routing. Seeded: a
// name, a seed and a number of requests are the whole input. docs/lab.md tells what each stands for.

import type { Random } from "../../engine/core/index.ts";
import { exponential, geometric, streamOf, tokensOf, Zipf } from "./distributions.ts";
import { promptTokensOf, type Segment, type Workload, type WorkloadRequest } from "./workload.ts";

export interface GeneratorOptions {
  readonly seed: number;
  readonly requests: number;
}

/** Hands out segments that no other one is equal to. */
class Segments {
  #next = 1;

  make(tokens: number): Segment {
    return { id: this.#next++, tokens };
  }
}

function ask(
  arrivalMs: number,
  prompt: readonly Segment[],
  answer: Segment,
  named: number,
  session: string | null,
): WorkloadRequest {
  return { arrivalMs, prompt, promptTokens: promptTokensOf(prompt), answer, named, session };
}

function inOrder(requests: WorkloadRequest[], count: number): WorkloadRequest[] {
  return requests.toSorted((a, b) => a.arrivalMs - b.arrivalMs).slice(0, count);
}

/** How a conversation goes on: what is said first, and what each turn adds. */
interface Conversation {
  readonly opening: readonly Segment[];
  readonly turns: number;
  readonly said: () => number;
  readonly answered: () => number;
  /** From a turn's arrival to the next one's. */
  readonly pauseMs: () => number;
}

/**
 * Conversations that begin as a Poisson process. A turn's prompt is all that was said before, answers included. Arrivals
 * are fixed beforehand: a slow fleet must not slow down those who ask.
 */
function conversations(
  { requests: count }: GeneratorOptions,
  segments: Segments,
  arrivals: Random,
  meanGapMs: number,
  begin: () => Conversation,
): WorkloadRequest[] {
  const requests: WorkloadRequest[] = [];
  // Conversations overlap: those that begin before the last needed turn all count, so a few more are made than needed.
  let startMs = 0;
  let enoughMs = Number.POSITIVE_INFINITY;
  for (let session = 0; startMs <= enoughMs; session++) {
    startMs += exponential(arrivals, meanGapMs);
    const { opening, turns, said, answered, pauseMs } = begin();
    const history: Segment[] = [...opening];
    let atMs = startMs;
    for (let turn = 0; turn < turns; turn++) {
      history.push(segments.make(said()));
      const answer = segments.make(answered());
      requests.push(ask(atMs, [...history], answer, opening.length + 1, `session-${session}`));
      history.push(answer);
      atMs += pauseMs();
    }
    if (requests.length >= count && enoughMs === Number.POSITIVE_INFINITY) {
      enoughMs = inOrder(requests, count).at(-1)?.arrivalMs ?? 0;
    }
  }
  return inOrder(requests, count);
}

/** People who talk to one of 20 assistants, each with its own system prompt. */
function multiTurn(options: GeneratorOptions): WorkloadRequest[] {
  const segments = new Segments();
  const sizes = streamOf(options.seed, "multi-turn sizes");
  const pauses = streamOf(options.seed, "multi-turn pauses");
  const assistants = Array.from({ length: 20 }, () => segments.make(tokensOf(sizes, 1200, 0.6, 200, 6000)));
  const popular = new Zipf(assistants.length, 1);
  return conversations(options, segments, streamOf(options.seed, "multi-turn arrivals"), 1500, () => ({
    opening: [assistants[popular.draw(sizes)] ?? segments.make(1200)],
    turns: geometric(sizes, 6, 40),
    said: () => tokensOf(sizes, 120, 1, 4, 4000),
    answered: () => tokensOf(sizes, 260, 0.7, 8, 1500),
    pauseMs: () => 8000 + exponential(pauses, 30_000),
  }));
}

/** Single questions below one of 50 long system prompts; a few prompts get most of them. */
function sharedPrefixes({ seed, requests: count }: GeneratorOptions): WorkloadRequest[] {
  const segments = new Segments();
  const sizes = streamOf(seed, "shared sizes");
  const arrivals = streamOf(seed, "shared arrivals");
  const prompts = Array.from({ length: 50 }, () => segments.make(tokensOf(sizes, 3000, 0.5, 500, 12_000)));
  const popular = new Zipf(prompts.length, 1.1);
  let atMs = 0;
  return Array.from({ length: count }, () => {
    atMs += exponential(arrivals, 50);
    const prompt = [
      prompts[popular.draw(sizes)] ?? segments.make(3000),
      segments.make(tokensOf(sizes, 300, 1, 8, 6000)),
    ];
    return ask(atMs, prompt, segments.make(tokensOf(sizes, 200, 0.7, 4, 1500)), 2, null);
  });
}

/** Programs that work with tools: one of 6 kinds with long instructions, many quick steps, each adding a tool's output. */
function agents(options: GeneratorOptions): WorkloadRequest[] {
  const segments = new Segments();
  const sizes = streamOf(options.seed, "agents sizes");
  const pauses = streamOf(options.seed, "agents pauses");
  const kinds = Array.from({ length: 6 }, () => segments.make(tokensOf(sizes, 6000, 0.4, 2000, 16_000)));
  const popular = new Zipf(kinds.length, 0.8);
  return conversations(options, segments, streamOf(options.seed, "agents arrivals"), 4000, () => ({
    opening: [kinds[popular.draw(sizes)] ?? segments.make(6000), segments.make(tokensOf(sizes, 600, 0.8, 40, 6000))],
    turns: geometric(sizes, 15, 60),
    said: () => tokensOf(sizes, 900, 1, 20, 12_000),
    answered: () => tokensOf(sizes, 110, 0.8, 10, 1200),
    pauseMs: () => 1500 + exponential(pauses, 6000),
  }));
}

/** Questions about documents of 10,000 to 100,000 tokens; some documents are asked about often. */
function longDocuments({ seed, requests: count }: GeneratorOptions): WorkloadRequest[] {
  const segments = new Segments();
  const sizes = streamOf(seed, "documents sizes");
  const arrivals = streamOf(seed, "documents arrivals");
  const instructions = segments.make(300);
  const documents = Array.from({ length: 400 }, () => segments.make(tokensOf(sizes, 30_000, 0.6, 10_000, 100_000)));
  const popular = new Zipf(documents.length, 0.9);
  let atMs = 0;
  return Array.from({ length: count }, () => {
    atMs += exponential(arrivals, 400);
    const document = documents[popular.draw(sizes)] ?? segments.make(30_000);
    const prompt = [instructions, document, segments.make(tokensOf(sizes, 60, 0.6, 8, 500))];
    return ask(atMs, prompt, segments.make(tokensOf(sizes, 300, 0.6, 20, 1500)), 3, null);
  });
}

/** The worst case for a router that only follows prefixes: all requests share their first 2,000 tokens. */
function hotPrefix({ seed, requests: count }: GeneratorOptions): WorkloadRequest[] {
  const segments = new Segments();
  const sizes = streamOf(seed, "hot sizes");
  const arrivals = streamOf(seed, "hot arrivals");
  const shared = segments.make(2000);
  let atMs = 0;
  return Array.from({ length: count }, () => {
    atMs += exponential(arrivals, 50);
    const prompt = [shared, segments.make(tokensOf(sizes, 500, 0.7, 20, 4000))];
    return ask(atMs, prompt, segments.make(tokensOf(sizes, 200, 0.6, 4, 1000)), 2, null);
  });
}

/**
 * The workload of our measurement of other routers: 100 conversations in 5 groups that share a system prompt of 512
 * tokens (2 kB), 6 turns of 300 tokens (1.2 kB), answers of 20; the next speaker is drawn by Zipf 1.3.
 */
function groups({ seed, requests: count }: GeneratorOptions): WorkloadRequest[] {
  const segments = new Segments();
  const random = streamOf(seed, "groups");
  const requests: WorkloadRequest[] = [];
  let atMs = 0;
  for (let round = 0; requests.length < count; round++) {
    const shared = Array.from({ length: 5 }, () => segments.make(512));
    const open = Array.from({ length: 100 }, (_, i) => ({
      id: i,
      turns: 0,
      history: [shared[i % 5] ?? segments.make(512)],
    }));
    while (open.length > 0 && requests.length < count) {
      const at = new Zipf(open.length, 1.3).draw(random);
      const speaker = open[at];
      if (speaker === undefined) break;
      atMs += exponential(random, 25);
      speaker.history.push(segments.make(300));
      const answer = segments.make(20);
      requests.push(ask(atMs, [...speaker.history], answer, 2, `group-${round}-${speaker.id}`));
      speaker.history.push(answer);
      if (++speaker.turns === 6) open.splice(at, 1);
    }
  }
  return requests;
}

const generators = {
  "multi-turn": multiTurn,
  "shared-prefixes": sharedPrefixes,
  agents,
  "long-documents": longDocuments,
  "hot-prefix": hotPrefix,
  groups,
} as const;

export type GeneratorName = keyof typeof generators;

export const generatorNames = Object.keys(generators) as GeneratorName[];

export function isGeneratorName(name: string): name is GeneratorName {
  return Object.hasOwn(generators, name);
}

export function generate(name: GeneratorName, options: GeneratorOptions): Workload {
  return { name, requests: generators[name](options), notes: [] };
}
