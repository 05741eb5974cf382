// A real Prometheus and a real Alertmanager on 127.0.0.1, with rules whose windows are shortened by one scale so that hours
// pass in a minute, and a webhook that notes which alerts fire and resolve. All of it ends with its owner.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { alertGroups } from "../../../observability/rules/alerts.ts";
import { recordingGroups } from "../../../observability/rules/recording.ts";
import { renderGroups } from "../../../observability/rules/rule.ts";

/** What ends with a test, or with a program. */
export interface Owner {
  after(end: () => void | Promise<void>): void;
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  /** Unix time and value. */
  readonly values: readonly (readonly [number, number])[];
}

export interface PrometheusOptions {
  readonly prometheus: string;
  readonly alertmanager: string | null;
  readonly router: string;
  readonly engines: readonly string[];
  /** How many times shorter than they are meant the windows of rules are. */
  readonly scale: number;
}

export interface Notice {
  readonly alert: string;
  readonly status: "firing" | "resolved";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Monitoring {
  readonly url: string;
  readonly notices: readonly Notice[];
  /** Value of each series now. */
  query(expr: string): Promise<Sample[]>;
  queryRange(expr: string, startSeconds: number, endSeconds: number, stepSeconds: number): Promise<Sample[]>;
  /** Sum of what an expression gives now; 0 where it gives nothing. */
  sum(expr: string): Promise<number>;
  get(path: string): Promise<unknown>;
}

const scrapeInterval = "500ms";

export async function startMonitoring(owner: Owner, options: PrometheusOptions): Promise<Monitoring> {
  const folder = mkdtempSync(join(tmpdir(), "lmstack-prometheus-"));
  owner.after(() => rmSync(folder, { recursive: true, force: true }));
  const notices: Notice[] = [];
  const alertmanagerPort = options.alertmanager === null ? null : await freePort();
  if (options.alertmanager !== null && alertmanagerPort !== null) {
    await startAlertmanager(owner, options.alertmanager, alertmanagerPort, folder, await startWebhook(owner, notices));
  }
  const { scale } = options;
  writeFileSync(join(folder, "recording.yaml"), renderGroups(recordingGroups(scale), scale));
  writeFileSync(join(folder, "alerts.yaml"), renderGroups(alertGroups(scale), scale));
  const host = (url: string): string => new URL(url).host;
  writeFileSync(
    join(folder, "prometheus.yaml"),
    stringify({
      global: { scrape_interval: scrapeInterval, scrape_timeout: scrapeInterval, evaluation_interval: scrapeInterval },
      rule_files: ["recording.yaml", "alerts.yaml"],
      ...(alertmanagerPort === null
        ? {}
        : { alerting: { alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${alertmanagerPort}`] }] }] } }),
      scrape_configs: [
        { job_name: "lmstack-router", static_configs: [{ targets: [host(options.router)] }] },
        { job_name: "vllm", static_configs: [{ targets: options.engines.map(host) }] },
      ],
    }),
  );
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  run(owner, options.prometheus, [
    `--config.file=${join(folder, "prometheus.yaml")}`,
    `--storage.tsdb.path=${join(folder, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--enable-feature=exemplar-storage",
    "--rules.alert.resend-delay=1s",
    "--log.level=warn",
  ]);
  await answers(`${url}/-/ready`);
  const get = async (path: string): Promise<unknown> => {
    const response = await fetch(url + path);
    const body = (await response.json()) as {
      readonly status: string;
      readonly data: unknown;
      readonly error?: string;
    };
    if (body.status !== "success") throw new Error(`${path}: ${body.error ?? "failed"}`);
    return body.data;
  };
  const vector = async (expr: string): Promise<Sample[]> => {
    const { result } = (await get(`/api/v1/query?query=${encodeURIComponent(expr)}`)) as {
      readonly result: readonly { readonly metric: Record<string, string>; readonly value: [number, string] }[];
    };
    return result.map(({ metric, value }) => ({ metric, values: [[value[0], Number(value[1])]] }));
  };
  return {
    url,
    notices,
    get,
    query: vector,
    sum: async (expr) => (await vector(expr)).reduce((sum, { values }) => sum + (values[0]?.[1] ?? 0), 0),
    async queryRange(expr, start, end, step) {
      const query = `query=${encodeURIComponent(expr)}&start=${start}&end=${end}&step=${step}`;
      const { result } = (await get(`/api/v1/query_range?${query}`)) as {
        readonly result: readonly { readonly metric: Record<string, string>; readonly values: [number, string][] }[];
      };
      return result.map(({ metric, values }) => ({ metric, values: values.map(([at, value]) => [at, Number(value)]) }));
    },
  };
}

async function startAlertmanager(
  owner: Owner,
  program: string,
  port: number,
  folder: string,
  hook: string,
): Promise<void> {
  const config = join(folder, "alertmanager.yaml");
  writeFileSync(
    config,
    stringify({
      route: {
        receiver: "hook",
        group_by: ["..."],
        group_wait: "100ms",
        group_interval: "500ms",
        repeat_interval: "1h",
      },
      receivers: [{ name: "hook", webhook_configs: [{ url: hook, send_resolved: true }] }],
    }),
  );
  mkdirSync(join(folder, "alertmanager"));
  run(owner, program, [
    `--config.file=${config}`,
    `--storage.path=${join(folder, "alertmanager")}`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--cluster.listen-address=",
    "--log.level=warn",
  ]);
  await answers(`http://127.0.0.1:${port}/-/ready`);
}

async function startWebhook(owner: Owner, notices: Notice[]): Promise<string> {
  const server = http.createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (piece: string) => (text += piece));
    request.on("end", () => {
      const { alerts } = JSON.parse(text) as { readonly alerts: readonly Omit<Notice, "alert">[] };
      for (const alert of alerts) notices.push({ ...alert, alert: alert.labels["alertname"] ?? "" });
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  owner.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

function run(owner: Owner, program: string, args: readonly string[]): ChildProcess {
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (words = (words + text).slice(-4_000)));
  child.on("exit", (code) => {
    if (code !== null && code !== 0) process.stderr.write(`${program} ended with ${code}:\n${words}\n`);
  });
  owner.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return child;
}

async function answers(url: string): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    const response = await fetch(url).catch(() => null);
    await response?.arrayBuffer();
    if (response?.ok === true) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${url} did not answer within 30 s`);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
