// Renders chat messages into a prompt: by the model's own template, else as ChatML. Between the chat-like routes and the tokenizer; pure. It must
// give equal prefixes for equal leading messages, or prefix caching could not be tested.

import type { ChatTemplate, Vocabulary } from "./vocabulary.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  /** The message as it came, for templates that know more of it than a text. */
  readonly source?: Readonly<Record<string, unknown>>;
}

export interface RenderOptions {
  readonly addGenerationPrompt: boolean;
  readonly continueFinalMessage: boolean;
  /** Tool definitions, serialised; they stand before all messages. */
  readonly tools?: string;
  /** `chat_template_kwargs`: what else the template may ask for. */
  readonly templateArguments?: Readonly<Record<string, unknown>>;
}

export interface RenderedPrompt {
  readonly tokens: number[];
  readonly text: string;
}

/** @throws Error what the model's template refuses */
export function renderChat(
  messages: readonly ChatMessage[],
  options: RenderOptions,
  vocabulary: Vocabulary,
): RenderedPrompt {
  const text = vocabulary.chatTemplate === null ? null : byTemplate(messages, options, vocabulary.chatTemplate);
  return text === null ? asChatMl(messages, options, vocabulary) : { tokens: vocabulary.encode(text, true), text };
}

function byTemplate(
  messages: readonly ChatMessage[],
  { addGenerationPrompt, continueFinalMessage, tools, templateArguments }: RenderOptions,
  template: ChatTemplate,
): string {
  const text = template.render({
    ...templateArguments,
    messages: messages.map(asTemplatesWant),
    tools: tools === undefined ? null : (JSON.parse(tools) as unknown),
    add_generation_prompt: addGenerationPrompt && !continueFinalMessage,
  });
  const last = messages.at(-1)?.content.trim() ?? "";
  const at = text.lastIndexOf(last);
  // as transformers does it: what follows the message that is to be continued is cut off
  return continueFinalMessage && at >= 0 ? text.slice(0, at + last.length) : text;
}

/** Calls apart from the text, and their arguments as objects, where the API has them as JSON. */
function asTemplatesWant({ role, content, source = {} }: ChatMessage): Readonly<Record<string, unknown>> {
  const calls = source["tool_calls"];
  if (!Array.isArray(calls)) return { ...source, role, content };
  const text = typeof source["content"] === "string" ? content : "";
  return { ...source, role, content: text, tool_calls: calls.map((call: unknown) => withParsedArguments(call)) };
}

function withParsedArguments(call: unknown): unknown {
  if (typeof call !== "object" || call === null || !("function" in call)) return call;
  const named: unknown = call.function;
  if (typeof named !== "object" || named === null || !("arguments" in named)) return call;
  if (typeof named.arguments !== "string") return call;
  try {
    return { ...call, function: { ...named, arguments: JSON.parse(named.arguments) as unknown } };
  } catch {
    return call;
  }
}

function asChatMl(messages: readonly ChatMessage[], options: RenderOptions, vocabulary: Vocabulary): RenderedPrompt {
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
