// What a log must never hold, whatever happens to a request: keys, prompts, answers. Through the program itself, with all that
// it can say.
import assert from "node:assert/strict";
import { test } from "node:test";
import { start } from "../commands/process.ts";
import { temporaryFile } from "../helpers/files.ts";
import { post } from "../helpers/http-client.ts";
import { jsonAnswer, startRawEngine, type RawHandler } from "../helpers/raw-engine.ts";

const key = "sk-client-0123456789";
const engineKey = "sk-engine-9876543210";
const prompt = "my mother's maiden name is Smith";
const answer = "nobody else may read this";

/** Engines that fail tell what they were sent. */
const echo =
  (status: number): RawHandler =>
  (request) =>
    request.connection.write(
      jsonAnswer(
        {
          error: {
            message: `can't take ${request.body.toString()} with ${request.header("authorization")}`,
            code: status,
          },
        },
        status,
      ),
    );

for (const format of ["json", "text"]) {
  test(`keys, prompts and answers are never logged, as ${format}`, async (t) => {
    const engine = await startRawEngine(t);
    const flags = "--host 127.0.0.1 --port 0 --log-level trace --log-routing-line --drain-delay-seconds 0";
    const stats = "--log-stats --log-stats-interval 0.1";
    const keys = temporaryFile(t, "keys", `${key}\n`);
    const engineKeys = temporaryFile(t, "engine-key", `${engineKey}\n`);
    const command = start(
      t,
      `router ${flags} ${stats} --log-format ${format} --static-backends ${engine.url} --api-key-file ${keys} --engine-api-key-file ${engineKeys}`.split(
        " ",
      ),
    );
    const [, port] = await command.says(/listening on http:\/\/[^:"]+:(\d+)/);
    await command.says(/is ready and serves test-model/);
    const ask = async (bearer: string): Promise<number> => {
      const body = { model: "test-model", messages: [{ role: "user", content: prompt }], user: prompt };
      return (await post(Number(port), "/v1/chat/completions", body, [`authorization: Bearer ${bearer}`])).status;
    };
    engine.handler = (request) =>
      request.connection.write(
        jsonAnswer({ choices: [{ message: { content: answer } }], usage: { prompt_tokens: 1 } }),
      );
    assert.equal(await ask(key), 200);
    assert.equal(await ask("sk-wrong-key-0000"), 401);
    for (const status of [400, 429, 500, 502]) {
      engine.script(echo(status));
      assert.equal(await ask(key), status);
    }
    engine.script((request) => request.connection.write(`HTTP/1.1 200 ${prompt}\r\nbroken ${answer}\r\n\r\n`));
    assert.equal(await ask(key), 502);
    await command.says(format === "json" ? /"msg":"stats"/ : /Request Stats/);
    command.child.kill("SIGTERM");
    await command.exit();
    const said = command.out + command.err;
    assert.match(said, /engine_error/, "the failures were logged");
    for (const word of [key, engineKey, "sk-wrong", "maiden", "nobody else"]) {
      assert.ok(!said.includes(word), `${word} in ${said.split("\n").find((line) => line.includes(word))}`);
    }
  });
}
