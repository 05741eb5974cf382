// What `lmstack check config` says of a file: which kind it is, a summary, or all that is wrong. Pure but for the files
// that an options file names.

import { optionOf, isOptionName } from "./catalogue/index.ts";
import { readConfigText } from "./config-file.ts";
import { dynamicKeys, inspectDynamicFile } from "./dynamic-file.ts";
import { readText, type Files } from "./files.ts";
import { parseLocated, type FileFormat } from "./located.ts";
import { count, formatProblem, type Problem } from "./problem.ts";
import { resolve } from "./resolve.ts";
import { buildRouterConfig } from "./router-config.ts";

export interface FileReport {
  readonly ok: boolean;
  /** One finding a line; the last line is the verdict. */
  readonly lines: readonly string[];
}

export function checkConfigFile(path: string, files: Files): FileReport {
  const result = readText(files, path);
  if (!("text" in result)) {
    const problem = {
      origin: { name: path },
      value: null,
      reason: result.reason,
      fix: "give the path of a readable file",
    };
    return report(path, [problem], [], "");
  }
  const format: FileFormat = path.toLowerCase().endsWith(".json") ? "json" : "yaml";
  return isDynamic(result.text, format)
    ? checkDynamic(path, result.text, format)
    : checkOptions(path, result.text, files);
}

/**
 * Both files share keys such as `static_backends`. One that names the dynamic file's two required keys as it spells them
 * (underscores) and nothing that only an options file may hold, is dynamic; so is one with a map of models.
 */
function isDynamic(text: string, format: FileFormat): boolean {
  const { data } = parseLocated(text, format);
  if (typeof data !== "object" || data === null || Array.isArray(data)) return false;
  const keys = Object.keys(data);
  const models: unknown = Object.entries(data).find(([key]) => key === "static_models")?.[1];
  if (typeof models === "object" && models !== null && !Array.isArray(models)) return true;
  const onlyOptions = keys.some((key) => !Object.hasOwn(dynamicKeys, key) && isOptionName(key.replaceAll("_", "-")));
  return !onlyOptions && (keys.includes("routing_logic") || keys.includes("service_discovery"));
}

function checkDynamic(path: string, text: string, format: FileFormat): FileReport {
  const { config, problems, warnings } = inspectDynamicFile(text, format, path);
  const models = new Set(config?.endpoints.flatMap(({ models: names }) => names ?? []));
  const summary =
    config === null
      ? ""
      : `dynamic configuration: ${count(config.endpoints.length, "engine")}, ${count(models.size, "model")} named, ` +
        `${count(config.aliases.size, "alias", "aliases")}, policy ${config.policy}`;
  return report(
    path,
    problems,
    warnings.map((warning) => `${path}: ${warning}`),
    summary,
  );
}

function checkOptions(path: string, text: string, files: Files): FileReport {
  const layer = readConfigText("router", path, text);
  const resolved = resolve("router", [layer]);
  const built = buildRouterConfig(resolved, files, { partial: true });
  const names = [...resolved.origins.keys()].filter((name) => optionOf(name).state === "works");
  const summary = `options of lmstack router: ${count(names.length, "option")} set${names.length === 0 ? "" : ` (${names.join(", ")})`}`;
  return report(path, [...resolved.problems, ...built.problems], [...resolved.warnings, ...built.warnings], summary);
}

function report(path: string, problems: readonly Problem[], warnings: readonly string[], summary: string): FileReport {
  const inOrder = [...problems].sort((a, b) => (a.origin.line ?? 0) - (b.origin.line ?? 0)).map(formatProblem);
  // One wrong type of a model with ten engines is one problem.
  const distinct = [...new Set(inOrder)];
  const lines = [...distinct, ...warnings.map((warning) => `warning: ${warning}`)];
  lines.push(problems.length === 0 ? `OK: ${path}: ${summary}` : `${path}: ${count(distinct.length, "problem")}`);
  return { ok: problems.length === 0, lines };
}
