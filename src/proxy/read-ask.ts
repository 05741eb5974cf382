// What a request asks of an engine, as far as its policy looks: nothing but a length, its prompt as text, or its tokens too.
import type { Body } from "../api/body.ts";
import type { RelayRow } from "../api/table.ts";
import type { PolicyName } from "../config/types.ts";
import type { RouterContext } from "./context.ts";
import { askOfLength, leastBodyBytes, type Ask } from "./prefixes.ts";

/** Policies that compare prompts as text. */
const readsPrompts: ReadonlySet<PolicyName> = new Set<PolicyName>(["prefixaware"]);

/**
 * Reads it, at once but for tokens that somebody else has to make.
 * @param model null = the path has none
 * @param bytes length of the body
 */
export function readAsk(
  { kv, prefixes, registry, routing }: RouterContext,
  { api, modelIn }: RelayRow,
  model: string | null,
  body: Body,
  bytes: number,
): Ask | Promise<Ask> {
  if (model === null || modelIn !== "json") return askOfLength(bytes);
  if (kv.wanted) {
    const whole = body.whole();
    return kv.read(api, whole, model, prefixes.read(api, whole, model));
  }
  // one engine that is alone gets a request however it is, and a policy may not care
  const several = (registry.serving(model)?.length ?? 0) > 1;
  if (!several || bytes < leastBodyBytes || !readsPrompts.has(routing.name)) return askOfLength(bytes);
  return prefixes.read(api, body.whole(), model);
}
