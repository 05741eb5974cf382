// The sixteen cases on our own router, as a process.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { conformanceCases } from "./cases.ts";
import { LmstackSubject } from "./lmstack.ts";
import { startEngines } from "./engines.ts";
import { Stand } from "./stand.ts";

const subject = new LmstackSubject();
let stand: Stand;

before(async () => {
  const engines = await startEngines([]);
  stand = new Stand(subject, engines);
  await subject.restart(stand.urls);
});

after(async () => {
  await subject.close();
  for (const engine of stand.engines) engine.kill();
});

for (const { id, title, run } of conformanceCases) {
  test(`${id}: ${title}`, async () => {
    await stand.calm();
    await run(stand);
  });
}

test("docs/conformance.md lists the cases", () => {
  const page = readFileSync(new URL("../../docs/conformance.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/^\| (H\d+) \| (.*) \|$/gm)].map(([, id, title]) => ({ id, title }));
  assert.deepEqual(
    listed,
    conformanceCases.map(({ id, title }) => ({ id, title })),
  );
});
