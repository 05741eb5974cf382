// The laws that hold for every policy, over random histories of a fleet whose loads are the real ones: requests come, begin,
// end or fail, endpoints join and leave.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ApproximateIndex } from "../../src/cache/approximate.ts";
import { promptOfBlockIds, type Prompt } from "../../src/cache/prompt.ts";
import type { CacheView } from "../../src/cache/view.ts";
import { policyNames } from "../../src/config/types.ts";
import { EndpointLoad, type LoadTicket } from "../../src/routing/load.ts";
import { createPolicy } from "../../src/routing/policies.ts";
import { isWait, type Candidate, type Decision, type RequestView } from "../../src/routing/policy.ts";
import { candidate, request, seeded } from "./support.ts";

interface Member extends Candidate {
  readonly load: EndpointLoad;
}

interface Run {
  readonly chosen: string[];
  /** Endpoints in the list at each choice. */
  readonly present: string[][];
  readonly loads: EndpointLoad[];
  readonly waits: number;
}

/** Plays a history; the same seed gives the same one. */
function play(name: (typeof policyNames)[number], seed: number, steps: number, mayWait: boolean): Run {
  const random = seeded(seed);
  const draws = seeded(seed + 1);
  const index = new ApproximateIndex();
  const choose = createPolicy(name, { cache: index });
  const join = (): Member => ({ id: `e${made++}`, weight: 1, load: new EndpointLoad() });
  let made = 0;
  let members = Array.from({ length: 2 + Math.floor(random() * 6) }, join);
  const all = [...members];
  let flying: { ticket: LoadTicket; begun: boolean }[] = [];
  const run: Run & { waits: number } = { chosen: [], present: [], loads: [], waits: 0 };
  let now = 0;
  for (let step = 0; step < steps; step++) {
    now += random() * 40;
    const what = random();
    if (what < 0.55) {
      const prompt = draw(random);
      const view = request({
        prompt,
        promptTokens: prompt.length,
        mayWait,
        nowMs: now,
        sessionKey: random() < 0.5 ? `s${Math.floor(random() * 9)}` : null,
      });
      // the list comes in any order
      const list = members.toSorted(() => random() - 0.5);
      const decision = choose(view, list, draws);
      const member = list[decision.index];
      assert.ok(member !== undefined, `${decision.index} of ${list.length}`);
      assert.ok(decision.cachedTokens >= 0 && decision.cachedTokens < prompt.length);
      if (isWait(decision)) {
        assert.ok(mayWait);
        run.waits++;
        continue;
      }
      run.chosen.push(member.id);
      run.present.push(list.map(({ id }) => id));
      flying.push({
        ticket: member.load.send(prompt.length, prompt.length - decision.cachedTokens, 100, now),
        begun: false,
      });
      index.sent(member.id, prompt);
    } else if (what < 0.75) {
      const one = flying[Math.floor(random() * flying.length)];
      one?.ticket.firstToken(now, random() < 0.7);
    } else if (what < 0.96) {
      const [one] = flying.splice(Math.floor(random() * flying.length), 1);
      one?.ticket.release(now, random() < 0.8 ? 100 : 0);
      one?.ticket.release(now);
    } else if (what < 0.98) {
      const member = join();
      members.push(member);
      all.push(member);
    } else if (members.length > 1) members = members.filter((_, i) => i !== step % members.length);
  }
  for (const { ticket } of flying) ticket.release(now);
  flying = [];
  run.loads.push(...all.map(({ load }) => load));
  return run;
}

function draw(random: () => number): Prompt {
  const group = Math.floor(random() * 3);
  const ids = [group, group, ...Array.from({ length: Math.floor(random() * 30) }, () => Math.floor(random() * 4))];
  return promptOfBlockIds(ids, 64, ids.length * 64 + 20);
}

for (const name of policyNames) {
  test(`${name}: whatever happened, only who is there is chosen, and every count is back at 0 at the end`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.boolean(), (seed, mayWait) => {
        const { chosen, present, loads } = play(name, seed, 300, mayWait);
        for (const [i, id] of chosen.entries()) assert.ok(present[i]?.includes(id), id);
        for (const load of loads) {
          const left = [load.queued, load.running, load.heldTokens, load.queuedTokens(1e9), load.decoding(1e9)];
          assert.deepEqual(left, [0, 0, 0, 0, 0]);
        }
      }),
      { numRuns: 60 },
    );
  });

  test(`${name}: the same seed, the same choices`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        assert.deepEqual(play(name, seed, 200, true).chosen, play(name, seed, 200, true).chosen);
      }),
      { numRuns: 15 },
    );
  });

  test(`${name}: an endpoint that joins gets traffic, one that leaves gets none`, () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), fc.integer({ min: 2, max: 7 }), (seed, size) => {
        const random = seeded(seed);
        const index = new ApproximateIndex();
        const choose = createPolicy(name, { cache: index });
        const member = (i: number): Member => ({ id: `${seed}-${i}`, weight: 1, load: new EndpointLoad() });
        const old = Array.from({ length: size }, (_, i) => member(i));
        const counts = new Map<string, number>();
        let now = 0;
        const serve = (members: readonly Member[], requests: number): void => {
          counts.clear();
          const flying: LoadTicket[] = [];
          for (let i = 0; i < requests; i++) {
            now += 20;
            const prompt = draw(random);
            const { index: at, cachedTokens } = choose(
              request({ prompt, promptTokens: prompt.length, nowMs: now, sessionKey: `s${i % 97}` }),
              members,
              random,
            );
            const chosen = members[at];
            assert.ok(chosen !== undefined);
            counts.set(chosen.id, (counts.get(chosen.id) ?? 0) + 1);
            index.sent(chosen.id, prompt);
            flying.push(chosen.load.send(prompt.length, prompt.length - cachedTokens, 100, now));
            if (flying.length > 16) {
              const ticket = flying.shift();
              ticket?.firstToken(now, true);
              ticket?.release(now, 100);
            }
          }
          for (const ticket of flying) ticket.release(now);
        };
        serve(old, 400);
        const joined = member(9);
        serve([...old, joined], 600);
        const got = counts.get(joined.id) ?? 0;
        assert.ok(got >= 600 / (size + 1) / 5, `${got} of 600 went to the new one of ${size + 1}`);
        serve([...old.slice(1), joined], 300);
        assert.equal(counts.get(old[0]?.id ?? ""), undefined);
      }),
      { numRuns: 8 },
    );
  });

  test(`${name}: looks at nothing but what it was given, and changes nothing of it`, () => {
    const load = fc.record({ queued: fc.nat(9), running: fc.nat(50) });
    fc.assert(
      fc.property(
        fc.nat(2 ** 31),
        fc.array(load, { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        (seed, loads, mayWait) => {
          const members = loads.map((facts, i) => candidate({ id: `e${i}`, ...facts }));
          const random = seeded(seed);
          const view = request({ prompt: draw(random), sessionKey: random() < 0.5 ? "s" : null, mayWait, nowMs: 5000 });
          const index = new ApproximateIndex();
          for (const { id } of members) if (random() < 0.5) index.sent(id, draw(random));
          const choose = (of: RequestView, from: readonly Candidate[], cache: CacheView): Decision =>
            createPolicy(name, { cache })(of, from, seeded(seed));
          const open = choose(view, members, index);
          const cache: CacheView = {
            complete: false,
            match(endpoint, prompt) {
              assert.ok(
                members.some(({ id }) => id === endpoint),
                `${endpoint} is none of the candidates`,
              );
              assert.equal(prompt, view.prompt);
              return index.match(endpoint, prompt);
            },
          };
          const guarded = members.map((one) => strict({ ...one, load: strict(one.load) }));
          const closed = withoutSurroundings(() => choose(strict(view), Object.freeze(guarded), cache));
          assert.deepEqual(closed, open);
        },
      ),
    );
  });
}

/** Throws where something is read that is not there, or anything is written. */
function strict<T extends object>(target: T): T {
  const refuse = (_: T, key: string | symbol): never => assert.fail(`${String(key)} was changed`);
  return new Proxy(target, {
    get: (_, key) => (key in target ? (target[key as keyof T] as unknown) : assert.fail(`${String(key)} was read`)),
    set: refuse,
    deleteProperty: refuse,
    defineProperty: refuse,
  });
}

/** Neither time nor chance can be had. */
function withoutSurroundings<T>(call: () => T): T {
  const kept = [Date.now, Math.random, performance.now] as const;
  const refuse = (): never => assert.fail("time or chance was asked for");
  [Date.now, Math.random, performance.now] = [refuse, refuse, refuse];
  try {
    return call();
  } finally {
    [Date.now, Math.random, performance.now] = kept;
  }
}
