// The `LMSTACK_...` variables as a layer of raw settings. It is handed the environment and must never read the process's
// own.

import { isOptionName, optionOf, optionsOf, type OptionName } from "./catalogue/index.ts";
import type { Layer, Setting } from "./layer.ts";
import { nearest } from "./nearest.ts";
import { environmentName, type OptionCommand } from "./option.ts";

/** Variables that Kubernetes sets in every pod for a Service whose name begins with `lmstack`. */
const serviceLink = /_SERVICE_HOST$|_SERVICE_PORT(_.*)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?$/;

/** The first socket that systemd passes, by the protocol of sd_listen_fds(3). */
const firstPassedFd = "3";

/**
 * Reads `LMSTACK_...`; an empty variable is as good as none.
 * @param pid of this process: sockets that systemd passed to another one, whose child this is, are not ours
 */
export function readEnvironment(
  command: OptionCommand,
  env: Readonly<Record<string, string | undefined>>,
  pid: number = process.pid,
): Layer {
  const settings = new Map<OptionName, Setting>();
  const warnings: string[] = [];
  for (const name of optionsOf(command)) {
    const variable = environmentName(name);
    const value = env[variable];
    if (value === undefined || value === "") continue;
    // A Service named `lmstack` makes Kubernetes set LMSTACK_PORT=tcp://10.0.0.1:80 in every pod beside it.
    if (name === "port" && value.startsWith("tcp://")) continue;
    const texts = optionOf(name).repeatable ? value.split(",").map((part) => part.trim()) : [value];
    settings.set(name, { option: name, origin: { name: variable }, raw: { texts } });
  }
  const passed = env["LISTEN_PID"] === String(pid) ? Number(env["LISTEN_FDS"] ?? 0) : 0;
  if (passed > 0 && optionsOf(command).includes("listen-fd") && !settings.has("listen-fd")) {
    settings.set("listen-fd", {
      option: "listen-fd",
      origin: { name: "LISTEN_FDS" },
      raw: { texts: [firstPassedFd] },
    });
    if (passed > 1) warnings.push(`LISTEN_FDS: of ${passed} sockets that were passed only the first is used`);
  }
  const known = optionsOf(command).map(environmentName);
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith("LMSTACK_") || known.includes(variable) || serviceLink.test(variable)) continue;
    if (isOptionName(variable.slice("LMSTACK_".length).toLowerCase().replaceAll("_", "-"))) continue;
    const near = nearest(variable, known);
    warnings.push(
      `${variable}: no option has this name, it is ignored${near === null ? "" : `; did you mean ${near}?`}`,
    );
  }
  return { settings, problems: [], warnings };
}

/** Where Kubernetes tells each container to find its API; null = the process is in no cluster. */
export function apiServer(env: Readonly<Record<string, string | undefined>>): string | null {
  const { KUBERNETES_SERVICE_HOST: host = "", KUBERNETES_SERVICE_PORT: port = "" } = env;
  if (host === "" || port === "") return null;
  return `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
