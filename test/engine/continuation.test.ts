// A prompt that ends with a piece of an answer gets the rest of it: what a router counts on that moves a stream to another
// engine in the middle. Real models do so when they always take the likeliest token.
import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import fc from "fast-check";
import { startEngine } from "../../src/engine/serve.ts";
import { Filler } from "../../src/engine/text/filler.ts";
import { builtInVocabulary } from "../../src/engine/text/vocabulary.ts";
import { json, post } from "./support.ts";

interface Asked {
  readonly prompt: string;
  readonly requestSeed?: number;
  readonly choice?: number;
  readonly serverSeed?: number;
}

/** The tokens of an answer up to its natural end. */
function tokens(asked: Asked): number[] {
  const filler = new Filler({
    requestSeed: 0,
    choice: 0,
    serverSeed: 0,
    ...asked,
    minTokens: 0,
    ignoreEos: false,
    vocabulary: builtInVocabulary,
  });
  const ids: number[] = [];
  for (let id = filler.next(); id !== builtInVocabulary.endOfSequence; id = filler.next()) ids.push(id);
  return ids;
}

const text = (asked: Asked): string => builtInVocabulary.decode(tokens(asked));

describe("a text that was begun", () => {
  it("is gone on with from any character to the same end", () => {
    const prompt = "Tell me about rivers and the sea.\n";
    const whole = text({ prompt });
    for (let cut = 0; cut <= whole.length; cut++) {
      assert.equal(text({ prompt: prompt + whole.slice(0, cut) }), whole.slice(cut), `cut at ${cut}`);
    }
  });

  it("is gone on with in the same tokens where it was cut between two", () => {
    const asked = { prompt: "Name a bird", requestSeed: 7, choice: 1, serverSeed: 3 };
    const whole = tokens(asked);
    for (let cut = 0; cut <= whole.length; cut++) {
      const begun = builtInVocabulary.decode(whole.slice(0, cut));
      assert.deepEqual(tokens({ ...asked, prompt: asked.prompt + begun }), whole.slice(cut), `cut at ${cut}`);
    }
  });

  it("stays the same for any prompt, seed and two cuts", () => {
    const prompts = fc.oneof(
      fc.string(),
      // made of what answers begin with, so that a prompt may end like an answer
      fc
        .array(fc.constantFrom("The", "A", "Every", " ", "T", "Ea", "\n", "good", "river"))
        .map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(prompts, fc.nat(50), fc.nat(), fc.nat(), (prompt, requestSeed, first, second) => {
        const whole = text({ prompt, requestSeed });
        const [a, b] = [first % (whole.length + 1), second % (whole.length + 1)].toSorted((x, y) => x - y);
        assert.equal(text({ prompt: prompt + whole.slice(0, a), requestSeed }), whole.slice(a));
        assert.equal(text({ prompt: prompt + whole.slice(0, b), requestSeed }), whole.slice(b));
      }),
      { numRuns: 200 },
    );
  });
});

interface Body {
  readonly choices: readonly [{ readonly text?: string; readonly message?: { readonly content: string } }];
}

test("completions and chats of two engines continue each other's texts", async (t) => {
  const script = [{ pattern: /capital/, answer: "Paris, of course.", tool: null }];
  const engines = await Promise.all([0, 1].map(() => startEngine({ preset: "fast", models: ["tiny"], script })));
  t.after(() => Promise.all(engines.map((engine) => engine.close())));
  const [one, two] = engines;
  assert.ok(one && two);
  const say = async (engine: typeof one, path: string, body: object): Promise<string> => {
    const [choice] = (json((await post(engine, path, body)).response) as Body).choices;
    return choice.text ?? choice.message?.content ?? "";
  };
  for (const question of ["Tell me of rivers.", "Which is the capital?"]) {
    const messages = [{ role: "user", content: question }];
    const whole = await say(one, "/v1/chat/completions", { messages, max_tokens: 60 });
    for (let cut = 1; cut < whole.length; cut += 7) {
      const begun = [...messages, { role: "assistant", content: whole.slice(0, cut) }];
      const rest = await say(two, "/v1/chat/completions", {
        messages: begun,
        continue_final_message: true,
        add_generation_prompt: false,
        max_tokens: 60,
      });
      assert.ok(rest.startsWith(whole.slice(cut)), `${question} cut at ${cut}`);
    }
  }
  const prompt = "Once upon a time";
  const whole = await say(one, "/v1/completions", { prompt, max_tokens: 60 });
  const ids = builtInVocabulary.encode(prompt + whole.slice(0, 40));
  assert.ok((await say(two, "/v1/completions", { prompt: ids, max_tokens: 60 })).startsWith(whole.slice(40)));
});
