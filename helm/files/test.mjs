// `helm test`: asks the router for its models and the first of them for a completion. Arguments: router's URL, seconds.
import { setTimeout as sleep } from "node:timers/promises";

const [url, seconds] = process.argv.slice(-2);
const key = process.env.LMSTACK_TEST_KEY;
const headers = { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
const end = Date.now() + Number(seconds) * 1000;

async function ask(path, body) {
  const answer = await fetch(`${url}${path}`, {
    headers,
    signal: AbortSignal.timeout(Math.max(1000, end - Date.now())),
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text.slice(0, 300)}`);
  return JSON.parse(text);
}

for (;;) {
  try {
    const models = (await ask("/v1/models")).data.map(({ id }) => id);
    if (models.length === 0) throw new Error("/v1/models: no model is served yet");
    const { choices } = await ask("/v1/completions", { model: models[0], prompt: "Say hello: ", max_tokens: 5 });
    process.stdout.write(`models: ${models.join(", ")}\n`);
    process.stdout.write(`${models[0]} answers: ${JSON.stringify(choices[0].text)}\n`);
    break;
  } catch (error) {
    if (Date.now() > end) {
      process.stderr.write(`${url}: ${error.message}${error.cause ? ` (${error.cause.message})` : ""}\n`);
      process.exitCode = 1;
      break;
    }
    await sleep(1000);
  }
}
