// The head of an engine's answer as the client gets it: end-to-end fields as they came, the router's request id, and what
// keeps buffering proxies in front from sitting on a stream.
import { endToEnd } from "../http/hygiene.ts";
import { headerValue, type HeaderList } from "../http/head.ts";
import type { ResponseHead } from "../http/response-parser.ts";

const framing = new Set(["content-length", "x-request-id"]);

export function answerFields(head: ResponseHead, requestId: string, extra: readonly string[]): HeaderList {
  const fields = endToEnd(head.headers, head.connection, framing);
  fields.push("x-request-id", requestId, "via", "1.1 lmstack");
  fields.push(...extra);
  return fields;
}

/** For event streams. */
export function streamFields(head: ResponseHead): string[] {
  const fields = ["x-accel-buffering", "no"];
  if (headerValue(head.headers, "cache-control") === null) fields.push("cache-control", "no-cache");
  return fields;
}
