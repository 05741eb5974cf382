// What policies ask of an index of cached prefixes, whatever it is made of: hashes of what was sent (approximate), or what
// the engines themselves report (exact).
import type { Prompt } from "./prompt.ts";

export interface CacheView {
  /** It also knows what was generated, and what other routers sent. */
  readonly complete: boolean;
  /**
   * Tokens at the start of the prompt that an endpoint has cached: whole blocks of the engine's, and less than the prompt,
   * as an engine computes at least one. -1 = this view can't tell for the endpoint or the prompt.
   */
  match(endpoint: string, prompt: Prompt): number;
}

/** Asks the first view, and the second where the first can't tell. */
export function layered(first: CacheView, second: CacheView): CacheView {
  return {
    complete: first.complete,
    match(endpoint, prompt) {
      const found = first.match(endpoint, prompt);
      return found >= 0 ? found : second.match(endpoint, prompt);
    },
  };
}
