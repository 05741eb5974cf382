// The routers that are compared, each started as its users would start it for this job: one core, four engines behind,
// round robin, keep-alive on both sides, nothing logged, streams passed on at once.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BenchError, findProgram, freePort, hasEnded, nodeBinary, scratchDirectory, startPinned } from "./processes.ts";
import type { Started } from "./processes.ts";

export const CANDIDATE_NAMES = ["ours", "bare", "nginx", "haproxy", "floor", "direct"] as const;
export type CandidateName = (typeof CANDIDATE_NAMES)[number];

export interface Candidate {
  readonly name: CandidateName;
  /** Base URL that the load is sent to. */
  readonly url: string;
  /** Where streams go: `direct` spreads them over the engines as the routers do. */
  readonly streamUrls: readonly string[];
  /** Undefined for `direct`, which has no process of its own. */
  readonly process: Started | undefined;
}

export interface CandidateOptions {
  readonly engineUrls: readonly string[];
  readonly core: number;
  /** Replaces our router's command line; `{port}` and `{engines}` (comma-separated URLs) are filled in. */
  readonly candidateCommand?: string | undefined;
  /** More flags for the Node that runs our router (`--cpu-prof`), and for the router itself. */
  readonly nodeFlags?: readonly string[];
  readonly routerFlags?: readonly string[];
}

const ROUTER = "src/cli.ts";
const WITHOUT_METRICS = "test/bench/overhead/without-metrics.ts";
const SPLICE = "test/bench/overhead/splice.ts";

/** Whether a candidate can be run here; the reason where it can't. */
export function missingReason(
  name: CandidateName,
  options: Pick<CandidateOptions, "candidateCommand">,
): string | undefined {
  if (name === "nginx" || name === "haproxy") {
    return findProgram(name) === undefined ? `${name} is not installed (Debian: apt-get install ${name})` : undefined;
  }
  if (name !== "ours" || options.candidateCommand !== undefined || existsSync(ROUTER)) return undefined;
  return `${ROUTER} is not there: run from the repository's root, or give --candidate-command`;
}

export async function startCandidate(name: CandidateName, options: CandidateOptions): Promise<Candidate> {
  if (name === "direct") {
    return { name, url: options.engineUrls[0] ?? "", streamUrls: options.engineUrls, process: undefined };
  }
  const port = await freePort();
  const started = startPinned(name, options.core, commandOf(name, port, options));
  const url = `http://127.0.0.1:${port}`;
  await waitUntilReady(started, url, name === "ours" || name === "bare" ? ["/ready", "/health"] : ["/health"]);
  return { name, url, streamUrls: [url], process: started };
}

function commandOf(name: Exclude<CandidateName, "direct">, port: number, options: CandidateOptions): string[] {
  const engines = options.engineUrls.join(",");
  switch (name) {
    case "nginx":
      return [program("nginx"), "-e", "stderr", "-c", nginxConfig(port, options.engineUrls)];
    case "haproxy":
      return [program("haproxy"), "-db", "-f", haproxyConfig(port, options.engineUrls)];
    case "floor":
      return [nodeBinary, SPLICE, "--port", String(port), "--engines", engines];
    case "bare":
      return routerCommand(port, {
        ...options,
        nodeFlags: ["--import", `./${WITHOUT_METRICS}`],
        routerFlags: [...(options.routerFlags ?? []), "--no-legacy-metrics"],
      });
    case "ours":
      return options.candidateCommand === undefined
        ? routerCommand(port, options)
        : options.candidateCommand
            .split(/\s+/)
            .map((word) => word.replace("{port}", String(port)).replace("{engines}", engines));
  }
}

function routerCommand(port: number, { engineUrls, nodeFlags = [], routerFlags = [] }: CandidateOptions): string[] {
  const backends = [
    "--static-backends",
    engineUrls.join(","),
    "--static-models",
    engineUrls.map(() => "bench").join(","),
  ];
  const listen = ["--host", "127.0.0.1", "--port", String(port)];
  const routing = ["--routing-logic", "roundrobin"];
  return [nodeBinary, ...nodeFlags, ROUTER, "router", ...listen, ...backends, ...routing, ...routerFlags];
}

function program(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new BenchError(`${name} is not installed (Debian: apt-get install ${name}).`);
  return path;
}

/** Waits until one of the paths answers 200, at most 15 s. */
async function waitUntilReady(started: Started, url: string, paths: readonly string[]): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (performance.now() < deadline) {
    if (hasEnded(started)) throw new BenchError(`${started.name} ended at once: ${started.lastWords()}`);
    for (const path of paths) {
      const response = await fetch(url + path, { signal: AbortSignal.timeout(1000) }).catch(() => undefined);
      await response?.arrayBuffer().catch(() => undefined);
      if (response?.status === 200) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new BenchError(`${started.name} was not ready within 15 s: ${started.lastWords()}`);
}

/** One process, so that its CPU is all of nginx's. Bodies up to 2 MiB stay in memory: its default spools to disk. */
function nginxConfig(port: number, engineUrls: readonly string[]): string {
  const home = join(scratchDirectory(), "nginx");
  mkdirSync(home, { recursive: true });
  const servers = engineUrls.map((url) => `    server ${new URL(url).host} max_fails=0;`).join("\n");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `  ${kind}_temp_path ${home}/${kind};`,
  );
  const path = join(home, "nginx.conf");
  writeFileSync(
    path,
    `daemon off;
master_process off;
worker_processes 1;
pid ${home}/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off;
${temporary.join("\n")}
  client_max_body_size 64m;
  client_body_buffer_size 2m;
  keepalive_requests 100000000;
  upstream engines {
${servers}
    keepalive 256;
    keepalive_requests 100000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`,
  );
  return path;
}

/** `http-no-delay`, as haproxy otherwise holds small frames back by 100 ms. */
function haproxyConfig(port: number, engineUrls: readonly string[]): string {
  const servers = engineUrls.map((url, i) => `  server engine${i} ${new URL(url).host}`).join("\n");
  const path = join(scratchDirectory(), "haproxy.cfg");
  writeFileSync(
    path,
    `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 300s
  timeout server 300s
frontend router
  bind 127.0.0.1:${port} backlog 4096
  default_backend engines
backend engines
  balance roundrobin
${servers}
`,
  );
  return path;
}
