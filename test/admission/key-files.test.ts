// What SECURITY.md says of keys in memory. The bug behind it: the text of a key file was kept, to see whether it changes.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { getHeapSnapshot } from "node:v8";
import { Keys } from "../../src/admission/key-files.ts";
import { ManualClock } from "../../src/clock.ts";
import { temporaryFile } from "../helpers/files.ts";

test("a heap dump does not hold the keys of clients, only what proves them", async (t) => {
  const path = temporaryFile(t, "keys", "");
  // never a string here: it would be found, too
  const secret = Buffer.from(Array.from({ length: 24 }, () => 0x61 + randomInt(26)));
  writeFileSync(path, Buffer.concat([secret, Buffer.from("\n")]));
  const keys = new Keys({ client: path, admin: null, engine: null }, new ManualClock(), () => undefined);
  t.after(() => keys.close());
  // JavaScript keeps the last text that a pattern was tried on
  assert.match("something else", /else/);
  const pieces: Buffer[] = [];
  for await (const piece of getHeapSnapshot()) pieces.push(Buffer.from(piece as Buffer));
  assert.equal(Buffer.concat(pieces).indexOf(secret), -1);
  assert.equal(keys.client?.has(secret.toString()), true);
});
