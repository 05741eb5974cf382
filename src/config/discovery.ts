// Where endpoints come from, from what was said by flags or in the dynamic file: the same for both. Pure.

import type { DiscoveryConfig } from "./types.ts";

export interface DiscoveryValues {
  readonly names: readonly string[];
  readonly namespaces: readonly string[];
  readonly labelSelector: string;
  readonly enginePort: number;
}

export type ReportDiscovery = (
  field: "names" | "namespaces",
  value: string | null,
  reason: string,
  fix: string,
) => void;

export function readDiscovery(
  kind: DiscoveryConfig["kind"],
  { names, namespaces, labelSelector, enginePort }: DiscoveryValues,
  report: ReportDiscovery,
): DiscoveryConfig {
  switch (kind) {
    case "static":
      return { kind };
    case "dns": {
      if (names.length === 0) report("names", null, "needed to find engines by DNS", "give at least one name");
      for (const name of names) {
        const port = /^(?!_).*:(\d+)$/.exec(name)?.[1];
        if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) {
          report("names", name, "the port is out of range", "give one from 1 to 65535");
        }
      }
      return { kind, names: [...new Set(names)] };
    }
    case "k8s": {
      if (namespaces.length === 0) report("namespaces", null, "empty", "name one, or * for all");
      if (namespaces.length > 1 && namespaces.includes("*")) {
        report("namespaces", namespaces.join(","), "all namespaces, and then some", "give either * or names");
      }
      return { kind, namespaces: [...new Set(namespaces)], labelSelector, enginePort };
    }
  }
}
