// An engine's own tokenizer, over its `/tokenize`.
import type { Clock } from "../../clock.ts";
import type { Endpoint } from "../endpoint.ts";
import { askEngine } from "../engine-client.ts";
import type { Tokenizer } from "./prompt-tokens.ts";

/** An answer that is so late helps nobody, not even the next turn. */
const giveUpMs = 10_000;

/** @param pick an engine of the model that can be asked; null = there is none */
export function engineTokenizer(pick: () => Endpoint | null, key: () => string | null, clock: Clock): Tokenizer {
  return {
    async tokenize(_model, request) {
      const endpoint = pick();
      if (endpoint === null) throw new Error("no engine can be asked");
      const options = { reuse: true };
      const answer = await askEngine(endpoint, "POST", "/tokenize", request, key(), giveUpMs, clock, options);
      const { status, body } = answer;
      if (status !== 200) throw new Error(`/tokenize of ${endpoint.id} answered ${status}`);
      return tokensIn(body, endpoint.id);
    },
  };
}

function tokensIn(body: Buffer, id: string): Uint32Array {
  const answer: unknown = JSON.parse(body.toString("utf8"));
  const tokens: unknown = typeof answer === "object" && answer !== null && "tokens" in answer ? answer.tokens : null;
  if (!Array.isArray(tokens) || !tokens.every((token) => Number.isInteger(token)))
    throw new Error(`/tokenize of ${id} answered without tokens`);
  return Uint32Array.from(tokens as number[]);
}
