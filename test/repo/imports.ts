// Reads the sources as text: who imports whom, and who uses what only one room may use. Regular expressions are enough,
// since the formatter gives imports one shape.
import { globSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Import {
  /** Importing file below `src/`. */
  readonly from: string;
  /** Imported file below `src/`, or the package. */
  readonly to: string;
  readonly kind: "room" | "node" | "package";
  readonly typeOnly: boolean;
}

/** Files of the sources, relative to `src/`. */
export function sourceFiles(): string[] {
  return globSync("**/*.ts", { cwd: join(root, "src") })
    .map((path) => path.replaceAll("\\", "/"))
    .toSorted();
}

export function sourceText(file: string): string {
  return readFileSync(join(root, "src", file), "utf8");
}

/** The text without comments, so that a rule may be explained where it holds. */
export function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|[\s;{}(),])\/\/.*$/gm, "$1");
}

const statement = /\b(?:import|export)\s+(?<type>type\s+)?(?<names>[^"';]*?\bfrom\s*)?"(?<path>[^"]+)"/g;
const dynamicImport = /\bimport\(\s*"(?<path>[^"]+)"\s*\)/g;

/** `{ type A, type B }` brings nothing at run time (`verbatimModuleSyntax` keeps the import, and its side effects). */
function onlyTypes(names: string): boolean {
  const list = /\{([^}]*)\}/.exec(names)?.[1];
  if (list === undefined) return false;
  const parts = list.split(",").map((part) => part.trim());
  return parts.every((part) => part === "" || part.startsWith("type "));
}

export function importsOf(file: string): Import[] {
  const text = withoutComments(sourceText(file));
  const found: Import[] = [];
  const add = (path: string, typeOnly: boolean): void => {
    if (path.startsWith(".")) found.push({ from: file, to: posix.join(dirname(file), path), kind: "room", typeOnly });
    else found.push({ from: file, to: path, kind: path.startsWith("node:") ? "node" : "package", typeOnly });
  };
  for (const { groups } of text.matchAll(statement)) {
    add(groups?.["path"] ?? "", groups?.["type"] !== undefined || onlyTypes(groups?.["names"] ?? ""));
  }
  for (const { groups } of text.matchAll(dynamicImport)) add(groups?.["path"] ?? "", false);
  return found;
}
