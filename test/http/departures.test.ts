// The end of a turn is called by hand.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Departures } from "../../src/http/departures.ts";

interface Fixture {
  readonly departures: Departures;
  /** Messages that have left, by number. */
  readonly left: number[];
  /** How often the end of a turn was asked for and has not come. */
  readonly ends: (() => void)[];
  /** One more message that waits, if it does. */
  message(): void;
  endTurn(): void;
}

function fixture(): Fixture {
  const left: number[] = [];
  const ends: (() => void)[] = [];
  const departures = new Departures((end) => ends.push(end));
  let messages = 0;
  const message = (): void => {
    const number = messages++;
    if (departures.gathers()) departures.add({ leave: () => left.push(number) });
    else left.push(number);
  };
  return { departures, left, ends, message, endTurn: () => ends.shift()?.() };
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

test("messages of one turn leave in their order at its end, which is asked for once", () => {
  const { left, ends, message, endTurn } = fixture();
  for (let i = 0; i < 10; i++) message();
  assert.deepEqual([left, ends.length], [[], 1]);
  endTurn();
  assert.deepEqual([left, ends.length], [numbers(10), 0]);
});

test("no more than 32 wait for each other, and none is forgotten", () => {
  const { left, ends, message, endTurn } = fixture();
  for (let i = 0; i < 31; i++) message();
  assert.deepEqual(left, []);
  message();
  assert.deepEqual(left, numbers(32));
  for (let i = 0; i < 5; i++) message();
  assert.deepEqual([left.length, ends.length], [32, 1]);
  endTurn();
  assert.deepEqual(left, numbers(37));
});

test("a message that is handed over while others leave waits for the next turn", () => {
  const { departures, left, ends, endTurn } = fixture();
  departures.add({ leave: () => departures.add({ leave: () => left.push(2) }) });
  departures.add({ leave: () => left.push(1) });
  endTurn();
  assert.deepEqual([left, ends.length], [[1], 1]);
  endTurn();
  assert.deepEqual(left, [1, 2]);
});

test("messages leave at once where turns bring one only, until turns are looked at again", () => {
  const { left, ends, message, endTurn } = fixture();
  for (let turn = 0; turn < 4; turn++) {
    message();
    assert.equal(left.length, turn);
    endTurn();
  }
  for (let looks = 1; looks <= 2; looks++) {
    for (let i = 0; i < 1024; i++) message();
    assert.deepEqual([left.length, ends.length], [3 + 1025 * looks, 0]);
    // one turn is looked at, and it brings one message
    message();
    assert.deepEqual([left.length, ends.length], [3 + 1025 * looks, 1]);
    endTurn();
  }
  for (let i = 0; i < 1024; i++) message();
  const before = left.length;
  for (const messages of [2, 1, 1, 1, 2]) {
    for (let i = 0; i < messages; i++) message();
    endTurn();
  }
  assert.deepEqual([left.length - before, ends.length], [7, 0]);
  message();
  assert.equal(ends.length, 1, "one turn with several is enough to gather again");
});

test("turns that bring one message now and then do not end the gathering", () => {
  const { left, message, endTurn } = fixture();
  for (let turn = 0; turn < 100; turn++) {
    const before = left.length;
    for (let i = 0; i < (turn % 4 === 0 ? 2 : 1); i++) message();
    assert.equal(left.length, before);
    endTurn();
  }
});

// 32 have left before the end of the turn, and one is left over: it was not alone.
test("what is left over of a full turn does not count as alone", () => {
  const { left, ends, message, endTurn } = fixture();
  for (let turn = 0; turn < 10; turn++) {
    for (let i = 0; i < 33; i++) message();
    assert.equal(ends.length, 1);
    endTurn();
    assert.equal(left.length, (turn + 1) * 33);
  }
});
