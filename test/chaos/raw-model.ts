// An engine made of bytes that serves a model of its own, soundly or in one of the ways that no HTTP server can be brought
// to: broken heads, lengths that lie, chunks without sizes, silence in any place. What it says of the text is always true;
// what it does to the framing is the draw's.
import {
  jsonAnswer,
  chunk,
  lastChunk,
  RawEngine,
  streamHead,
  type RawConnection,
  type RawRequest,
} from "../helpers/raw-engine.ts";
import { at, rawModel, rawWords } from "./asks.ts";
import type { Draw } from "./draw.ts";

type Manner =
  | "stream"
  | "stream in any segments"
  | "stream in merged chunks"
  | "drip"
  | "interim answers"
  | "until close"
  | "dies when idle"
  | "no head"
  | "half a head"
  | "no http"
  | "two lengths"
  | "length and chunks"
  | "endless head"
  | "bare status"
  | "broken chunk size"
  | "surplus"
  | "too short"
  | "cut"
  | "no last event"
  | "error frame"
  | "stall"
  | "comments only"
  | "busy"
  | "failing"
  | "client's fault"
  | "endless error"
  | "reset at once"
  | "closes at once";

const manners: readonly (readonly [number, Manner])[] = [
  [14, "stream"],
  [8, "stream in any segments"],
  [8, "stream in merged chunks"],
  [2, "drip"],
  [3, "interim answers"],
  [3, "until close"],
  [3, "dies when idle"],
  [1, "no head"],
  [2, "half a head"],
  [2, "no http"],
  [1, "two lengths"],
  [1, "length and chunks"],
  [1, "endless head"],
  [1, "bare status"],
  [2, "broken chunk size"],
  [2, "surplus"],
  [2, "too short"],
  [4, "cut"],
  [3, "no last event"],
  [3, "error frame"],
  [1, "stall"],
  [1, "comments only"],
  [2, "busy"],
  [2, "failing"],
  [1, "client's fault"],
  [1, "endless error"],
  [2, "reset at once"],
  [2, "closes at once"],
];

interface Wanted {
  readonly stream: boolean;
  readonly chat: boolean;
  readonly usage: boolean;
  readonly promptTokens: number;
  readonly words: readonly string[];
}

/** What is asked for: a prompt, or one with the beginning of its answer, which is then continued. */
function wantedOf(request: RawRequest): Wanted | null {
  let body: unknown;
  try {
    body = JSON.parse(request.body.toString("utf8"));
  } catch {
    return null; // its bytes were corrupted on the way
  }
  const chat = request.target.includes("/chat/");
  const messages = at(body, ["messages"]);
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
  const continued = chat && at(body, ["continue_final_message"]) === true ? String(at(last, ["content"])) : null;
  const prompt = chat ? String(at(body, ["messages", 0, "content"])) : String(at(body, ["prompt"]));
  const asked = prompt.replace(/ w\d+\.\d+.*$/s, "");
  const said = continued ?? prompt.slice(asked.length);
  const from = said.split(" ").length - 1;
  const tokens = Number(at(body, ["max_tokens"]) ?? at(body, ["max_completion_tokens"]) ?? 16);
  return {
    stream: at(body, ["stream"]) === true,
    chat,
    usage: at(body, ["stream_options", "include_usage"]) === true,
    promptTokens: 1 + from,
    words: rawWords(asked, from, Math.max(0, Math.min(100, tokens))),
  };
}

function event(wanted: Wanted, text: string, finish: string | null, first: boolean): string {
  const choice = wanted.chat
    ? { index: 0, delta: { ...(first ? { role: "assistant" } : {}), content: text }, finish_reason: finish }
    : { index: 0, text, finish_reason: finish };
  const object = wanted.chat ? "chat.completion.chunk" : "text_completion";
  return `data: ${JSON.stringify({ id: "raw-1", object, created: 1, model: rawModel, choices: [choice] })}\n\n`;
}

function usageOf({ promptTokens, words }: Wanted): object {
  const completion = words.length;
  return { prompt_tokens: promptTokens, completion_tokens: completion, total_tokens: promptTokens + completion };
}

function eventsOf(wanted: Wanted): string[] {
  const { words } = wanted;
  const events = words.map((word, i) => event(wanted, word, i === words.length - 1 ? "length" : null, i === 0));
  if (wanted.usage) {
    const object = wanted.chat ? "chat.completion.chunk" : "text_completion";
    const value = { id: "raw-1", object, created: 1, model: rawModel, choices: [], usage: usageOf(wanted) };
    events.push(`data: ${JSON.stringify(value)}\n\n`);
  }
  return [...events, "data: [DONE]\n\n"];
}

function bodyOf(wanted: Wanted): object {
  const text = wanted.words.join("");
  const choice = wanted.chat
    ? { index: 0, message: { role: "assistant", content: text }, finish_reason: "length" }
    : { index: 0, text, finish_reason: "length" };
  return { id: "raw-1", object: "answer", created: 1, model: rawModel, choices: [choice], usage: usageOf(wanted) };
}

/** @param calm whether it behaves, asked at each request */
export function misbehavingEngine(draw: Draw, calm: () => boolean): RawEngine {
  return new RawEngine({
    models: [rawModel],
    handler: (request) => {
      if (request.target.endsWith("/tokenize")) {
        const wanted = wantedOf(request);
        const count = wanted === null ? 0 : wanted.promptTokens;
        request.connection.write(
          jsonAnswer({ count, max_model_len: 2048, tokens: Array.from({ length: count }, () => 1) }),
        );
        return;
      }
      const wanted = wantedOf(request);
      if (wanted === null) {
        request.connection.write(
          jsonAnswer({ error: { message: "no JSON", type: "BadRequestError", code: 400 } }, 400),
        );
        return;
      }
      const manner = calm() ? "stream" : draw.weighted(manners);
      act(request.connection, wanted, manner, draw);
    },
  });
}

function act(connection: RawConnection, wanted: Wanted, manner: Manner, draw: Draw): void {
  const events = eventsOf(wanted);
  const whole = wanted.stream
    ? Buffer.concat([Buffer.from(streamHead()), ...events.map((text) => chunk(text)), Buffer.from(lastChunk)])
    : Buffer.from(jsonAnswer(bodyOf(wanted)));
  const upTo = (bytes: Buffer): Buffer => bytes.subarray(0, 1 + draw.below(bytes.length - 1));
  const ending = draw.pick(["end", "reset"] as const);
  switch (manner) {
    case "stream":
      connection.write(whole);
      return;
    case "stream in any segments":
      void inSegments(connection, whole, () => draw.between(1, 200));
      return;
    case "drip":
      void inSegments(connection, whole, () => 7);
      return;
    case "stream in merged chunks":
      if (wanted.stream) connection.write(merged(events.join(""), draw));
      else connection.write(chunkedJson(bodyOf(wanted), draw));
      return;
    case "interim answers":
      connection.write("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
      connection.write(whole);
      return;
    case "until close": {
      const type = wanted.stream ? "text/event-stream" : "application/json";
      const body = wanted.stream ? events.join("") : JSON.stringify(bodyOf(wanted));
      connection.write(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n\r\n${body}`);
      connection.end();
      return;
    }
    case "dies when idle":
      connection.write(whole);
      setTimeout(() => connection[ending](), draw.below(40));
      return;
    case "no head":
      return;
    case "half a head":
      connection.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncont");
      if (draw.chance(0.8)) connection[ending]();
      return;
    case "no http":
      connection.write(
        draw.pick(["SSH-2.0-OpenSSH_9.2\r\n", "\0\0\0\x04\0\0\0\0\0", "HTTP/2 200\r\n\r\n", "\r\n\r\n\r\n"]),
      );
      if (draw.chance(0.5)) connection[ending]();
      return;
    case "two lengths":
      connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x");
      return;
    case "length and chunks":
      connection.write(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
      );
      return;
    case "endless head":
      connection.write(`HTTP/1.1 200 OK\r\n${"x-filler: yes\r\n".repeat(8000)}`);
      return;
    case "bare status":
      connection.write("HTTP/1.1 200\nok: 1\n\n");
      return;
    case "broken chunk size":
      connection.write(streamHead());
      if (draw.chance(0.5)) connection.write(chunk(events[0] ?? ""));
      connection.write(draw.pick(["zz\r\n", "-5\r\nabcde\r\n", "ffffffffffffffffff\r\n", "3\r\nabcdef\r\n"]));
      return;
    case "surplus":
      connection.write(Buffer.concat([whole, Buffer.from("surplus\r\n\r\n")]));
      return;
    case "too short":
    case "cut":
      connection.write(upTo(whole));
      connection[ending]();
      return;
    case "no last event":
      if (!wanted.stream) connection.write(upTo(whole));
      else {
        connection.write(streamHead());
        for (const text of events.slice(0, draw.below(events.length))) connection.write(chunk(text));
        connection.write(lastChunk);
      }
      connection.end();
      return;
    case "error frame": {
      const error = { error: { message: "EngineCore encountered an issue.", type: "InternalServerError", code: 500 } };
      if (!wanted.stream) {
        connection.write(jsonAnswer(error, 500));
        return;
      }
      connection.write(streamHead());
      for (const text of events.slice(0, draw.below(events.length))) connection.write(chunk(text));
      const frame = `data: ${JSON.stringify(error)}\n\n`;
      if (draw.chance(0.5)) connection.write(chunk(`${frame}data: [DONE]\n\n`));
      else {
        connection.write(chunk(frame));
        connection.write(chunk("data: [DONE]\n\n"));
      }
      connection.write(lastChunk);
      return;
    }
    case "stall":
      connection.write(upTo(whole));
      return;
    case "comments only":
      connection.write(streamHead());
      connection.write(chunk(": nothing yet\n\n"));
      connection.write(lastChunk);
      return;
    case "busy": {
      const error = { error: { message: "The server is currently busy.", type: "Service Unavailable", code: 503 } };
      connection.write(jsonAnswer(error, draw.pick([429, 503]), draw.chance(0.5) ? ["retry-after: 1"] : []));
      return;
    }
    case "failing":
      connection.write(jsonAnswer({ error: { message: "It broke.", code: 1 } }, draw.pick([500, 502, 503, 504])));
      return;
    case "client's fault":
      connection.write(jsonAnswer({ error: { message: "Too long.", code: 400 } }, draw.pick([400, 404, 422])));
      return;
    case "endless error":
      connection.write("HTTP/1.1 500 Status\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
      connection.write(chunk("x".repeat(200_000)));
      return;
    case "reset at once":
      connection.reset();
      return;
    case "closes at once":
      connection.end();
  }
}

/** The body of a stream in HTTP chunks of any sizes, which have nothing to do with its events. */
function merged(text: string, draw: Draw): Buffer {
  return Buffer.concat([Buffer.from(streamHead()), ...inChunks(Buffer.from(text), draw), Buffer.from(lastChunk)]);
}

function chunkedJson(value: object, draw: Draw): Buffer {
  const head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
  const body = Buffer.from(JSON.stringify(value));
  return Buffer.concat([Buffer.from(head), ...inChunks(body, draw), Buffer.from(lastChunk)]);
}

function inChunks(bytes: Buffer, draw: Draw): Buffer[] {
  const chunks: Buffer[] = [];
  for (let start = 0; start < bytes.length;) {
    const size = draw.between(1, 400);
    chunks.push(chunk(bytes.subarray(start, start + size)));
    start += size;
  }
  return chunks;
}

async function inSegments(connection: RawConnection, bytes: Buffer, size: () => number): Promise<void> {
  for (let start = 0; start < bytes.length && !connection.gone;) {
    const end = start + size();
    await connection.flushed(bytes.subarray(start, end));
    start = end;
  }
}
