// Where traces go, as `--otel-endpoint` says it. `host:port` is gRPC, as for production-stack; an URL with a path, or with the
// port that OTLP has for HTTP, is HTTP. Pure.
import type { OtlpEndpoint } from "./types.ts";

const httpPort = "4318";
const tracesPath = "/v1/traces";

/**
 * @param secure TLS where the text has no scheme that says so
 * @returns null when the text is no address
 */
export function parseOtelEndpoint(text: string, secure: boolean): OtlpEndpoint | null {
  const hasScheme = /^[a-z]+:\/\//i.test(text);
  const given = hasScheme ? text : `http://${text}`;
  if (!URL.canParse(given)) return null;
  const { protocol: scheme, host, hostname, port, pathname, username, search, hash } = new URL(given);
  if (!["http:", "https:", "grpc:"].includes(scheme) || hostname === "") return null;
  if (username !== "" || search !== "" || hash !== "") return null;
  const plain = pathname === "/" || pathname === "";
  const http = scheme !== "grpc:" && (!plain || port === httpPort);
  const origin = `${secure || scheme === "https:" ? "https" : "http"}://${host}`;
  if (http) return { protocol: "http", url: origin + (plain ? tracesPath : pathname) };
  return plain ? { protocol: "grpc", url: port === "" && scheme !== "https:" ? `${origin}:4317` : origin } : null;
}
