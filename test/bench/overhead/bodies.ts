// The prompts that are sent: a chat request of an exact size, shaped as SDKs send it (model first, then a long text with
// the escapes that real prompts have), so that a router which looks for `model` or walks the body meets real JSON.

const SENTENCES = [
  "The harbour master wrote that the tide would turn at six, and nobody believed him. ",
  'She said: "Bring the second ledger, the one with the torn cover, and leave the lamp." ',
  "def total(rows):\n    return sum(row['amount'] for row in rows)\n",
  "Item 14: pumps, 3 units; item 15: valves, 12 units; item 16: none in stock.\n",
] as const;

/** The body of a chat request that is exactly `bytes` long (at least 120). */
export function chatBody(bytes: number, model = "bench"): string {
  const shape = (content: string): string =>
    JSON.stringify({ model, messages: [{ role: "user", content }], max_tokens: 64, temperature: 0.7, stream: false });
  let content = "";
  let size = shape("").length;
  for (let i = 0; ; i++) {
    const sentence = SENTENCES[i % SENTENCES.length] ?? "";
    const escaped = JSON.stringify(sentence).length - 2;
    if (size + escaped > bytes) break;
    content += sentence;
    size += escaped;
  }
  return shape(content + "x".repeat(Math.max(0, bytes - size)));
}
