// A server on a real socket with a handler that echoes and a clock that moves by hand, for the tests of the listening side.
import type { TestContext } from "node:test";
import { errorAnswer } from "../../src/api/error-body.ts";
import { ManualClock } from "../../src/clock.ts";
import type { LmstackError } from "../../src/errors/catalogue.ts";
import { renderHead, type Exchange } from "../../src/http/exchange.ts";
import { HttpServer, type ServerTls } from "../../src/http/server.ts";
import { RawClient } from "../helpers/http-client.ts";
import { turns } from "../helpers/until.ts";

export const headMs = 10_000;
export const bodyIdleMs = 30_000;
export const keepAliveMs = 75_000;
export const clientStallMs = 60_000;
export const maxBodyBytes = 100_000;
/** What a sweep may be late. */
export const lateMs = 1_000;

export interface Fixture {
  readonly server: HttpServer;
  readonly clock: ManualClock;
  readonly port: number;
  /** Targets in the order in which their requests were told. */
  readonly told: string[];
  /** Exchanges of `/hold`, which nobody answers. */
  readonly held: Exchange[];
  readonly gone: string[];
  readonly bodyErrors: string[];
  connect(): Promise<RawClient>;
}

/**
 * `/echo` answers with the body, `/whole` so with a message that may wait for others, `/own` at once without reading it,
 * `/hold` never, `/big` with 64 MiB, `/endless` with chunks without end; `/cut` breaks off.
 */
export async function serve(t: TestContext, serverTls: ServerTls | null = null): Promise<Fixture> {
  const clock = new ManualClock();
  const told: string[] = [];
  const held: Exchange[] = [];
  const gone: string[] = [];
  const bodyErrors: string[] = [];
  const refuse = (error: LmstackError): { status: number; headers: readonly string[]; body: string } =>
    errorAnswer(error, "openai", "id", 0);
  const onRequest = (exchange: Exchange): void => {
    const { target } = exchange.head;
    told.push(target);
    exchange.onClientGone = () => gone.push(target);
    if (target === "/own") {
      exchange.answer(200, ["x-target", target], "own");
      return;
    }
    const pieces: Buffer[] = [];
    exchange.readBody(
      {
        onBodyChunk: (buf, start, end) => void pieces.push(Buffer.from(buf.subarray(start, end))),
        onBodyEnd: () => {
          if (target === "/hold") held.push(exchange);
          else if (target === "/cut") exchange.cut();
          else if (target.startsWith("/whole")) answerWhole(exchange, Buffer.concat(pieces));
          else if (target === "/big") exchange.answer(200, [], Buffer.alloc(64 * 1024 * 1024, "x"));
          else exchange.answer(200, ["x-target", target], Buffer.concat(pieces));
        },
        onBodyError: (error) => {
          bodyErrors.push(error.code);
          const { status, headers, body } = refuse(error);
          exchange.answer(status, headers, body);
        },
      },
      maxBodyBytes,
    );
  };
  const limits = { maxHeadBytes: 65_536, headMs, bodyIdleMs, keepAliveMs, clientStallMs };
  const server = new HttpServer(clock, limits, { onRequest, refusal: refuse }, serverTls);
  const port = await server.listen({ port: 0, host: "127.0.0.1" });
  t.after(() => server.destroy());
  const connect = async (): Promise<RawClient> => {
    const client = await RawClient.connect(port);
    t.after(() => client.close());
    return client;
  };
  return { server, clock, port, told, held, gone, bodyErrors, connect };
}

/** As an engine's short answer passes. */
function answerWhole(exchange: Exchange, body: Buffer): void {
  exchange.begin(renderHead(200, "", ["x-target", exchange.head.target]), body.length);
  exchange.writeWhole(body.toString("latin1"));
  exchange.end();
}

export function request(target: string, body = "", fields: readonly string[] = [], version = "HTTP/1.1"): string {
  const lines = ["Host: a", ...fields, ...(body === "" ? [] : [`Content-Length: ${body.length}`])];
  return `POST ${target} ${version}\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
}

export function codeOf(response: { json(): unknown }): string {
  return (response.json() as { error: { code: string } }).error.code;
}

/** An answer in chunks that goes on. */
export function begin(exchange: Exchange): void {
  exchange.begin(renderHead(200, "", []), null);
}

/** Moves time in steps that a sweeper would take, letting the loop turn between them. */
export async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let done = 0; done < ms; done += 500) {
    clock.advance(Math.min(500, ms - done));
    await turns(2);
  }
}

// --- order and keep-alive
