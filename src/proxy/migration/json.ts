// JSON that is taken apart and put together again without loss: what a request says in numbers that JavaScript can't hold
// exactly (a seed of 64 bits, `1.0`) stays as it was written.

export type Json = unknown;
export type JsonObject = Readonly<Record<string, Json>>;

/** Of ES2025, and of Node since 22; unknown to the library of types. */
const exact = JSON as unknown as {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
  rawJSON(text: string): unknown;
};

/**
 * An object whose numbers are written again as they came. Only for putting together: what is no exact number is an object that
 * has no use but `JSON.stringify`.
 * @throws SyntaxError
 */
export function parseForWriting(text: string): unknown {
  return exact.parse(text, (_, value, { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source ? exact.rawJSON(source) : value,
  );
}
