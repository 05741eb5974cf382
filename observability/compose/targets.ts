// Writes targets.json, from which Prometheus knows the engines of `lmstack up`: their ports are free ones, new at each start.
// Runs until it is stopped. `node targets.ts [ROUTER_URL]`
import { writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const router = process.argv[2] ?? "http://127.0.0.1:30080";
const file = new URL("targets.json", import.meta.url);
let written = "";

for (;;) {
  const engines = await fetch(`${router}/engines`)
    .then((response) => response.json() as Promise<{ readonly engine_id: string }[]>)
    .catch(() => null);
  const text = `${JSON.stringify([{ targets: (engines ?? []).map((engine) => engine.engine_id) }])}\n`;
  if (engines !== null && text !== written) {
    writeFileSync(file, text);
    written = text;
    process.stdout.write(text);
  }
  await delay(5_000);
}
