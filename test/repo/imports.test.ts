// The rules of the architecture, read from the sources: see ARCHITECTURE.md for what they are good for.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { importsOf, sourceFiles, sourceText, withoutComments, type Import } from "./imports.ts";
import { exceptions, pureModules, pureRooms, roomOf, rooms } from "./rooms.ts";

const files = sourceFiles();
const imports = files.flatMap(importsOf);

function told(edges: readonly Import[]): string[] {
  return edges.map(({ from, to, typeOnly }) => `${from} imports ${typeOnly ? "types of " : ""}${to}`);
}

describe("rooms", () => {
  test("every file of src is in a room with rules", () => {
    assert.deepEqual(
      [...new Set(files.map(roomOf))].filter((room) => !(room in rooms)),
      [],
    );
  });

  test("a room imports only the rooms that it may, types where only types are allowed", () => {
    const wrong = imports.filter(({ from, to, kind, typeOnly }) => {
      const [own, other] = [roomOf(from), roomOf(to)];
      if (kind !== "room" || own === other) return false;
      const edge = rooms[own]?.[other];
      return edge === undefined || (edge.allow === "types" && !typeOnly);
    });
    assert.deepEqual(told(wrong), []);
  });

  test("every import of a room names a file that exists", () => {
    const known = new Set(files);
    assert.deepEqual(
      told(imports.filter(({ to, kind }) => kind === "room" && to.endsWith(".ts") && !known.has(to))),
      [],
    );
  });

  test("the engine knows nothing of the router, and the router nothing of the engine", () => {
    const router = ["http", "api", "admission", "cache", "routing", "fleet", "proxy", "observe", "config", "console"];
    const engines = ["engine", "engine/core", "engine/text"];
    const crossing = imports.filter(({ from, to, kind }) => {
      const [own, other] = [roomOf(from), roomOf(to)];
      return (
        kind === "room" &&
        ((engines.includes(own) && router.includes(other)) || (router.includes(own) && engines.includes(other)))
      );
    });
    assert.deepEqual(told(crossing), []);
  });

  test("only proxy knows all the others: no room below it imports it", () => {
    const above = new Set(["proxy", "commands"]);
    assert.deepEqual(told(imports.filter(({ from, to }) => roomOf(to) === "proxy" && !above.has(roomOf(from)))), []);
  });

  test("rooms that the lab runs do no I/O and load no package", () => {
    const wrong = imports.filter(
      ({ from, to, kind, typeOnly }) =>
        pureRooms.includes(roomOf(from)) && kind !== "room" && !typeOnly && !pureModules.includes(to),
    );
    assert.deepEqual(told(wrong), []);
  });

  test("no allowed edge is without use, but for the rooms that are still to come", () => {
    const present = new Set(files.map(roomOf));
    const used = new Set(
      imports.filter(({ kind }) => kind === "room").map(({ from, to }) => `${roomOf(from)} -> ${roomOf(to)}`),
    );
    const unused = Object.entries(rooms).flatMap(([own, edges]) =>
      Object.keys(edges)
        .filter((other) => present.has(other) && !used.has(`${own} -> ${other}`))
        .map((other) => `${own} -> ${other}`),
    );
    assert.deepEqual(unused, []);
  });
});

describe("what belongs to one place", () => {
  const uses = {
    environment: /\bprocess\.env\b/,
    time: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bhrtime\b/,
    timers: /\bset(?:Timeout|Interval|Immediate)\b|"node:timers/,
    randomness: /\bMath\.random\b/,
    systemClock: /\bsystemClock\b/,
  };
  const sentences = {
    environment: "only config is handed the environment",
    time: "only clock reads the machine's time",
    timers: "only clock sets timers",
    randomness: "randomness is handed in",
    systemClock: "the machine's clock enters in commands",
  };

  for (const what of Object.keys(uses) as (keyof typeof uses)[]) {
    test(sentences[what], () => {
      const found = files.filter((file) => uses[what].test(withoutComments(sourceText(file))));
      const listed = exceptions.filter((exception) => exception.what === what).map(({ file }) => file);
      assert.deepEqual(found, listed.toSorted());
    });
  }
});
