// From the command line to what a command is given: the front door of `config`. The environment and the arguments are
// handed in; files are read through `Files`. What a person did wrong becomes a `UsageError` of one line.

import { readFileSync } from "node:fs";

import { UsageError } from "../errors/usage-error.ts";
import { readArgv } from "./argv.ts";
import { readConfigText } from "./config-file.ts";
import { apiServer, readEnvironment } from "./environment.ts";
import { diskFiles, readText, type Files } from "./files.ts";
import { checkHelp, commandHelp, mainHelp, topHelp } from "./help.ts";
import type { Layer } from "./layer.ts";
import { nearest } from "./nearest.ts";
import { optionCommands, type OptionCommand } from "./option.ts";
import { throwFirst, type Problem } from "./problem.ts";
import { resolve, type Resolved } from "./resolve.ts";
import { buildRouterConfig, logLevels } from "./router-config.ts";
import { benchOptions, labOptions } from "./lab-options.ts";
import type { BenchOptions, EngineCommandOptions, LabOptions, RouterConfig, TopOptions, UpOptions } from "./types.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export type ParsedCommand =
  | { readonly command: "router"; readonly config: RouterConfig; readonly warnings: readonly string[] }
  | {
      readonly command: "up";
      readonly config: RouterConfig;
      readonly up: UpOptions;
      readonly warnings: readonly string[];
    }
  | {
      readonly command: "engine";
      readonly options: EngineCommandOptions;
      readonly logLevel: RouterConfig["log"]["level"];
      readonly warnings: readonly string[];
    }
  | { readonly command: "lab"; readonly options: LabOptions; readonly warnings: readonly string[] }
  | { readonly command: "bench"; readonly options: BenchOptions; readonly warnings: readonly string[] }
  | { readonly command: "compare"; readonly files: readonly string[] }
  | { readonly command: "check"; readonly target: "config"; readonly file: string }
  | { readonly command: "check"; readonly target: "stack"; readonly url: string; readonly keyFile: string | null }
  | { readonly command: "top"; readonly options: TopOptions }
  | { readonly command: "print"; readonly text: string };

const commandNames = ["up", "router", "engine", "lab", "bench", "check", "top", "help"] as const;

/**
 * Reads everything that a command is told.
 * @param argv arguments after `node cli.ts`
 * @throws UsageError one line: option, value, reason, way out
 */
export function parseCommand(argv: readonly string[], env: Environment, files: Files = diskFiles): ParsedCommand {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h") return print(mainHelp());
  if (name === "--version") return print(`${version()}\n`);
  if (name === "help") return parseHelp(rest);
  if (name === "check") return parseCheck(rest);
  if (name === "top") return parseTop(rest);
  if (name === "bench" && rest[0] === "--compare") return parseComparison(rest.slice(1));
  if (isOptionCommand(name)) return parseOptions(name, rest, env, files);
  const near = nearest(name, commandNames);
  const fix = near === null ? `commands are ${commandNames.join(", ")}` : `did you mean lmstack ${near}?`;
  throw mistake(`${name}: unknown command; ${fix}`);
}

/** The router's configuration alone: flags, environment and file, as `lmstack router` would read them. */
export function loadRouterConfig(
  argv: readonly string[],
  env: Environment,
  files: Files = diskFiles,
): { readonly config: RouterConfig; readonly warnings: readonly string[] } {
  const parsed = parseCommand(["router", ...argv], env, files);
  if (parsed.command !== "router")
    throw new UsageError("router: asked for its help, not for its configuration; leave --help out");
  return parsed;
}

function isOptionCommand(name: string): name is OptionCommand {
  return (optionCommands as readonly string[]).includes(name);
}

/** What was typed may hold line ends; the message is one line. */
function mistake(message: string): UsageError {
  return new UsageError(message.replaceAll(/\s+/g, " "));
}

function print(text: string): ParsedCommand {
  return { command: "print", text };
}

/** From package.json, which stands two folders up both in the sources and in the published package. */
export function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const manifest = JSON.parse(text) as { readonly version: string };
  return `lmstack ${manifest.version}`;
}

function parseHelp([name]: readonly string[]): ParsedCommand {
  if (name === undefined) return print(mainHelp());
  if (name === "check") return print(checkHelp());
  if (name === "top") return print(topHelp());
  if (isOptionCommand(name)) return print(commandHelp(name));
  throw mistake(`help ${name}: unknown command; commands are ${commandNames.join(", ")}`);
}

function parseCheck(argv: readonly string[]): ParsedCommand {
  if (argv.length === 0 || argv.includes("--help") || argv.includes("-h")) return print(checkHelp());
  const [target, file, extra] = argv;
  if (target !== undefined && /^https?:\/\//i.test(target)) return parseCheckStack(target, argv.slice(1));
  if (target !== "config")
    throw mistake(
      `check ${target}: unknown target; write lmstack check config FILE, or lmstack check http://HOST:PORT`,
    );
  if (file === undefined) throw new UsageError("check config: no file is given; write lmstack check config FILE");
  if (extra !== undefined) throw mistake(`check config ${extra}: one file at a time; write lmstack check config FILE`);
  return { command: "check", target, file };
}

function parseTop(argv: readonly string[]): ParsedCommand {
  if (argv.includes("--help") || argv.includes("-h")) return print(topHelp());
  let url: string | null = null;
  let keyFile: string | null = null;
  let once = false;
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at] ?? "";
    if (argument === "--once") once = true;
    else if (argument === "--key-file") {
      keyFile = argv[++at] ?? null;
      if (keyFile === null) throw mistake("top --key-file: no file is given; write --key-file FILE");
    } else if (argument.startsWith("-")) {
      throw mistake(`top ${argument}: unknown option; options are --key-file FILE and --once`);
    } else if (url === null) url = argument;
    else throw mistake(`top ${argument}: one URL at a time; write lmstack top URL`);
  }
  url ??= "http://localhost:30080";
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw mistake(`top ${url}: not a URL; write one as http://localhost:30080`);
  return { command: "top", options: { url, keyFile, once } };
}

function parseComparison(files: readonly string[]): ParsedCommand {
  if (files.length === 2 && files.every((file) => !file.startsWith("-"))) return { command: "compare", files };
  throw mistake(`bench --compare ${files.join(" ")}: two files are compared; write --compare A.json B.json`);
}

function parseCheckStack(url: string, argv: readonly string[]): ParsedCommand {
  if (!URL.canParse(url)) throw mistake(`check ${url}: not a URL; give a router's, as in http://localhost:30080`);
  const [flag, keyFile, extra] = argv;
  if (flag === undefined) return { command: "check", target: "stack", url, keyFile: null };
  if (flag !== "--admin-key-file" || keyFile === undefined || extra !== undefined)
    throw mistake(`check ${url} ${argv.join(" ")}: not understood; write lmstack check URL [--admin-key-file FILE]`);
  return { command: "check", target: "stack", url, keyFile };
}

function parseOptions(command: OptionCommand, argv: readonly string[], env: Environment, files: Files): ParsedCommand {
  const flags = readArgv(command, argv);
  if (flags.help) return print(commandHelp(command));
  if (flags.version) return print(`${version()}\n`);
  const environment = readEnvironment(command, env);
  const layers: Layer[] = [flags, environment];
  if (command === "router" || command === "up") layers.push(configLayer(command, [flags, environment], files));
  const resolved = resolve(command, layers);
  if (command === "engine") {
    throwFirst([...resolved.problems, ...portProblems(resolved)]);
    return {
      command,
      options: engineOptions(resolved),
      logLevel: logLevels[resolved.values["log-level"]],
      warnings: resolved.warnings,
    };
  }
  if (command === "lab") {
    const lab = labOptions(resolved);
    throwFirst([...resolved.problems, ...lab.problems]);
    return { command, options: lab.options, warnings: resolved.warnings };
  }
  if (command === "bench") {
    const bench = benchOptions(resolved);
    throwFirst([...resolved.problems, ...bench.problems]);
    return { command, options: bench.options, warnings: resolved.warnings };
  }
  const built = buildRouterConfig(resolved, files, { apiServer: apiServer(env) });
  throwFirst([...resolved.problems, ...built.problems]);
  const warnings = [...resolved.warnings, ...built.warnings];
  if (command === "router") return { command, config: built.config, warnings };
  return { command, config: built.config, up: upOptions(resolved), warnings };
}

/** The layer of the file that `--config` names, wherever that was said. */
function configLayer(command: OptionCommand, stronger: readonly Layer[], files: Files): Layer {
  const empty: Layer = { settings: new Map(), problems: [], warnings: [] };
  const setting = stronger.map((layer) => layer.settings.get("config")).find((found) => found !== undefined);
  if (setting === undefined || !("texts" in setting.raw)) return empty;
  const path = setting.raw.texts[0] ?? "";
  const result = readText(files, path);
  if ("text" in result) return readConfigText(command, path, result.text);
  const problem = {
    origin: setting.origin,
    value: path,
    reason: result.reason,
    fix: "give the path of a readable file",
  };
  return { ...empty, problems: [problem] };
}

function upOptions({ values }: Resolved): UpOptions {
  const { engines, model, preset, seed, speed } = values;
  return { engines, models: model, preset, seed, speed };
}

/** Engines listen on consecutive ports, which must all exist. */
function portProblems({ values, origins }: Resolved): Problem[] {
  const last = values.port + values.engines - 1;
  if (values.port === 0 || last <= 65535) return [];
  const reason = `${values.engines} engines from port ${values.port} on would need port ${last}`;
  const origin = origins.get("engines") ?? { name: "--engines" };
  return [{ origin, value: String(values.engines), reason, fix: "give a lower --port, or fewer engines" }];
}

function engineOptions({ values: v }: Resolved): EngineCommandOptions {
  return {
    host: v.host,
    port: v.port,
    models: [...v.model],
    preset: v.preset,
    seed: v.seed,
    engines: v.engines,
    simApi: v["sim-api"],
    speed: v.speed,
    apiKeys: [...v["api-key"]],
    maxModelLen: v["max-model-len"],
    maxNumSeqs: v["max-num-seqs"],
    maxNumBatchedTokens: v["max-num-batched-tokens"],
    blockSize: v["block-size"],
    numGpuBlocks: v["num-gpu-blocks-override"],
    maxNumQueuedReqs: v["max-num-queued-reqs"],
    maxNumQueuedTokens: v["max-num-queued-tokens"],
    startupSeconds: v.startup,
    runner: v.runner,
    dataParallelSize: v["data-parallel-size"],
    schedulingPolicy: v["scheduling-policy"],
    enablePrefixCaching: v["enable-prefix-caching"],
    prefixCachingHashAlgo: v["prefix-caching-hash-algo"],
    enablePromptTokensDetails: v["enable-prompt-tokens-details"],
    enableRequestIdHeaders: v["enable-request-id-headers"],
    enableServerLoadTracking: v["enable-server-load-tracking"],
    enableForceIncludeUsage: v["enable-force-include-usage"],
    enableAutoToolChoice: v["enable-auto-tool-choice"],
    enableScaleOut: v["enable-scale-out"],
    devMode: v["dev-mode"],
    loraModules: v["lora-modules"],
    allowRuntimeLora: v["allow-runtime-lora-updating"],
    maxLoras: v["max-loras"],
    kvTransferConfig: v["kv-transfer-config"],
    kvEventsConfig: v["kv-events-config"],
    kvEventsEncoding: v["kv-events-encoding"],
    kvReplayFraming: v["kv-replay-framing"],
    kvEventsIntHashes: v["kv-events-int-hashes"],
    tokenizer: v.tokenizer,
    script: v.script,
    text: v.answer,
    shutdownTimeoutSeconds: v["shutdown-timeout"],
    faultNames: v.fault,
  };
}
