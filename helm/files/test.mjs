// `helm test`: every model of the release is listed by the router, and those that should have an engine answer. Arguments:
// router's URL, seconds, JSON of the models: `[{"model": "m", "asked": true}]`. Without models of its own the first one that the
// router lists is asked.
import { setTimeout as sleep } from "node:timers/promises";

const [url, seconds, json] = process.argv.slice(-3);
const expected = JSON.parse(json);
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

const told = new Map();

async function look() {
  const listed = (await ask("/v1/models")).data.map(({ id }) => id);
  const models = expected.length > 0 ? expected : listed.slice(0, 1).map((model) => ({ model, asked: true }));
  if (models.length === 0) throw new Error("/v1/models: no model is served yet");
  const missing = models.filter(({ model }) => !listed.includes(model)).map(({ model }) => model);
  if (missing.length > 0) throw new Error(`/v1/models: ${missing.join(", ")} not served yet`);
  for (const { model, asked } of models) {
    if (told.has(model)) continue;
    if (asked) {
      const { choices } = await ask("/v1/completions", { model, prompt: "Say hello: ", max_tokens: 5 });
      told.set(model, `${model} answers: ${JSON.stringify(choices[0].text)}`);
    } else told.set(model, `${model} is listed`);
  }
  process.stdout.write(`models: ${listed.join(", ")}\n${[...told.values()].join("\n")}\n`);
}

for (;;) {
  try {
    await look();
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
