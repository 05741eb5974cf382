// From a request's body to what policies compare: the prompt as a chain of hashes, its length in tokens. And back: what an
// engine counted corrects the index of what was sent where, and how long a token is.
import { findPrompt, writePrompt } from "../api/prompt.ts";
import type { ApiName } from "../api/table.ts";
import type { UntokenizedReason } from "../api/tokenize.ts";
import type { Usage } from "../api/usage.ts";
import { ApproximateIndex, type Placement } from "../cache/approximate.ts";
import { BlockHasher } from "../cache/blocks.ts";
import { promptTokens, type Prompt } from "../cache/prompt.ts";
import { TokenLengths } from "../cache/token-lengths.ts";
import type { TokenFailure } from "../fleet/tokens/prompt-tokens.ts";

/** What a request asks of an engine, as far as choosing one is concerned. */
export interface Ask {
  /** null = there is none, or it is not worth a look. */
  readonly prompt: Prompt | null;
  readonly promptTokens: number;
  readonly maxTokens: number | null;
  readonly priority: number;
  /** Why its tokens are not known, under `kvaware`. */
  readonly unread?: TokenFailure | UntokenizedReason;
}

/** Of a body that is not looked into: text on today's vocabularies takes some four bytes a token. */
const bodyBytesPerToken = 4;
/** The prompt of a shorter body is computed in less time than finding it somewhere could save. */
export const leastBodyBytes = 1024;

/** A body that is not looked into. */
export function askOfLength(bytes: number): Ask {
  return {
    prompt: null,
    promptTokens: Math.max(1, Math.round(bytes / bodyBytesPerToken)),
    maxTokens: null,
    priority: 0,
  };
}

export class Prefixes {
  readonly index: ApproximateIndex;
  readonly #lengths = new TokenLengths();
  readonly #hasher = new BlockHasher();

  /** @param leastMatchBytes shorter matches count for nothing */
  constructor(maxBytes: number, leastMatchBytes = 0) {
    this.index = new ApproximateIndex({ maxBytes, leastMatch: leastMatchBytes });
  }

  /**
   * Reads a prompt.
   * @param body complete, and seen to be a JSON object
   * @param model as engines know it: an adapter is a model of its own
   */
  read(api: ApiName, body: Buffer, model: string): Ask {
    const parts = findPrompt(api, body);
    if (parts === null) return askOfLength(body.length);
    const hasher = this.#hasher;
    hasher.begin(model, parts.cacheSalt);
    const { tokenIds, otherBytes } = writePrompt(parts, hasher);
    // ids are written with four bytes each
    const perToken = tokenIds === null ? this.#lengths.of(model) : 4;
    const prompt = hasher.finish(perToken, tokenIds);
    const tokens = promptTokens(prompt) + Math.round(otherBytes / perToken);
    return { prompt, promptTokens: tokens, maxTokens: parts.maxTokens, priority: parts.priority };
  }

  /** The request has ended well where it was placed. */
  ended(model: string, prompt: Placed, usage: Usage): void {
    const { placement } = prompt;
    if (placement !== null) {
      this.index.finished(placement, usage.completionTokens);
      this.index.observed(placement.endpoint, prompt.cachedTokens, usage.cachedTokens);
    }

    if (prompt.textBytes > 0) this.#lengths.learn(model, prompt.textBytes, usage.promptTokens);
  }
}

/** A prompt that is on an endpoint, without its hashes: a stream may go on for minutes. */
export interface Placed {
  readonly placement: Placement | null;
  /** Predicted. */
  readonly cachedTokens: number;
  /** Canonical bytes of a single prompt of text; 0 = something else. */
  readonly textBytes: number;
}
