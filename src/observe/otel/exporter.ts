// Where spans go: OTLP as protobuf, by gRPC or by HTTP. What can't be delivered is counted and said, never silently dropped.
import {
  createOtlpNetworkExportDelegate,
  getSharedConfigurationDefaults,
  OTLPExporterBase,
} from "@opentelemetry/otlp-exporter-base";
import {
  createOtlpHttpExportDelegate,
  createOtlpHttpExporterMetrics,
  httpAgentFactoryFromOptions,
} from "@opentelemetry/otlp-exporter-base/node-http";
import { ProtobufTraceSerializer, TraceExporterMetricsHelper } from "@opentelemetry/otlp-transformer";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import type { Clock } from "../../clock.ts";
import type { OtlpEndpoint } from "../../config/types.ts";
import { GrpcTransport } from "./grpc-transport.ts";

/** @param count is told how many spans were delivered, or why not */
export class OtlpExporter implements SpanExporter {
  readonly #base: OTLPExporterBase<ReadableSpan[]>;
  readonly #count: (spans: number, problem: string | null) => void;

  constructor(endpoint: OtlpEndpoint, clock: Clock, count: (spans: number, problem: string | null) => void) {
    this.#base = endpoint.protocol === "grpc" ? overGrpc(endpoint.url, clock) : overHttp(endpoint.url);
    this.#count = count;
  }

  export(spans: ReadableSpan[], done: Parameters<SpanExporter["export"]>[1]): void {
    this.#base.export(spans, (result) => {
      const failed = result.error !== undefined;
      this.#count(spans.length, failed ? (result.error?.message ?? "unknown") : null);
      done(result);
    });
  }

  forceFlush(): Promise<void> {
    return this.#base.forceFlush();
  }

  shutdown(): Promise<void> {
    return this.#base.shutdown();
  }
}

function overGrpc(url: string, clock: Clock): OTLPExporterBase<ReadableSpan[]> {
  const metrics = createOtlpHttpExporterMetrics<ReadableSpan[]>(
    "otlp_grpc_span_exporter",
    TraceExporterMetricsHelper,
    url,
    undefined,
  );
  const options = getSharedConfigurationDefaults();
  return new OTLPExporterBase(
    createOtlpNetworkExportDelegate(options, ProtobufTraceSerializer, metrics, new GrpcTransport(url, clock)),
  );
}

function overHttp(url: string): OTLPExporterBase<ReadableSpan[]> {
  const options = {
    ...getSharedConfigurationDefaults(),
    url,
    headers: async () => ({ "Content-Type": "application/x-protobuf" }),
    agentFactory: httpAgentFactoryFromOptions({ keepAlive: true }),
  };
  return new OTLPExporterBase(
    createOtlpHttpExportDelegate(
      options,
      ProtobufTraceSerializer,
      "otlp_http_span_exporter",
      TraceExporterMetricsHelper,
      undefined,
    ),
  );
}
