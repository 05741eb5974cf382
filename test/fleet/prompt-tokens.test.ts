// Prompts as tokens: what is asked for, what is not asked again, and that a long conversation read in pieces is the same as the
// whole, or is read as a whole.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";

import type { TokenizeAsk } from "../../src/api/tokenize.ts";
import { tokenizable } from "../../src/api/tokenize.ts";
import { ManualClock, systemClock, type Clock } from "../../src/clock.ts";
import { PromptTokens, type PromptTokensResult, type Tokenizer } from "../../src/fleet/tokens/prompt-tokens.ts";

interface Message {
  readonly role: string;
  readonly content: string;
}

/** A template that writes turns one behind another; `odd` ones write a beginning that depends on the end. */
function render(messages: readonly Message[], opened: boolean, odd: boolean): string {
  const lead = odd ? `[${messages.length}]` : "[BOS]";
  return `${lead}${messages.map(({ role, content }) => `<${role}>${content}</>`).join("")}${opened ? "<assistant>" : ""}`;
}

interface Asked {
  readonly messages?: readonly Message[];
  readonly prompt?: string;
  readonly add_generation_prompt?: boolean;
}

/** Characters are tokens. It keeps what it was asked. */
class Letters implements Tokenizer {
  readonly asked: Asked[] = [];
  odd = false;
  answer: (text: string) => Promise<string> = (text) => Promise.resolve(text);

  async tokenize(_model: string, request: string): Promise<Uint32Array> {
    const asked = JSON.parse(request) as Asked;
    this.asked.push(asked);
    const { messages, prompt } = asked;
    const text =
      messages === undefined ? (prompt ?? "") : render(messages, asked.add_generation_prompt === true, this.odd);
    return Uint32Array.from(await this.answer(text), (letter) => letter.codePointAt(0) ?? 0);
  }
}

function reader(letters: Letters, clock: Clock = systemClock, cacheBytes = 1024 * 1024 * 16): PromptTokens {
  return new PromptTokens({ clock, limitMs: 1000, tokenizerOf: () => letters, cacheBytes });
}

const chat = (messages: readonly Message[], more: object = {}): TokenizeAsk =>
  tokenizable("chat", Buffer.from(JSON.stringify({ model: "m", messages, ...more }))).ask;
const textOf = (result: PromptTokensResult): string =>
  "tokens" in result ? String.fromCodePoint(...result.tokens) : `${result.reason}: ${result.detail}`;

const long = (seed: number, letters = 2000): string =>
  Array.from({ length: letters }, (_, at) => String.fromCodePoint(97 + ((seed * 31 + at * 17) % 26))).join("");

/** A conversation of so many turns, each as long; the last message is a question. */
function conversation(turns: number, seed = 0): Message[] {
  const messages: Message[] = [{ role: "system", content: long(seed, 15_000) }];
  for (let turn = 0; turn < turns; turn++) {
    if (turn > 0) messages.push({ role: "assistant", content: long(seed + turn + 500) });
    messages.push({ role: "user", content: long(seed + turn) });
  }
  return messages;
}

describe("a prompt", () => {
  test("that was read is not read again, by a byte of difference it is", async () => {
    const letters = new Letters();
    const tokens = reader(letters);
    const ask = chat([{ role: "user", content: "hello" }]);
    assert.equal(textOf(await tokens.read("m", ask)), "[BOS]<user>hello</><assistant>");
    assert.equal(textOf(await tokens.read("m", ask)), "[BOS]<user>hello</><assistant>");
    assert.equal(letters.asked.length, 1);
    for (const other of [
      chat([{ role: "user", content: "hello!" }]),
      chat([{ role: "user", content: "hello" }], { tools: [{ type: "function" }] }),
      chat([{ role: "user", content: "hello" }], { chat_template_kwargs: { enable_thinking: false } }),
      chat([{ role: "user", content: "hello" }], { add_generation_prompt: false }),
    ]) {
      await tokens.read("m", other);
    }
    await tokens.read("n", ask);
    assert.equal(letters.asked.length, 6);
  });

  test("is read in time, or not at all; a late answer is good for the next time", async () => {
    const clock = new ManualClock();
    const letters = new Letters();
    const late = Promise.withResolvers<string>();
    letters.answer = () => late.promise;
    const tokens = reader(letters, clock);
    const ask = chat([{ role: "user", content: "hello" }]);
    const reading = tokens.read("m", ask);
    clock.advance(1001);
    assert.match(textOf(await reading), /^tokenizer_timeout: no tokens within 1000 ms/);
    late.resolve("late");
    await late.promise;
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(textOf(await tokens.read("m", ask)), "late");
    assert.equal(letters.asked.length, 1);
  });

  test("whose tokenizer fails is told of with its words", async () => {
    const letters = new Letters();
    letters.answer = () => Promise.reject(new Error("out of order"));
    assert.equal(
      textOf(await reader(letters).read("m", chat([{ role: "user", content: "x" }]))),
      "tokenizer_failed: out of order",
    );
    const nobody = new PromptTokens({ clock: systemClock, limitMs: 1, tokenizerOf: () => null, cacheBytes: 1 });
    assert.match(textOf(await nobody.read("m", chat([{ role: "user", content: "x" }]))), /^no_tokenizer/);
  });
});

describe("a long conversation", () => {
  test("is read in pieces once its template is trusted, and each turn costs what is new", async () => {
    const letters = new Letters();
    const tokens = reader(letters);
    for (let turn = 1; turn <= 8; turn++) {
      const messages = conversation(turn);
      letters.asked.length = 0;
      assert.equal(textOf(await tokens.read("m", chat(messages))), render(messages, true, false));
      const whole = letters.asked.some((asked) => asked.messages?.length === messages.length);
      // the first turn has nothing before it; three are read both ways
      assert.equal(whole, turn <= 4, `turn ${turn}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(tokens.piecewise, 4);
  });

  test("is always read as a whole where turns depend on each other", async () => {
    const letters = new Letters();
    letters.odd = true;
    const tokens = reader(letters);
    for (let turn = 1; turn <= 6; turn++) {
      const messages = conversation(turn);
      assert.equal(textOf(await tokens.read("m", chat(messages))), render(messages, true, true));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(tokens.piecewise, 0);
  });

  test("with thoughts in it is read as a whole, since templates drop those of earlier turns", async () => {
    const letters = new Letters();
    const tokens = reader(letters);
    for (let turn = 1; turn <= 6; turn++) {
      const messages = conversation(turn);
      await tokens.read("m", chat([...messages.slice(0, -1), { role: "user", content: `<think>${turn}` }]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(tokens.piecewise, 0);
    assert.equal(letters.asked.length, 6);
  });

  test("is the same in pieces as in whole, whatever its turns", async () => {
    const letters = new Letters();
    const tokens = reader(letters);
    for (let turn = 1; turn <= 5; turn++) {
      await tokens.read("m", chat(conversation(turn)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const role = fc.constantFrom("user", "assistant", "tool", "user");
    const tail = fc.array(fc.record({ role, content: fc.string({ maxLength: 30 }) }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.nat(4), tail, async (turns, more) => {
        const messages = [...conversation(turns + 1), ...more];
        assert.equal(textOf(await tokens.read("m", chat(messages))), render(messages, true, false));
      }),
      { numRuns: 60 },
    );
    assert.ok(tokens.piecewise > 40, `${tokens.piecewise}`);
  });

  test("forgets the oldest when its memory is full", async () => {
    const letters = new Letters();
    const tokens = reader(letters, systemClock, 100_000);
    for (let at = 0; at < 50; at++) await tokens.read("m", chat(conversation(1, at)));
    letters.asked.length = 0;
    await tokens.read("m", chat(conversation(1, 49)));
    assert.equal(letters.asked.length, 0);
    await tokens.read("m", chat(conversation(1, 0)));
    assert.equal(letters.asked.length, 1);
  });
});
