// YAML or JSON text as data that still knows the line of each value, so that a message can name it. Pure.

import { LineCounter, isMap, isNode, isPair, isScalar, isSeq, parseDocument } from "yaml";

export type KeyPath = readonly (string | number)[];

export interface Located {
  readonly data: unknown;
  /** 1-based line of a key (in a map) or an entry (in a list); `undefined` if it is not there. */
  lineOf(path: KeyPath): number | undefined;
  /** What makes the text unreadable; `data` is `undefined` then. */
  readonly broken: { readonly line: number | undefined; readonly reason: string } | null;
}

export type FileFormat = "yaml" | "json";

export function parseLocated(text: string, format: FileFormat): Located {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const lineAt = (offset: number | undefined): number | undefined =>
    offset === undefined ? undefined : counter.linePos(offset).line;
  const none = { data: undefined, lineOf: () => undefined };

  // JSON is YAML too, and the YAML tree has the lines; only what is JSON must be decided by JSON's own rules.
  if (format === "json") {
    try {
      JSON.parse(text);
    } catch (error) {
      const offset = document.errors[0]?.pos[0];
      return { ...none, broken: { line: lineAt(offset), reason: `not JSON: ${oneLine(error)}` } };
    }
  }
  const [error] = document.errors;
  if (error !== undefined) {
    return {
      ...none,
      broken: { line: lineAt(error.pos[0]), reason: `not ${format.toUpperCase()}: ${oneLine(error)}` },
    };
  }
  return {
    data: document.toJS() as unknown,
    broken: null,
    lineOf: (path) => lineAt(offsetOf(document.contents, path)),
  };
}

function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replaceAll(/\s+/g, " ").trim();
}

function offsetOf(root: unknown, path: KeyPath): number | undefined {
  let node = root;
  let offset = isNode(root) ? root.range?.[0] : undefined;
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (!isPair(pair)) return offset;
      offset = isNode(pair.key) ? pair.key.range?.[0] : offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(key)];
      offset = isNode(node) ? node.range?.[0] : offset;
    } else {
      return offset;
    }
  }
  return offset;
}

/** `static_models.facebook/opt-125m.static_backends[0]` */
export function pathText(path: KeyPath): string {
  return path.map((key, i) => (typeof key === "number" ? `[${key}]` : i === 0 ? key : `.${key}`)).join("");
}
