// Renders chat messages into the prompt of a ChatML model. Between the chat-like routes and the tokenizer; pure. It must
// give equal prefixes for equal leading messages, or prefix caching could not be tested.

import type { Vocabulary } from "./vocabulary.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface RenderOptions {
  readonly addGenerationPrompt: boolean;
  readonly continueFinalMessage: boolean;
  /** Tool definitions, serialised; they stand before all messages. */
  readonly tools?: string;
}

export interface RenderedPrompt {
  readonly tokens: number[];
  readonly text: string;
}

export function renderChat(
  messages: readonly ChatMessage[],
  options: RenderOptions,
  vocabulary: Vocabulary,
): RenderedPrompt {
  const tokens: number[] = [];
  let text = "";
  const add = (part: string): void => {
    text += part;
    for (const id of vocabulary.encode(part, true)) tokens.push(id);
  };
  const open = (role: string): void => {
    if (vocabulary.messageStart !== null) tokens.push(vocabulary.messageStart);
    text += "<|im_start|>";
    add(`${role}\n`);
  };
  const close = (): void => {
    tokens.push(vocabulary.endOfSequence);
    text += "<|im_end|>";
    add("\n");
  };
  if (options.tools !== undefined) {
    open("system");
    add(options.tools);
    close();
  }
  messages.forEach((message, at) => {
    open(message.role);
    add(message.content);
    if (!(options.continueFinalMessage && at === messages.length - 1)) close();
  });
  if (options.addGenerationPrompt && !options.continueFinalMessage) open("assistant");
  return { tokens, text };
}
