// Token counts found in the bytes of answers.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findUsage as findInBytes, findUsageInText, type Usage } from "../../src/api/usage.ts";

/** As bytes and as text, which lies among other answers: both find the same. */
function findUsage(bytes: Buffer): Usage | null {
  const found = findInBytes(bytes);
  for (const around of ["", '"usage":{"prompt_tokens":7}', "9}", '"']) {
    const buf = Buffer.concat([Buffer.from(around), bytes, Buffer.from(around)]);
    const start = around.length;
    assert.deepEqual(findUsageInText(bytes.toString("latin1"), buf, start, start + bytes.length), found);
  }
  return found;
}

const none = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };

test("usage is read in the spellings of each API", () => {
  for (const [text, usage] of [
    [
      '{"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}',
      { promptTokens: 3, completionTokens: 5, cachedTokens: 0 },
    ],
    [
      '{"usage": {"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}',
      { promptTokens: 3, completionTokens: 0, cachedTokens: 2 },
    ],
    ['{"usage":{"prompt_tokens":3,"prompt_tokens_details":null}}', { ...none, promptTokens: 3 }],
    [
      '{"usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":1}}',
      { promptTokens: 3, completionTokens: 5, cachedTokens: 1 },
    ],
    [
      '{"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":2},"output_tokens":5}}',
      { promptTokens: 3, completionTokens: 5, cachedTokens: 2 },
    ],
    // an object without a count says nothing
    ['{"usage":{}}', null],
    ['{"usage":{"prompt_tokens":"3","completion_tokens":-1}}', null],
  ] as const) {
    assert.deepEqual(findUsage(Buffer.from(text)), usage, text);
  }
});

test("no usage is found where there is none, and the last one counts where there are several", () => {
  for (const text of [
    "",
    "{}",
    '{"usage":null}',
    '{"usage":3}',
    '{"usage',
    '{"usage":',
    '{"usage":{',
    '{"usage":{"prompt_tokens":1',
    '{"usage":{bad}}',
  ]) {
    assert.equal(findUsage(Buffer.from(text)), null, text);
  }
  assert.equal(
    findUsage(Buffer.from('{"usage":{"prompt_tokens":1}}{"usage" :\n{"prompt_tokens":2}}'))?.promptTokens,
    2,
  );
  assert.equal(findUsage(Buffer.from('{"usage":{"prompt_tokens":1},"x":{"usage":null}}'))?.promptTokens, 1);
});

test("a text that speaks of usage is not taken for it", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const said = `"usage":{"prompt_tokens":9} ${text}`;
      const answer = { usage: { prompt_tokens: 1 }, choices: [{ text: said }, { text: `\\${said}` }] };
      assert.equal(findUsage(Buffer.from(JSON.stringify(answer)))?.promptTokens, 1);
    }),
  );
});
