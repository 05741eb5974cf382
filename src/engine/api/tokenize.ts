// POST /tokenize and /detokenize: the tokenizer over HTTP. Routes; they must agree with what the generating routes count.

import type { EngineApp } from "./app.ts";
import { readMessage, renderOrRefuse, templateArguments, toolText } from "./chat-request.ts";
import type { Exchange } from "./exchange.ts";
import { readModel } from "./pooling.ts";
import { FieldReader } from "./validation.ts";
import type { JsonObject } from "./validation.ts";

export function tokenizeRoute(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  const isChat = body["messages"] !== undefined;
  if (!isChat) reader.require("prompt");
  const prompt = reader.string("prompt") ?? "";
  const messages = reader.list("messages").map((message, at) => readMessage(reader, message, at));
  const addGenerationPrompt = reader.bool("add_generation_prompt", true);
  const continueFinalMessage = reader.bool("continue_final_message", false);
  const withStrings = reader.bool("return_token_strs", false);
  reader.check();
  readModel(app, reader);
  const { vocabulary } = app.options;
  const tokens = isChat
    ? renderOrRefuse(app, messages, {
        addGenerationPrompt,
        continueFinalMessage,
        ...toolText(body),
        ...templateArguments(body),
      }).tokens
    : vocabulary.encode(prompt);
  exchange.json(200, {
    count: tokens.length,
    max_model_len: app.core.maxModelLen,
    tokens,
    token_strs: withStrings ? tokens.map((id) => vocabulary.spell(id)) : null,
  });
}

export function detokenizeRoute(app: EngineApp, exchange: Exchange, body: JsonObject): void {
  const reader = new FieldReader(body);
  reader.require("tokens");
  const tokens = reader.list("tokens").map(Number);
  reader.check();
  readModel(app, reader);
  exchange.json(200, { prompt: app.options.vocabulary.decode(tokens) });
}
