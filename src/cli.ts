#!/usr/bin/env node
// The command table, nothing else: parse, load the command's file, run it. The only place that ends the process.
// Commands are imported when they are needed, so that `lmstack check` does not load a router.

import { parseCommand } from "./config/parse-command.ts";
import { UsageError } from "./errors/usage-error.ts";

/** From debug on the stack of a failure is shown. */
let verbose = false;

async function main(): Promise<number> {
  const parsed = parseCommand(process.argv.slice(2), process.env);
  switch (parsed.command) {
    case "router": {
      verbose = isVerbose(parsed.config.log.level);
      const { runRouter } = await import("./commands/router.ts");
      return runRouter(parsed.config, parsed.warnings);
    }
    case "up": {
      verbose = isVerbose(parsed.config.log.level);
      const { runUp } = await import("./commands/up.ts");
      return runUp(parsed.config, parsed.up, parsed.warnings);
    }
    case "engine": {
      verbose = isVerbose(parsed.logLevel);
      for (const warning of parsed.warnings) process.stderr.write(`lmstack: warning: ${warning}\n`);
      const { runEngine } = await import("./commands/engine.ts");
      return runEngine(parsed.options);
    }
    case "lab": {
      for (const warning of parsed.warnings) process.stderr.write(`lmstack: warning: ${warning}\n`);
      const { runLab } = await import("./commands/lab.ts");
      return runLab(parsed.options);
    }
    case "bench": {
      for (const warning of parsed.warnings) process.stderr.write(`lmstack: warning: ${warning}\n`);
      const { runBench } = await import("./commands/bench.ts");
      return runBench(parsed.options);
    }
    case "compare": {
      const { runComparison } = await import("./commands/bench.ts");
      return runComparison(parsed.files);
    }
    case "check": {
      if (parsed.target === "stack") {
        const { runCheckStack } = await import("./commands/check-stack.ts");
        return runCheckStack(parsed.url, parsed.keyFile);
      }
      const { runCheck } = await import("./commands/check.ts");
      return runCheck(parsed.file);
    }
    case "top": {
      const { runTop } = await import("./commands/top.ts");
      return runTop(parsed.options);
    }
    case "print":
      process.stdout.write(parsed.text);
      return 0;
  }
}

function isVerbose(level: string): boolean {
  return level === "debug" || level === "trace";
}

try {
  process.exitCode = await main();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  const usage = error instanceof UsageError;
  process.stderr.write(`lmstack: ${message.replaceAll("\n", " ")}\n`);
  if (!usage && verbose && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
  process.exitCode = usage ? 2 : 1;
}
