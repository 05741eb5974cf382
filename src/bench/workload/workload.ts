// What is asked of a fleet: requests with their arrival, their prompt and the length of their answer. The lab replays a
// workload in virtual time, the bench in real time. Plain data; it must never know who will answer.

/** A piece of text that is the same wherever its id appears: a system prompt, a turn, a block of a trace. */
export interface Segment {
  /** Equal ids stand for equal text. A whole number below 2^53. */
  readonly id: number;
  readonly tokens: number;
}

export interface WorkloadRequest {
  /** After the workload's start, at the workload's own rate. */
  readonly arrivalMs: number;
  /** Two prompts share a prefix as far as their segments are the same. */
  readonly prompt: readonly Segment[];
  readonly promptTokens: number;
  /** What the model will say; a later turn may hold it in its prompt. */
  readonly answer: Segment;
  /** So many of the first segments name the conversation: what is said up to its first question; 0 = it has no name. */
  readonly named: number;
  /** Requests of one conversation have the same; null = the workload has no conversations. */
  readonly session: string | null;
}

export interface Workload {
  /** Name of the generator, or the trace's file. */
  readonly name: string;
  /** In order of arrival. */
  readonly requests: readonly WorkloadRequest[];
  /** What the reader has to know: rows left out, and why. */
  readonly notes: readonly string[];
}

export function promptTokensOf(prompt: readonly Segment[]): number {
  let tokens = 0;
  for (const segment of prompt) tokens += segment.tokens;
  return tokens;
}

/** Mean arrivals a second; 0 when all arrive at once. */
export function meanRps(workload: Workload): number {
  const { requests } = workload;
  const first = requests[0]?.arrivalMs ?? 0;
  const last = requests.at(-1)?.arrivalMs ?? 0;
  return last === first ? 0 : ((requests.length - 1) / (last - first)) * 1000;
}

/** The same requests, arriving `factor` times as fast. */
export function atRate(workload: Workload, factor: number): Workload {
  if (factor === 1) return workload;
  return {
    ...workload,
    requests: workload.requests.map((request) => ({ ...request, arrivalMs: request.arrivalMs / factor })),
  };
}

/** Its first requests. */
export function firstOf(workload: Workload, count: number): Workload {
  if (count >= workload.requests.length) return workload;
  return { ...workload, requests: workload.requests.slice(0, count) };
}
