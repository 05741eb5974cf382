// The clients of a chaos run: patient, slow, pipelining, impatient, half-open, hostile. Each visit is one connection and
// gives what its requests saw.
import { RawClient, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import { turns } from "../helpers/until.ts";
import { smugglingCases } from "../http/smuggling-cases.ts";
import type { Ask, Asks } from "./asks.ts";
import type { Draw } from "./draw.ts";
import type { View } from "./oracle.ts";

export interface Ports {
  /** The router itself. */
  readonly direct: number;
  /** Before it, a proxy that only delays. */
  readonly slow: number;
  /** One that loses and corrupts. */
  readonly bad: number;
}

type Manner =
  | "patient"
  | "slow reader"
  | "keep-alive"
  | "pipelining"
  | "chunked body"
  | "dribbled body"
  | "expects 100"
  | "HTTP/1.0"
  | "leaves early"
  | "leaves in the answer"
  | "half-closes"
  | "half a request"
  | "hostile"
  | "bad network";

const manners: readonly (readonly [number, Manner])[] = [
  [34, "patient"],
  [8, "slow reader"],
  [9, "keep-alive"],
  [6, "pipelining"],
  [5, "chunked body"],
  [4, "dribbled body"],
  [3, "expects 100"],
  [3, "HTTP/1.0"],
  [7, "leaves early"],
  [8, "leaves in the answer"],
  [3, "half-closes"],
  [1, "half a request"],
  [4, "hostile"],
  [5, "bad network"],
];

/** Longer than any time limit of the router in a run. */
const badNetworkMs = 1_500;

/** How many requests the clients of a manner have; the others have one. */
function askCount(manner: Manner, draw: Draw): number {
  return manner === "hostile" ? 0 : manner === "keep-alive" || manner === "pipelining" ? draw.between(2, 4) : 1;
}

/**
 * One client comes, asks, and goes. It knows what it asks before it connects: a connection that says nothing for a while is
 * closed, and how long the reference takes to answer is up to the machine.
 */
export async function visit(ports: Ports, asks: Asks, draw: Draw): Promise<View[]> {
  const manner = draw.weighted(manners);
  const port = manner === "bad network" ? ports.bad : draw.chance(0.15) ? ports.slow : ports.direct;
  const wanted: Ask[] = [];
  for (let i = askCount(manner, draw); i > 0; i--) wanted.push(await asks.next(false));
  const client = await RawClient.connect(port);
  try {
    return await behave(client, manner, wanted, draw);
  } finally {
    if (draw.chance(0.3)) client.reset();
    else client.close();
  }
}

/** One that does nothing odd and asks for nothing odd. */
export async function plainVisit(port: number, asks: Asks): Promise<View> {
  const ask = await asks.next(true);
  const client = await RawClient.connect(port);
  try {
    client.write(ask.bytes);
    return { ask, manner: "plain", response: await client.response(), stayed: true };
  } finally {
    client.close();
  }
}

async function behave(client: RawClient, manner: Manner, wanted: readonly Ask[], draw: Draw): Promise<View[]> {
  const [ask] = wanted;
  if (ask === undefined) {
    await attack(client, draw);
    return [];
  }
  const one = async (bytes: Buffer): Promise<View[]> => {
    client.write(bytes);
    return [{ ask, manner, response: await client.response(), stayed: true }];
  };
  switch (manner) {
    case "patient":
      return one(ask.bytes);
    case "slow reader": {
      client.write(ask.bytes);
      const reading = client.response();
      const stop = readSlowly(client, draw);
      try {
        return [{ ask, manner, response: await reading, stayed: true }];
      } finally {
        stop();
      }
    }
    case "keep-alive": {
      const views: View[] = [];
      for (const next of wanted) {
        if (client.end !== "open") break;
        client.write(next.bytes);
        const response = await client.response();
        // the connection may have ended behind the answer before, in the moment in which this one was sent
        const raced = response.status === 0 && views.length > 0;
        views.push({ ask: next, manner, response: raced ? null : response, stayed: !raced });
      }
      return views;
    }
    case "pipelining": {
      client.write(Buffer.concat(wanted.map(({ bytes }) => bytes)));
      const views: View[] = [];
      for (const [i, next] of wanted.entries()) {
        const response = await client.response();
        // behind an answer that ended the connection there is none; before the first one nothing may end it unsaid
        const unanswered = response.status === 0 && views.length > 0;
        const behind = wanted.slice(i + 1).map(({ id }) => id);
        views.push({ ask: next, manner, response: unanswered ? null : response, stayed: !unanswered, behind });
      }
      return views;
    }
    case "chunked body":
      return one(chunkedRequest(ask, draw));
    case "dribbled body": {
      for (let at = 0; at < ask.bytes.length && client.end === "open";) {
        const size = draw.between(1, 60);
        client.write(ask.bytes.subarray(at, at + size));
        at += size;
        await turns(1);
      }
      return [{ ask, manner, response: await client.response(), stayed: true }];
    }
    case "expects 100": {
      client.write(withField(ask, "expect: 100-continue").subarray(0, ask.bodyAt + "expect: 100-continue\r\n".length));
      await client.sees("HTTP/1.1 ");
      client.write(ask.bytes.subarray(ask.bodyAt));
      return [{ ask, manner, response: await client.response(), stayed: true }];
    }
    case "HTTP/1.0":
      return one(Buffer.from(ask.bytes.toString("latin1").replace(" HTTP/1.1\r\n", " HTTP/1.0\r\n"), "latin1"));
    case "leaves early": {
      client.write(draw.chance(0.5) ? ask.bytes : ask.bytes.subarray(0, draw.below(ask.bytes.length)));
      await turns(draw.below(30));
      return [{ ask, manner, response: null, stayed: false }];
    }
    case "leaves in the answer": {
      client.write(ask.bytes);
      const enough = draw.between(1, 3000);
      const began = performance.now();
      // or when it has lost patience
      while (client.received.length < enough && client.end === "open" && performance.now() - began < 500)
        await turns(1);
      return [{ ask, manner, response: null, stayed: false }];
    }
    case "half-closes": {
      client.write(ask.bytes);
      client.socket.end();
      await client.ended();
      return [{ ask, manner, response: null, stayed: false }];
    }
    case "half a request": {
      client.write(ask.bytes.subarray(0, draw.between(1, ask.bytes.length - 1)));
      // it is told so, or cut, and never left alone
      await client.ended();
      return [{ ask, manner, response: null, stayed: false }];
    }
    case "hostile":
      return [];
    case "bad network": {
      client.write(ask.bytes);
      const response = await withinMs(client.response(), badNetworkMs);
      return [{ ask, manner, response: response?.status === 0 ? null : response, stayed: false }];
    }
  }
}

/** Null when the time is up; what the answer does afterwards is nobody's concern. */
async function withinMs(answer: Promise<ClientResponse>, ms: number): Promise<ClientResponse | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ms);
  });
  const settled = answer.catch(() => null);
  const first = await Promise.race([settled, late]);
  clearTimeout(timer);
  return first;
}

/** Takes bytes now and then only. @returns what ends it */
function readSlowly(client: RawClient, draw: Draw): () => void {
  let timer: NodeJS.Timeout;
  const rest = (): void => {
    client.socket.pause();
    timer = setTimeout(
      () => {
        client.socket.resume();
        timer = setTimeout(rest, 1);
      },
      draw.between(1, 40),
    );
  };
  rest();
  return () => {
    clearTimeout(timer);
    client.socket.resume();
  };
}

function withField(ask: Ask, field: string): Buffer {
  const head = ask.bytes.toString("latin1", 0, ask.bodyAt - 2);
  return Buffer.concat([Buffer.from(`${head}${field}\r\n\r\n`, "latin1"), ask.bytes.subarray(ask.bodyAt)]);
}

function chunkedRequest(ask: Ask, draw: Draw): Buffer {
  const head = ask.bytes.toString("latin1", 0, ask.bodyAt).replace(/content-length: \d+/, "transfer-encoding: chunked");
  const body = ask.bytes.subarray(ask.bodyAt);
  const parts: Buffer[] = [Buffer.from(head, "latin1")];
  for (let start = 0; start < body.length;) {
    const piece = body.subarray(start, start + draw.between(1, 50));
    parts.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n"));
    start += piece.length;
  }
  parts.push(Buffer.from("0\r\n\r\n"));
  return Buffer.concat(parts);
}

/** Bytes that are no request, or two. What they get is judged elsewhere; here they only must not do harm. */
async function attack(client: RawClient, draw: Draw): Promise<void> {
  const bytes = draw.weighted<() => Buffer | string>([
    [6, () => Buffer.from(draw.pick(smugglingCases).bytes, "latin1")],
    [3, (): Buffer => Buffer.from(Array.from({ length: draw.between(1, 4000) }, () => draw.below(256)))],
    [1, () => Buffer.from(`GET / HTTP/1.1\r\n${"x: y\r\n".repeat(20_000)}`)],
    [1, () => Buffer.from("\r\n".repeat(draw.between(1, 5000)))],
    [1, () => rawRequest("POST", "/v1/completions", "{".repeat(draw.between(1, 50_000)))],
    [1, () => rawRequest("GET", draw.pick(["/health", "/metrics", "/v1/models", "/engines", "/../etc/passwd"]), null)],
  ])();
  client.write(bytes);
  await withinMs(
    client.response().catch(() => client.response()),
    draw.between(1, 200),
  );
}
