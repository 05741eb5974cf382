// The simulator against every recording of a real server: the same request bytes, then status, headers, framing, shapes
// and events. What may differ is a data file with reasons; an entry that no longer differs is as wrong as a difference.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { allowedDifferences as allowed, covers } from "./fidelity/allowed.ts";
import { groups, readIndex, recordedGroups, storyGroup } from "./fidelity/plan.ts";
import { replayGroup, replayStory } from "./fidelity/replay.ts";
import type { CaseResult } from "./fidelity/replay.ts";
import { differencesTable } from "./fidelity/table.ts";
import type { Allowed } from "./fidelity/table.ts";

const used = new Set<Allowed>();

function check({ id, differences }: CaseResult): void {
  const wrong = differences.filter(({ path }) => {
    const entry = allowed.find((one) => covers(one, id, path));
    if (entry !== undefined) used.add(entry);
    return entry === undefined;
  });
  assert.deepEqual(wrong, [], id);
}

for (const group of recordedGroups()) {
  describe(group, async () => {
    const results = await (group === storyGroup ? replayStory() : replayGroup(group));
    for (const result of results) it(result.id, () => check(result));

    it(`${group}: every recorded case was replayed`, () => {
      const names = readIndex(group).cases.map((entry) => `${group}/${entry.case}`);
      assert.deepEqual(results.map(({ id }) => id).toSorted(), names.toSorted());
    });
  });
}

describe("the list of differences", () => {
  it("knows every recorded group", () => {
    assert.deepEqual(recordedGroups().toSorted(), [...Object.keys(groups), storyGroup].toSorted());
  });

  it("has no entry that no longer differs", () => {
    assert.deepEqual(
      allowed.filter((entry) => !used.has(entry)),
      [],
    );
  });

  it("is the one of docs/engine.md", () => {
    const page = readFileSync(new URL("../../docs/engine.md", import.meta.url), "utf8");
    const given = /<!-- differences: begin -->\n([^]*)<!-- differences: end -->/.exec(page)?.[1];
    assert.equal(given, differencesTable(allowed), "copy the expected text into docs/engine.md");
  });

  it("gives a reason for every entry", () => {
    assert.deepEqual(
      allowed.filter(({ reason }) => reason.length < 20),
      [],
    );
  });
});
