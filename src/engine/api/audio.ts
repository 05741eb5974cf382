// POST /v1/audio/transcriptions and /translations: a multipart upload in, a made-up text out. Unrecorded, built from
// vLLM's documentation. It must read any file without decoding it: the same bytes give the same words.

import { createHash } from "node:crypto";
import { endOfTextId } from "../text/tokenizer.ts";
import type { EngineApp } from "./app.ts";
import { badRequest, engineDead, unknownModel } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { checkQueue, Generation } from "./generation.ts";
import type { Choice } from "./generation.ts";
import { validationError } from "./validation.ts";
import { readSampling } from "./sampling.ts";
import { FieldReader } from "./validation.ts";

/** Bytes of upload that cost one prompt token; about 50 ms of 16 kHz audio. */
const bytesPerToken = 1600;

export function transcriptions(app: EngineApp, exchange: Exchange): void {
  const parts = readMultipart(exchange.header("content-type") ?? "", exchange.body);
  const file = parts.get("file");
  if (file === undefined) {
    throw validationError(
      [`{'type': 'missing', 'loc': 'body.file', 'msg': 'Field required', 'input': 'None'}`],
      "body.file",
    );
  }
  const field = (name: string): string | null => parts.get(name)?.toString("utf8") ?? null;
  const model = field("model") ?? app.model;
  if (model !== "" && !app.serves(model)) throw unknownModel(model, app.options.models);
  const format = field("response_format") ?? "json";
  const rules = { maxTokenFields: ["max_completion_tokens"], defaultMaxTokens: 256, maxModelLen: app.core.maxModelLen };
  const sampling = readSampling(new FieldReader({ model }), rules, app);
  const length = Math.max(1, Math.min(Math.ceil(file.length / bytesPerToken), Math.floor(app.core.maxModelLen / 2)));
  const hash = createHash("sha256").update(file).digest();
  // The digest in front keeps two uploads of one length from sharing a prefix.
  const tokens = Array.from({ length }, (_, at) => (at < 16 ? 256 + (hash[at] ?? 0) : endOfTextId));
  checkQueue(app);
  const sink = {
    piece: (): void => undefined,
    done: (choices: readonly Choice[], failed: boolean): void => {
      const text = choices[0]?.scanner.text ?? "";
      if (failed) exchange.fail(engineDead());
      else if (format === "text") exchange.send(200, "text/plain; charset=utf-8", text);
      else exchange.json(200, { text, usage: { type: "duration", seconds: Math.ceil(file.length / 32_000) } });
    },
  };
  const prompt = { tokens, text: hash.toString("hex") };
  const limit = Math.min(256, 8 + length);
  new Generation(app, [prompt], { ...sampling, maxTokens: limit }, sink).start(exchange);
}

/** The parts of a multipart/form-data body by name; a later part of the same name wins. */
function readMultipart(contentType: string, body: Buffer): Map<string, Buffer> {
  const boundary = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  if (!/^multipart\/form-data/i.test(contentType) || boundary === null) {
    throw badRequest("There was an error parsing the body");
  }
  const mark = Buffer.from(`--${boundary[1] ?? boundary[2] ?? ""}`);
  const parts = new Map<string, Buffer>();
  let at = body.indexOf(mark);
  while (at >= 0) {
    const start = at + mark.length;
    const next = body.indexOf(mark, start);
    if (next < 0) break;
    const headEnd = body.indexOf("\r\n\r\n", start);
    if (headEnd >= 0 && headEnd < next) {
      const name = /name="([^"]*)"/i.exec(body.toString("latin1", start, headEnd));
      if (name?.[1] !== undefined) parts.set(name[1], body.subarray(headEnd + 4, next - 2));
    }
    at = next;
  }
  return parts;
}
