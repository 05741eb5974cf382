// Our parsers against Node's own, on messages that are nearly right: whatever we accept, llhttp accepts with the same
// meaning. LMSTACK_FUZZ_SEED repeats a run, LMSTACK_FUZZ_RUNS makes it longer. A failure names its input: put it into
// fuzz/regressions.ts with its story.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compareRequests, compareResponse, type Verdict } from "./fuzz/compare.ts";
import { mutate } from "./fuzz/mutate.ts";
import { Random } from "./fuzz/random.ts";
import { requestRegressions, responseRegressions } from "./fuzz/regressions.ts";
import { requestSeeds, responseSeeds } from "./fuzz/seeds.ts";

const seed = Number(process.env["LMSTACK_FUZZ_SEED"] ?? Date.now() % 2 ** 31);
const requestRuns = Number(process.env["LMSTACK_FUZZ_RUNS"] ?? 100_000);
const responseRuns = Math.ceil(requestRuns / 4);
/** Inputs shown of a run that fails; one defect makes hundreds. */
const shown = 3;

function bytesOf(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** What one run tries: its bytes as latin1, and the verdict about them. */
type Run = (random: Random) => { readonly text: string; readonly verdict: Verdict };

/** @returns how many inputs were accepted */
function fuzz(runs: number, one: Run): number {
  const failures: string[] = [];
  let failed = 0;
  let accepted = 0;
  for (let run = 0; run < runs; run++) {
    // each run has a sequence of its own, so that one can be repeated alone
    const { text, verdict } = one(new Random(Math.imul(seed, 1_000_003) + run));
    if (verdict.accepted > 0) accepted++;
    if (verdict.difference === null) continue;
    failed++;
    if (failures.length < shown) failures.push(`run ${run}: ${verdict.difference}\n  ${JSON.stringify(text)}`);
  }
  assert.equal(failed, 0, `LMSTACK_FUZZ_SEED=${seed}: ${failed} of ${runs} differ\n${failures.join("\n")}`);
  return accepted;
}

test("the seeds of the fuzz are accepted, and mean the same to llhttp", () => {
  for (const text of requestSeeds) {
    const { accepted, difference } = compareRequests(bytesOf(text));
    assert.equal(difference, null, JSON.stringify(text));
    assert.ok(accepted > 0, JSON.stringify(text));
  }
  for (const text of responseSeeds) {
    const { accepted, difference } = compareResponse(bytesOf(text), { closed: true });
    assert.equal(difference, null, JSON.stringify(text));
    assert.equal(accepted, 1, JSON.stringify(text));
  }
});

test("messages on which the parsers once differed are read alike or refused", () => {
  for (const { story, bytes } of requestRegressions)
    assert.equal(compareRequests(bytesOf(bytes)).difference, null, story);
  for (const { story, bytes } of responseRegressions) {
    for (const closed of [false, true])
      assert.equal(compareResponse(bytesOf(bytes), { closed }).difference, null, story);
  }
});

test("whatever mutated request we accept, llhttp accepts with the same meaning", (t) => {
  let told = 0;
  const accepted = fuzz(requestRuns, (random) => {
    const base = random.pick(requestSeeds);
    const mutated = mutate(base, requestSeeds, random);
    // a quarter stands behind two that are alike: a parser may read what it knows in another way
    const text = random.below(4) === 0 ? base + base + mutated : mutated;
    const verdict = compareRequests(bytesOf(text));
    told += verdict.accepted;
    return { text, verdict };
  });
  t.diagnostic(`seed ${seed}: ${requestRuns} inputs, ${accepted} accepted with ${told} requests`);
  // a law about what is accepted says nothing where nothing is
  assert.ok(
    accepted > requestRuns / 10,
    `only ${accepted} of ${requestRuns} were accepted: the mutations are too wild`,
  );
});

test("whatever mutated answer we accept, llhttp accepts with the same meaning", (t) => {
  const accepted = fuzz(responseRuns, (random) => {
    const base = random.pick(responseSeeds);
    const text = mutate(base, responseSeeds, random);
    const headRequest = random.below(8) === 0;
    const closed = random.below(2) === 0;
    const before = random.below(4) === 0 && finishes(base) ? bytesOf(base) : null;
    return { text, verdict: compareResponse(bytesOf(text), { headRequest, closed, before }) };
  });
  t.diagnostic(`seed ${seed}: ${responseRuns} answers, ${accepted} accepted`);
  assert.ok(
    accepted > responseRuns / 10,
    `only ${accepted} of ${responseRuns} were accepted: the mutations are too wild`,
  );
});

/** Whether an answer has an end of its own, so that another can follow. */
function finishes(text: string): boolean {
  return !text.includes("until the end");
}
