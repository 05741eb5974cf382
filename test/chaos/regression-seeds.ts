// Seeds of chaos runs that once failed, each with what it found, router or harness. The full tier runs all of them
// (test/e2e/chaos.test.ts), the fast one some (chaos.test.ts); what a seed found in the router has a test of its own besides.

export type FailedSeed = readonly [seed: number, story: string];

/** In runs of 5 s; the full tier has them among its seeds 1 to 40. */
export const failedIn5s: readonly FailedSeed[] = [
  [4, "events of a read whose framing broke behind them were kept and not passed on: a word was missing at the seam"],
  [7, "a corrupted /tokenize made a migrated answer longer, and the proxy did not know whose bytes it had changed"],
  [10, "as 4; later, in 20 s: as 22, where one turn of the loop took longer than a silent connection may stay"],
  [14, "a corrupted content-length made the raw engine read one request for ever, until memory was full"],
  [20, "vLLM's own `internal_error` on /v1/messages was taken for a defect of the router"],
  [22, "clients connected before they had their question: on a busy machine they were closed as silent"],
  [28, "as 14"],
  [29, "an engine's error that breaks is reset, also where a stream was asked for; later: as 20"],
  [30, "as 22"],
  [32, "as 7"],
  [33, "as 22"],
  [37, "the proxy cut with a proper end, which makes half of a JSON body without a length a whole one"],
  [38, "the total timeout put an error behind [DONE] where only framing was missing; and as 4"],
  [39, "a simulated engine that was told twice to refuse listened twice"],
];

/** In runs of 20 s. */
export const failedIn20s: readonly FailedSeed[] = [
  [41, "an answer that breaks takes along what a pipelining client has not read of those before it"],
  [52, "as 41; later: a head that did not come in time gets 408 in no API's shape, for nobody knows the API"],
  [65, "as 52, the second"],
  [66, "a changed byte in a request's id made it another's, which had ended twice then"],
  [71, "as 41; later: what a changed byte in its type made no stream was reset, ahead of a slow reader's first byte"],
  [72, "as 52, the second"],
  [78, "as 52, the second"],
  [94, "a changed digit of a length made the tests' client go round in NaN bytes for ever; later: as 71, the second"],
  [98, "as 94"],
];
