// Tool calls and structured output: which function an answer must call, with which arguments, and how vLLM words it.
// Beside the chat route; pure. Under `auto` only a script calls: a model of random words has no reason to.

import { Random, textHash } from "../core/index.ts";
import { sampleSchema } from "../text/schema-sample.ts";
import { randomHex } from "./app.ts";
import { badParameter, badRequest } from "./errors.ts";
import { isObject } from "./validation.ts";
import type { ScriptLine } from "../options.ts";
import type { FieldReader, JsonObject } from "./validation.ts";

export interface ForcedTool {
  readonly id: string;
  readonly name: string;
  /** JSON text that is valid for the function's parameters. */
  readonly arguments: string;
  /** A named call ends with `stop`, a required one with `tool_calls`; so it was recorded. */
  readonly finishReason: "stop" | "tool_calls";
}

/** The call that `tool_choice` forces, or null. Throws vLLM's errors for a choice that cannot be met. */
export function forcedTool(body: JsonObject, seed: number): ForcedTool | null {
  const choice = body["tool_choice"];
  if (choice === undefined || choice === null || choice === "none" || choice === "auto") return null;
  const tools: readonly unknown[] = Array.isArray(body["tools"]) ? body["tools"] : [];
  if (tools.length === 0) throw badParameter("When using `tool_choice`, `tools` must be set.", "tool_choice");
  const functions = tools.map((tool) => (isObject(tool) && isObject(tool["function"]) ? tool["function"] : {}));
  const wanted = isObject(choice) && isObject(choice["function"]) ? choice["function"]["name"] : undefined;
  const found = isObject(choice) ? functions.find((entry) => entry["name"] === wanted) : functions[0];
  if (found === undefined) {
    throw badParameter(
      "The tool specified in `tool_choice` does not match any of the specified `tools`",
      "tool_choice",
    );
  }
  const name = String(found["name"]);
  return {
    id: `chatcmpl-tool-${randomHex(16)}`,
    name,
    arguments: JSON.stringify(sampleSchema(found["parameters"], new Random(seed + textHash(name)))),
    finishReason: isObject(choice) ? "stop" : "tool_calls",
  };
}

/** The answer that `response_format` asks for, as JSON text; null when words will do. */
export function structuredAnswer(body: JsonObject, seed: number): string | null {
  const format = body["response_format"];
  if (!isObject(format)) return null;
  checkGrammar(format);
  const random = new Random(seed + 1);
  if (format["type"] === "json_object") return JSON.stringify({ answer: sampleSchema({ type: "string" }, random) });
  if (format["type"] !== "json_schema" || !isObject(format["json_schema"])) return null;
  return JSON.stringify(sampleSchema(format["json_schema"]["schema"], random));
}

const jsonTypes = ["string", "number", "integer", "boolean", "null", "array", "object"];

function checkGrammar(format: JsonObject): void {
  const schema = isObject(format["json_schema"]) ? format["json_schema"]["schema"] : undefined;
  const type = isObject(schema) ? schema["type"] : undefined;
  if (typeof type === "string" && !jsonTypes.includes(type)) throw badRequest(`Grammar error: Invalid type: ${type}`);
}

/** Records what pydantic says about a `response_format` of an unknown type: why none of the forms fits. */
export function checkResponseFormat(reader: FieldReader): void {
  const format = reader.body["response_format"];
  if (!isObject(format)) return;
  const { type } = format;
  if (type === "text" || type === "json_object" || type === "json_schema" || type === "structural_tag") return;
  const literal = (expected: string): void =>
    reader.issue(
      "response_format.type",
      "literal_error",
      `Input should be ${expected}`,
      type,
      `, 'ctx': {'expected': "${expected}"}`,
    );
  const missing = (field: string): void =>
    reader.issue(`response_format.${field}`, "missing", "Field required", format);
  literal("'text', 'json_object' or 'json_schema'");
  literal("'structural_tag'");
  missing("format");
  literal("'structural_tag'");
  missing("structures");
  missing("triggers");
}

/** The call that a script makes for this prompt, if the request offers the function. */
export function scriptedTool(body: JsonObject, script: readonly ScriptLine[], prompt: string): ForcedTool | null {
  const line = script.find(({ pattern }) => pattern.test(prompt));
  if (line === undefined || line.tool === null) return null;
  const tools: readonly unknown[] = Array.isArray(body["tools"]) ? body["tools"] : [];
  const offered = tools.some(
    (tool) => isObject(tool) && isObject(tool["function"]) && tool["function"]["name"] === line.tool,
  );
  if (!offered) return null;
  const id = `chatcmpl-tool-${randomHex(16)}`;
  return { id, name: line.tool, arguments: line.answer, finishReason: "tool_calls" };
}

export function toolCall(tool: ForcedTool, text: string): object {
  return { id: tool.id, type: "function", function: { name: tool.name, arguments: text } };
}

export function nameDelta(tool: ForcedTool): object {
  return { content: null, tool_calls: [{ id: tool.id, type: "function", index: 0, function: { name: tool.name } }] };
}

export function argumentsDelta(text: string): object {
  return { content: null, tool_calls: [{ index: 0, function: { arguments: text } }] };
}
