// Prompts for tests: of texts, hashed as the router does, and of block ids, as a trace has them.
import { BlockHasher } from "../../src/cache/blocks.ts";
import { promptOfBlockIds, type Prompt } from "../../src/cache/prompt.ts";

export function textPrompt(text: string, seed = "m"): Prompt {
  const hasher = new BlockHasher();
  const bytes = Buffer.from(text);
  hasher.begin(seed);
  hasher.write(bytes, 0, bytes.length);
  return hasher.finish(4);
}

/** One block of 64 tokens for each id. */
export function idPrompt(...ids: number[]): Prompt {
  return promptOfBlockIds(ids, 64, ids.length * 64 + 1);
}
