// Which header fields go on through a proxy. Hop-by-hop fields (RFC 9110 section 7.6.1) and those that `Connection` names
// stay behind, in both directions.
import type { HeaderList } from "./head.ts";
import { optionsOf } from "./head.ts";

const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Fields that go on.
 * @param connection the message's `Connection` field in lower case
 * @param drop further names to leave out, lower case
 */
export function endToEnd(list: HeaderList, connection: string, drop: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  const usual = connection === "" || connection === "keep-alive" || connection === "close";
  const named = usual ? null : optionsOf(connection);
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] ?? "";
    if (hopByHop.has(name) || drop.has(name)) continue;
    if (named !== null && named.has(name)) continue;
    kept.push(name, list[i + 1] ?? "");
  }
  return kept;
}
