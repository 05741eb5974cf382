// Where the simulator may differ from a real server, with reasons: data, and how an entry is looked up.
import { readFileSync } from "node:fs";
import type { Allowed } from "./table.ts";

export const allowedDifferences = JSON.parse(
  readFileSync(new URL("differences.json", import.meta.url), "utf8"),
) as readonly Allowed[];

/** Whether the entry speaks of this place in this case; a case that ends in `*` stands for all that begin so. */
export function covers(entry: Allowed, id: string, path: string): boolean {
  if (entry.path !== path) return false;
  return entry.case.endsWith("*") ? id.startsWith(entry.case.slice(0, -1)) : entry.case === id;
}
