// A collector made of a server and a reader of protobuf's wire format: what it shows of a span was on the wire. It must not
// use the code under test, nor the SDK, to read. Field numbers: opentelemetry-proto 1.x, trace.proto and common.proto.
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** "" = none. */
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly string[];
  /** 0 unset, 1 ok, 2 error. */
  readonly status: number;
  readonly service: string;
}

type Field = { readonly number: number; readonly value: bigint | Buffer };

function fieldsOf(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] ?? 0;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const number = key >> 3;
    switch (key & 7) {
      case 0:
        fields.push({ number, value: varint() });
        break;
      case 1:
        fields.push({ number, value: bytes.subarray(at, at + 8) });
        at += 8;
        break;
      case 2: {
        const length = Number(varint());
        fields.push({ number, value: bytes.subarray(at, at + length) });
        at += length;
        break;
      }
      case 5:
        fields.push({ number, value: bytes.subarray(at, at + 4) });
        at += 4;
        break;
      default:
        throw new Error(`no wire type ${key & 7}`);
    }
  }
  return fields;
}

const all = (bytes: Buffer, number: number): Buffer[] =>
  fieldsOf(bytes).flatMap((field) => (field.number === number && Buffer.isBuffer(field.value) ? [field.value] : []));
const bytesOf = (bytes: Buffer, number: number): Buffer => all(bytes, number)[0] ?? Buffer.alloc(0);
const textOf = (bytes: Buffer, number: number): string => bytesOf(bytes, number).toString("utf8");
const numberOf = (bytes: Buffer, number: number): number => {
  const value = fieldsOf(bytes).find((field) => field.number === number)?.value;
  return typeof value === "bigint" ? Number(value) : 0;
};
const fixed64 = (bytes: Buffer, number: number): bigint => {
  const value = bytesOf(bytes, number);
  return value.length === 8 ? value.readBigUInt64LE() : 0n;
};

function anyValue(bytes: Buffer): unknown {
  const [field] = fieldsOf(bytes);
  if (field === undefined) return null;
  const { number, value } = field;
  if (typeof value === "bigint") return number === 2 ? value !== 0n : Number(BigInt.asIntN(64, value));
  if (number === 1) return value.toString("utf8");
  if (number === 4) return value.readDoubleLE();
  return all(value, 1).map(anyValue);
}

function attributesOf(bytes: Buffer, number: number): Record<string, unknown> {
  return Object.fromEntries(all(bytes, number).map((pair) => [textOf(pair, 1), anyValue(bytesOf(pair, 2))]));
}

function spansOf(request: Buffer): ReceivedSpan[] {
  return all(request, 1).flatMap((resourceSpans) => {
    const service = String(attributesOf(bytesOf(resourceSpans, 1), 1)["service.name"]);
    return all(resourceSpans, 2).flatMap((scopeSpans) =>
      all(scopeSpans, 2).map((span) => ({
        traceId: bytesOf(span, 1).toString("hex"),
        spanId: bytesOf(span, 2).toString("hex"),
        parentSpanId: bytesOf(span, 4).toString("hex"),
        name: textOf(span, 5),
        kind: numberOf(span, 6),
        startNs: fixed64(span, 7),
        endNs: fixed64(span, 8),
        attributes: attributesOf(span, 9),
        events: all(span, 11).map((event) => textOf(event, 2)),
        status: numberOf(bytesOf(span, 15), 3),
        service,
      })),
    );
  });
}

export interface OtlpReceiver {
  readonly port: number;
  readonly spans: ReceivedSpan[];
  /** Content types and paths of what came. */
  readonly calls: string[];
  /** gRPC status of the next answers; 0 = ok. */
  grpcStatus: number;
}

function received(): { receiver: OtlpReceiver; take: (path: string, type: string, message: Buffer) => void } {
  const receiver = { port: 0, spans: [] as ReceivedSpan[], calls: [] as string[], grpcStatus: 0 };
  const take = (path: string, type: string, message: Buffer): void => {
    receiver.calls.push(`${path} ${type}`);
    if (receiver.grpcStatus === 0) receiver.spans.push(...spansOf(message));
  };
  return { receiver, take };
}

async function listen(t: TestContext, server: http.Server | http2.Http2Server, receiver: OtlpReceiver): Promise<void> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  (receiver as { port: number }).port = (server.address() as AddressInfo).port;
  t.after(() => server.close());
}

export async function startGrpcReceiver(t: TestContext): Promise<OtlpReceiver> {
  const { receiver, take } = received();
  const server = http2.createServer();
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  t.after(() => sessions.forEach((session) => session.destroy()));
  server.on("stream", (stream, headers) => {
    const pieces: Buffer[] = [];
    stream.on("data", (piece: Buffer) => pieces.push(piece));
    stream.on("end", () => {
      const body = Buffer.concat(pieces);
      take(String(headers[":path"]), String(headers["content-type"]), body.subarray(5, 5 + body.readUInt32BE(1)));
      stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": String(receiver.grpcStatus) }));
      stream.end(Buffer.alloc(5));
    });
  });
  await listen(t, server, receiver);
  return receiver;
}

export async function startHttpReceiver(t: TestContext): Promise<OtlpReceiver> {
  const { receiver, take } = received();
  const server = http.createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      take(request.url ?? "", String(request.headers["content-type"]), Buffer.concat(pieces));
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
  });
  await listen(t, server, receiver);
  t.after(() => server.closeAllConnections());
  return receiver;
}
