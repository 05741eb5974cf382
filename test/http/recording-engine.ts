// An engine that writes down every byte: it answers checks, and to anything else a small JSON as soon as llhttp, not
// our parser, says that a request is whole. What it recorded is judged by llhttp, too.
import net from "node:net";
import { Judge, judgeRequests, type JudgedMessage } from "./fuzz/llhttp.ts";

const answer = '{"object":"text_completion"}';
const answerText = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${answer.length}\r\n\r\n${answer}`;
const models = JSON.stringify({ object: "list", data: [{ id: "m", object: "model" }] });

export class RecordingEngine {
  readonly #server = net.createServer({ noDelay: true }, (socket) => this.#accept(socket));
  readonly #sockets = new Set<net.Socket>();
  /** Bytes of each connection that was no check of the router's own. */
  readonly #records: Buffer[][] = [];
  port = 0;

  listen(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        this.port = (this.#server.address() as net.AddressInfo).port;
        resolve();
      });
    });
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /**
   * All requests that stand on the wires, connection by connection.
   * @throws Error where the bytes are not exactly whole requests
   */
  requests(): JudgedMessage[] {
    return this.#records.flatMap((pieces) => {
      const { messages, error } = judgeRequests(Buffer.concat(pieces));
      if (error !== null || messages.some(({ complete }) => !complete)) {
        throw new Error(`not whole requests (${error}): ${JSON.stringify(Buffer.concat(pieces).toString("latin1"))}`);
      }
      return [...messages];
    });
  }

  #accept(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => undefined);
    let record: Buffer[] | null = null;
    const judge = new Judge("request");
    judge.start();
    let answered = 0;
    socket.on("data", (bytes) => {
      if (record === null) {
        const text = bytes.toString("latin1");
        // the router's own questions come without `via`
        if (/^GET \/(health|metrics|v1\/models) /.test(text) && !text.includes("\r\nvia:")) {
          const body = text.startsWith("GET /v1/models") ? models : "";
          socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`);
          return;
        }
        record = [];
        this.#records.push(record);
      }
      record.push(bytes);
      judge.feed(bytes);
      for (; answered < judge.complete; answered++) socket.write(answerText);
    });
  }
}

/** Values of a field, in order; `name` is lower case. */
export function valuesOf({ headers }: JudgedMessage, name: string): string[] {
  return headers.filter((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === name);
}
