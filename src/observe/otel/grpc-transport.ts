// One unary gRPC call over Node's HTTP/2: all that OTLP needs of gRPC, without its 5 MB of packages. Wire format: the gRPC
// over HTTP/2 specification. Whether a failure is worth another try is the exporter's matter.
import { connect, constants, type ClientHttp2Session } from "node:http2";
import type { ExportResponse, IExporterTransport } from "@opentelemetry/otlp-exporter-base";
import type { Clock } from "../../clock.ts";

const path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const deadlineExceeded = "4";
/** UNAVAILABLE, ABORTED, RESOURCE_EXHAUSTED and the like: the specification of OTLP names them. */
const retryable = new Set(["1", deadlineExceeded, "8", "10", "11", "14", "15"]);
const retryMs = 1_000;
const maxTries = 3;

export class GrpcTransport implements IExporterTransport {
  readonly #origin: string;
  #session: ClientHttp2Session | null = null;
  readonly #clock: Clock;

  /** @param origin `http://host:port`, or https */
  constructor(origin: string, clock: Clock) {
    this.#origin = origin;
    this.#clock = clock;
  }

  async send(data: Uint8Array, timeoutMillis: number): Promise<ExportResponse> {
    const frame = Buffer.alloc(5 + data.length);
    frame.writeUInt32BE(data.length, 1);
    frame.set(data, 5);
    for (let tries = 1; ; tries++) {
      const response = await this.#call(frame, timeoutMillis);
      if (response.status !== "retryable" || tries === maxTries) return response;
      await new Promise<void>((resolve) => void this.#clock.setTimer(retryMs, resolve));
    }
  }

  shutdown(): void {
    this.#session?.close();
    this.#session = null;
  }

  #open(): ClientHttp2Session {
    const open = this.#session;
    if (open !== null && !open.closed && !open.destroyed) return open;
    const session = connect(this.#origin);
    // each call tells of it; here it must only not be thrown
    session.on("error", () => undefined);
    session.on("close", () => {
      if (this.#session === session) this.#session = null;
    });
    session.unref();
    this.#session = session;
    return session;
  }

  #call(frame: Buffer, timeoutMs: number): Promise<ExportResponse> {
    return new Promise((resolve) => {
      const retry = (error: Error): void => resolve({ status: "retryable", retryInMillis: retryMs, error });
      const session = this.#open();
      session.once("error", retry);
      const stream = session.request({
        [constants.HTTP2_HEADER_METHOD]: "POST",
        [constants.HTTP2_HEADER_PATH]: path,
        [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc+proto",
        te: "trailers",
        "grpc-timeout": `${timeoutMs}m`,
      });
      let status: string | undefined;
      let message = "";
      const read = (headers: Readonly<Record<string, unknown>>): void => {
        if (headers["grpc-status"] === undefined) return;
        status = String(headers["grpc-status"]);
        message = String(headers["grpc-message"] ?? "");
      };
      stream.on("response", read);
      stream.on("trailers", read);
      stream.on("error", retry);
      stream.on("close", () => {
        deadline.cancel();
        session.off("error", retry);
        if (status === "0") resolve({ status: "success" });
        else {
          const error = new Error(
            status === undefined ? "the collector ended the call" : `gRPC status ${status} ${message}`,
          );
          if (status === undefined || retryable.has(status)) retry(error);
          else resolve({ status: "failure", error });
        }
      });
      const deadline = this.#clock.setTimer(timeoutMs, () => stream.close(constants.NGHTTP2_CANCEL));
      // of an answer nothing is read but its end
      stream.resume();
      stream.end(frame);
    });
  }
}
