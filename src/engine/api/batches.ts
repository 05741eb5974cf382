// Routes that take several questions at once: /v1/chat/completions/batch, /generative_scoring, and the checks of
// /v1/systemone, of which nothing else is recorded. On top of the generating parts; each must cost what its prompts cost.

import { Random, textHash } from "../core/index.ts";
import { randomHex } from "./app.ts";
import type { EngineApp } from "./app.ts";
import { chatBody } from "./chat.ts";
import { chatPrompt, readChatRequest, readMessage } from "./chat-request.ts";
import { badRequest, engineDead } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { checkQueue, Generation } from "./generation.ts";
import { compute, readModel, toPrompt } from "./pooling.ts";
import { FieldReader, isObject } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

/** One choice per conversation. */
export function chatBatch(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("messages");
  const conversations = reader.list("messages");
  reader.check();
  if (!conversations.every(Array.isArray)) throw badRequest("messages must be a list of conversations", "messages");
  const request = readChatRequest(app, exchange, { ...body, messages: conversations[0] ?? [] });
  const options = { addGenerationPrompt: true, continueFinalMessage: false };
  const prompts = conversations.map((messages) =>
    chatPrompt(
      app,
      messages.map((message: unknown, at: number) => readMessage(reader, message, at)),
      options,
    ),
  );
  checkQueue(app);
  const sink = {
    piece: (): void => undefined,
    done: (choices: Parameters<typeof chatBody>[2], failed: boolean): void =>
      failed ? exchange.fail(engineDead()) : exchange.json(200, withoutDetails(chatBody(app, request, choices))),
  };
  new Generation(app, prompts, { ...request.sampling, n: 1 }, sink, request.id).start(exchange);
}

/** The batch route never tells where tokens came from. */
function withoutDetails<T extends { readonly usage: object }>(body: T): T {
  return { ...body, usage: { ...body.usage, prompt_tokens_details: null } };
}

/** How likely the first label is after each item; made up, and stable for a query and an item. */
export function generativeScoring(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  for (const field of ["query", "items", "label_token_ids"]) reader.require(field);
  const query = reader.string("query") ?? "";
  const items = reader.list("items").map(String);
  const model = readModel(app, reader);
  reader.check();
  if (items.length === 0) throw badRequest("items must not be empty");
  const prompts = items.map((item) => toPrompt(app, `${query}${item}`));
  compute(app, exchange, model, prompts, () => {
    const tokens = prompts.reduce((sum, prompt) => sum + prompt.tokens.length, 0);
    exchange.json(200, {
      id: `generative-scoring-${randomHex(16)}`,
      object: "list",
      created: app.createdSeconds(),
      model,
      data: items.map((item, index) => {
        const score = new Random(textHash(`${query}\n${item}`)).unit();
        return { index, object: "score", score };
      }),
      usage: {
        prompt_tokens: tokens,
        total_tokens: tokens + items.length,
        completion_tokens: items.length,
        prompt_tokens_details: null,
        completion_tokens_details: null,
      },
    });
  });
}

/** Only its refusal is recorded. */
export function systemOne(_app: EngineApp, _exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("state");
  reader.require("questions");
  reader.check();
  if (!isObject(body["state"])) throw badRequest("state must be an object", "state");
  throw badRequest("The simulator does not answer this route.");
}
