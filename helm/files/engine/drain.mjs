// The same as drain.py, for the image of the simulator, which has Node and no Python.
import { setTimeout as sleep } from "node:timers/promises";

const [port, delay, limit] = process.argv.slice(-3);
await sleep(Number(delay) * 1000);
const end = Date.now() + Number(limit) * 1000;
let idle = 0;
let failed = 0;
while (Date.now() < end && idle < 2 && failed < 5) {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(5000) });
    const lines = (await answer.text()).match(/^vllm:num_requests_(?:running|waiting)[{ ].*$/gm) ?? [];
    const busy = lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    failed = 0;
    idle = busy === 0 ? idle + 1 : 0;
  } catch {
    failed += 1;
  }
  await sleep(500);
}
