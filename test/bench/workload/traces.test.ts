// Public traces in their own formats, and what a person is told whose file has a broken line.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readTrace } from "../../../src/bench/workload/traces.ts";
import { atRate, firstOf, meanRps } from "../../../src/bench/workload/workload.ts";
import { UsageError } from "../../../src/errors/usage-error.ts";

const mooncake = [
  `{"timestamp": 1000, "input_length": 1100, "output_length": 20, "hash_ids": [0, 7, 8]}`,
  `{"timestamp": 4000, "input_length": 512, "output_length": 0, "hash_ids": [0]}`,
  ``,
].join("\n");
const azure = [
  `TIMESTAMP,ContextTokens,GeneratedTokens`,
  `2023-11-16 18:15:46.6805900,374,44`,
  `2023-11-16 18:15:50.9951690,396,109`,
].join("\r\n");
const burst = [
  `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type`,
  `5,ChatGPT,472,18,490,Conversation log`,
  `45.5,ChatGPT,1087,0,1087,Conversation log`,
  `118,GPT-4,417,276,693,API log`,
].join("\n");

describe("a trace", () => {
  test("of Mooncake: an id is a block of 512 tokens, the last one holds the rest", () => {
    const { requests, name } = readTrace("some/where/m.jsonl", mooncake);
    assert.equal(name, "m.jsonl");
    assert.deepEqual(
      requests.map(({ arrivalMs, promptTokens, answer }) => [arrivalMs, promptTokens, answer.tokens]),
      [
        [0, 1100, 20],
        // no answer at all can't be asked of an engine
        [3000, 512, 1],
      ],
    );
    assert.deepEqual(requests[0]?.prompt, [
      { id: 0, tokens: 512 },
      { id: 7, tokens: 512 },
      { id: 8, tokens: 76 },
    ]);
    assert.deepEqual(requests[1]?.prompt[0], requests[0]?.prompt[0]);
  });

  test("of Azure: times with seven digits, and prompts that share nothing", () => {
    const { requests } = readTrace("a.csv", azure);
    assert.deepEqual(
      requests.map(({ promptTokens, answer }) => [promptTokens, answer.tokens]),
      [
        [374, 44],
        [396, 109],
      ],
    );
    assert.ok(Math.abs((requests[1]?.arrivalMs ?? 0) - 4314.579) < 0.001);
    const ids = requests.flatMap(({ prompt, answer }) => [...prompt.map(({ id }) => id), answer.id]);
    assert.equal(new Set(ids).size, ids.length);
  });

  test("of BurstGPT: failed requests are left out, and that is said", () => {
    const { requests, notes } = readTrace("b.csv", burst);
    assert.deepEqual(
      requests.map(({ arrivalMs, promptTokens }) => [arrivalMs, promptTokens]),
      [
        [0, 472],
        [113_000, 417],
      ],
    );
    assert.deepEqual(notes, ["1 rows left out: failed requests"]);
  });

  test("keeps its requests at another rate, and its beginning when it is cut", () => {
    const trace = readTrace("b.csv", burst);
    assert.equal(meanRps(atRate(trace, 2)), 2 * meanRps(trace));
    assert.deepEqual(firstOf(trace, 1).requests, trace.requests.slice(0, 1));
  });
});

const line = (text: string): string => `${mooncake}${text}\n`;
const broken: Readonly<Record<string, readonly [text: string, told: RegExp]>> = {
  "an unknown format": ["a;b;c\n1;2;3\n", /^--trace t:1: not a known trace: a;b;c; give Mooncake JSON lines, or .+$/],
  "an empty file": ["", /^--trace t:1: not a known trace: empty; .+$/],
  "a header alone": ["TIMESTAMP,ContextTokens,GeneratedTokens\n", /^--trace t: holds no request; .+$/],
  "a line that is no JSON": [line(`{"timestamp": 1`), /^--trace t:3: not JSON \(.+\); correct or delete the line$/],
  "a line that is no object": [line(`5`), /^--trace t:3: not an object: 5; write \{.+$/],
  "a missing field": [line(`{"timestamp": 1, "input_length": 5}`), /^--trace t:3: output_length is missing; write .+$/],
  "a length that is none": [
    line(`{"timestamp": 1, "input_length": "many", "output_length": 1, "hash_ids": [1]}`),
    /^--trace t:3: input_length is "many"; write .+$/,
  ],
  "ids that do not fit the length": [
    line(`{"timestamp": 1, "input_length": 513, "output_length": 1, "hash_ids": [1]}`),
    /^--trace t:3: 1 hash_ids for 513 tokens; one id stands for 512 tokens: give 2$/,
  ],
  "an id that is none": [
    line(`{"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": [-1]}`),
    /^--trace t:3: hash_ids holds -1; give whole numbers from 0 on$/,
  ],
  "a time that is none": [`${azure}\nyesterday,1,1\n`, /^--trace t:4: the time is yesterday; .+$/],
  "a cell that is missing": [`${azure}\n2023-11-16 18:15:51,7\n`, /^--trace t:4: the answer's length is missing; .+$/],
  "a cell that is no number": [`${burst}\n200,GPT-4,x,1,1,API log\n`, /^--trace t:5: the prompt's length is x; .+$/],
};

for (const [what, [text, told]] of Object.entries(broken)) {
  test(`a trace with ${what} ends in one line with its number and the way out`, () => {
    assert.throws(
      () => readTrace("t", text),
      (error) => error instanceof UsageError && told.test(error.message),
    );
  });
}
