// What pydantic says about a chat message without a role or without content: it tries every kind of message and lists
// why none fits. Beside the chat request; pure. Copied from recordings, ten issues shown and the rest counted.

import type { FieldReader } from "./validation.ts";

type Part = readonly [kind: string, field: string];

const missingRole: readonly Part[] = [
  ["ChatCompletionDeveloperMessageParam", "role"],
  ["ChatCompletionSystemMessageParam", "role"],
  ["ChatCompletionUserMessageParam", "role"],
  ["ChatCompletionAssistantMessageParam", "role"],
  ["ChatCompletionToolMessageParam", "role"],
  ["ChatCompletionToolMessageParam", "tool_call_id"],
  ["ChatCompletionFunctionMessageParam", "name"],
  ["ChatCompletionFunctionMessageParam", "role"],
  ["CustomChatCompletionMessageParam", "role"],
  ["Message", "author"],
  ["Message", "role"],
];

export function reportMissingRole(reader: FieldReader, at: number, message: unknown): void {
  for (const [kind, field] of missingRole) {
    reader.issue(`messages.${at}.${kind}.${field}`, "missing", "Field required", message);
  }
}

/** Content that is neither text nor a list, of a message whose role is `role`. */
export function reportWrongContent(reader: FieldReader, at: number, role: string, content: unknown): void {
  const place = (kind: string, field: string): string => `messages.${at}.ChatCompletion${kind}MessageParam.${field}`;
  const contents = (kind: string): void => {
    reader.issue(place(kind, "content"), "string_type", "Input should be a valid string", content);
    reader.issue(place(kind, "content"), "iterable_type", "Input should be iterable", content);
  };
  const wrongRole = (kind: string, wanted: string): void => {
    if (role === wanted) return;
    const expected = `'${wanted}'`;
    reader.issue(
      place(kind, "role"),
      "literal_error",
      `Input should be ${expected}`,
      role,
      `, 'ctx': {'expected': "${expected}"}`,
    );
  };
  contents("Developer");
  wrongRole("Developer", "developer");
  contents("System");
  wrongRole("System", "system");
  contents("User");
  wrongRole("User", "user");
  wrongRole("Assistant", "assistant");
  contents("Tool");
  // Never shown, since ten are; they only count.
  for (let more = 0; more < 8; more++) reader.issue(place("Tool", "role"), "literal_error", "", role);
}
