// What a person is told when a port can't be had.
import type { RouterConfig } from "../config/types.ts";
import { UsageError } from "../errors/usage-error.ts";

/** The system's error as one line with option, value, reason and way out; other errors as they are. */
export function explainListenError(
  error: unknown,
  config: Pick<RouterConfig, "host" | "port"> & Partial<Pick<RouterConfig, "listenFd">>,
): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const fd = config.listenFd ?? null;
  if (fd !== null && typeof code === "string") {
    return new UsageError(
      `--listen-fd ${fd}: this process has inherited no listening socket there (${code}); leave it out to listen on --host and --port`,
    );
  }
  switch (code) {
    case "EADDRINUSE":
      return new UsageError(
        `--port ${config.port}: the port is in use on ${config.host}; choose another one, or 0 for any free port`,
      );
    case "EACCES":
      return new UsageError(`--port ${config.port}: this user may not listen on it; choose a port above 1023`);
    case "EADDRNOTAVAIL":
      return new UsageError(
        `--host ${config.host}: this machine has no such address; use 127.0.0.1, 0.0.0.0 or one that it has`,
      );
    case "ENOTFOUND":
      return new UsageError(`--host ${config.host}: the name does not resolve; use an address`);
    default:
      return error;
  }
}
