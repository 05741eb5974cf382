// What the router promises, row by row. A test belongs to a row by the row's name at the beginning of its own
// (`test("B1, B3: ...")`); `docs/behaviour.md` is made of both, and a row without a test is an error unless it says why.

export interface BehaviourRow {
  /** A letter and a number. */
  readonly row: string;
  readonly title: string;
  readonly promise: string;
  /** Why it has no test yet; a row that has one needs no such words. */
  readonly coming?: string;
}

export interface BehaviourGroup {
  readonly letter: string;
  readonly title: string;
  readonly rows: readonly BehaviourRow[];
}

function row(name: string, title: string, promise: string, coming?: string): BehaviourRow {
  return { row: name, title, promise, ...(coming === undefined ? {} : { coming }) };
}

export const behaviourGroups: readonly BehaviourGroup[] = [
  {
    letter: "A",
    title: "Bytes",
    rows: [
      row(
        "A1",
        "Request bodies",
        "The body reaches the engine byte for byte, unknown fields and all. Only an alias changes it, by splicing the bytes of the last top-level `model`.",
      ),
      row(
        "A2",
        "Answers",
        "Bytes reach the client as they came; events are scanned, never rebuilt. Half an event waits for its rest. The content type says whether an answer is a stream, and what is neither JSON nor a stream passes.",
      ),
      row(
        "A3",
        "Header hygiene",
        "Hop-by-hop fields, and those that `Connection` names, stay behind in both directions. `Host` is the endpoint's, repeated fields survive, `Via` and `X-Forwarded-*` are set, and an inbound `X-Forwarded-For` is believed only from trusted proxies.",
      ),
      row(
        "A4",
        "Request id",
        "The client's `X-Request-Id` if it is at most 128 visible ASCII characters, else a new one; towards the engine, back to the client, in the log.",
      ),
      row(
        "A5",
        "No buffering",
        "Event streams carry `cache-control: no-cache` and `x-accel-buffering: no`, and a frame leaves in the turn of the loop in which it came.",
      ),
      row(
        "A6",
        "Size limits",
        "Bodies up to a limit, with a length or chunked; over it 413 in the API's shape, readable while the client is still sending. `Expect: 100-continue` is honoured.",
      ),
      row(
        "A7",
        "Paths",
        "A path that is not in the table reaches no engine: vLLM leaves administration outside of its key.",
      ),
      row("A8", "Spellings", "`/completions` and the others work without `/v1`, and below `--root-path`."),
      row(
        "A9",
        "Slow clients",
        "Reading from the engine stops while the client does not read, so memory stays bounded; a client that takes nothing for `--client-stall-timeout-seconds` is cut.",
      ),
      row(
        "A10",
        "Connections",
        "Pipelining, keep-alive, HTTP/1.0 and `Connection: close` as RFC 9112 says. A connection is used again only when both messages on it were whole.",
      ),
      row(
        "A11",
        "Counting tokens",
        "Tokens are counted from `usage`, never from events: one event may carry several tokens, or none. An answer without usage is counted as such; with `--inject-stream-usage` the router asks for it, and the client gets the stream that it has asked for.",
      ),
    ],
  },
  {
    letter: "B",
    title: "Failures before the first byte",
    rows: [
      row(
        "B1",
        "Another endpoint",
        "Refused, reset, not connected in time, no such host: an endpoint that was not tried yet, up to `--retries` and within a budget of 20 % of the requests and 100 more in 10 s.",
      ),
      row(
        "B2",
        "Stale connections",
        "A kept connection that dies before a byte is replaced by a new one to the same endpoint, once, uncounted.",
      ),
      row(
        "B3",
        "Statuses",
        "502, 503 and 504 go elsewhere. 429 and a full queue mean busy: elsewhere, a pause that honours `Retry-After`, no failure. Other 4xx are the client's: passed on, never repeated, never counted.",
      ),
      row(
        "B4",
        "Time limits",
        "Connect, first event, idle and total are four settings with four error codes; the client may name a total of its own, and nothing else limits a request.",
      ),
      row(
        "B5",
        "When nothing is left",
        "502, 503 or 504 with `x-should-retry: false`; overload with `retry-after` in both spellings and `x-should-retry: true`.",
      ),
      row(
        "B6",
        "Retries are told",
        "A retry goes to the next best endpoint by the same policy, and stands in metrics and log.",
      ),
      row(
        "B7",
        "The head waits for the first event",
        "vLLM accepts a stream long before it knows whether it can serve it: until its first event a stream may still fail unseen, or with a true status. After a heartbeat retries go on inside the 200.",
      ),
      row(
        "B8",
        "500",
        "A dying engine's 500 goes elsewhere and is charged to it; a 500 that two endpoints give alike is the request's, and passes.",
      ),
    ],
  },
  {
    letter: "C",
    title: "Failures after the first byte",
    rows: [
      row(
        "C1",
        "Broken streams",
        "Whole events, then an error frame in the API's shape, then the end; never a made-up `[DONE]`.",
      ),
      row(
        "C2",
        "Migration",
        "A stream whose engine dies is continued on another one where that is sound, without a repeated or a lost word; otherwise C1.",
      ),
      row(
        "C3",
        "Error frames",
        "An error inside of a 200 is a failure for breaker and metrics, and the `[DONE]` behind it does not pass.",
      ),
      row(
        "C4",
        "Cut answers",
        "An answer with a length that is cut short cuts the client's connection; it is never padded or ended as if it were whole.",
      ),
      row("C5", "Heartbeat", "Silence in a stream gets comments, so that load balancers keep the connection."),
      row(
        "C6",
        "Engines that are told to stop",
        "`finish_reason: abort` that the client did not cause counts as the engine's death.",
      ),
      row(
        "C7",
        "Hung engines",
        "Requests in flight, no frame from any of them, counters that stand still: no new requests, then ejection, though its health answers.",
      ),
    ],
  },
  {
    letter: "D",
    title: "The client leaves",
    rows: [
      row(
        "D0",
        "No half-close",
        "The connection to an engine is never half-closed: vLLM takes that for the client's leaving.",
      ),
      row(
        "D1",
        "Leaving",
        "The engine's connection is closed at once, streaming or not, before or after the first byte; counted 499, nobody's failure, no retry.",
      ),
      row("D2", "Leaving the queue", "A client that leaves while it waits is taken out of the queue at once."),
    ],
  },
  {
    letter: "E",
    title: "Health",
    rows: [
      row(
        "E1",
        "Active checks",
        "An endpoint gets traffic only after its first good check and when its models are known.",
      ),
      row(
        "E2",
        "Breaker",
        "Failures in a row, or their rate, take an endpoint out; exactly one request decides about its return; then traffic grows slowly.",
      ),
      row("E3", "Panic", "With more than half of a model's endpoints out, ejection is ignored, and said so."),
      row(
        "E4",
        "Load returns to 0",
        "After any mix of successes, failures, aborts and retries every count is back at exactly 0 and no socket is left.",
      ),
      row("E5", "Half-dead engines", "Hung, slow, flapping and half-dead engines cost no more than their share."),
    ],
  },
  {
    letter: "F",
    title: "Overload and fairness",
    rows: [
      row(
        "F1",
        "Queue",
        "A bounded queue per model with deadlines before engines that are full: over it 429 `queue_full`, too late 503 `queue_timeout`.",
      ),
      row("F2", "Priorities", "Priority classes and fairness between keys.", "comes with quotas"),
      row(
        "F3",
        "Scale from zero",
        "Requests for a known model without an endpoint wait for one for `--hold-timeout-seconds`, within the bounds of the queue, and are counted where autoscalers look; an unknown model is 404 at once, or, where engines have yet to tell their models, when they have.",
      ),
      row("F4", "Limits per key", "Requests and tokens per minute, for each key.", "comes with quotas"),
      row(
        "F5",
        "Self-protection",
        "All bodies together have a bound, over which there is 503 `overloaded`, and the memory is given back. A low limit on open files is told at the start.",
      ),
    ],
  },
  {
    letter: "G",
    title: "Life cycle",
    rows: [
      row(
        "G1",
        "SIGTERM",
        "Not ready at once, still accepting for `--drain-delay-seconds`, answers that end their connections; streams finish within `--drain-timeout-seconds`, then error frames; a second signal ends at once; exit code 0.",
      ),
      row(
        "G2",
        "Health and readiness",
        "Ready when the first whole list of endpoints has been had. Both cheap, without a key, and answered whatever the load; the absence of engines is no reason to be unready.",
      ),
      row(
        "G3",
        "Removed endpoints",
        "An endpoint that discovery no longer lists gets nothing new and finishes what it has.",
      ),
      row("G4", "Reload", "A change of the configuration under load loses nothing."),
    ],
  },
  {
    letter: "H",
    title: "Conformance",
    rows: [
      row("H1", "Body unchanged", "As a black box on any router: see [conformance.md](conformance.md)."),
      row("H2", "Header hygiene", "See [conformance.md](conformance.md)."),
      row("H3", "Request id", "See [conformance.md](conformance.md)."),
      row("H4", "Model routing", "See [conformance.md](conformance.md)."),
      row("H5", "Retries", "See [conformance.md](conformance.md)."),
      row("H6", "Breaker", "See [conformance.md](conformance.md)."),
      row("H7", "Errors of clients", "See [conformance.md](conformance.md)."),
      row("H8", "Load back at 0", "See [conformance.md](conformance.md)."),
      row("H9", "Abort within 50 ms", "See [conformance.md](conformance.md)."),
      row("H10", "Slow reader", "See [conformance.md](conformance.md)."),
      row("H11", "Death in mid-stream", "See [conformance.md](conformance.md)."),
      row("H12", "SIGTERM", "See [conformance.md](conformance.md)."),
      row("H13", "Readiness", "See [conformance.md](conformance.md)."),
      row("H14", "Endpoints come and go", "See [conformance.md](conformance.md)."),
      row("H15", "Size limit", "See [conformance.md](conformance.md)."),
      row("H16", "Full queue", "See [conformance.md](conformance.md)."),
    ],
  },
];
