// Turns token ids into text one by one, holding back bytes until they are a whole character, as vLLM's incremental
// detokenizer does. Pure; one per choice.

import { isSpecial, tokenText } from "./tokenizer.ts";

/** Bytes of the UTF-8 character that begins with this byte; 1 for a byte that can begin none. */
function characterLength(first: number): number {
  if (first >= 0xf0 && first < 0xf8) return 4;
  if (first >= 0xe0) return first < 0xf0 ? 3 : 1;
  return first >= 0xc2 ? 2 : 1;
}

export class PieceDecoder {
  #bytes: number[] = [];

  /** Text that is complete with this token; empty for special tokens and for a part of a character. */
  push(id: number): string {
    if (id >= 256) return this.#flush() + (isSpecial(id) ? "" : tokenText(id));
    if (id < 0x80) return this.#flush() + tokenText(id);
    this.#bytes.push(id);
    const first = this.#bytes[0] ?? 0;
    return this.#bytes.length >= characterLength(first) ? this.#flush() : "";
  }

  #flush(): string {
    if (this.#bytes.length === 0) return "";
    const text = Buffer.from(this.#bytes).toString("utf8");
    this.#bytes = [];
    return text;
  }
}
