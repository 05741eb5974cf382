// The conformance suite on nginx, configured as well as nginx can be for this: what it is known not to do is listed, and
// exactly that fails. A case that nginx passes or fails by surprise is a case that does not test what it says.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { conformanceCases } from "../conformance/cases.ts";
import { startEngines } from "../conformance/engines.ts";
import { Stand, type Subject } from "../conformance/stand.ts";
import { runCases } from "../conformance/suite.ts";
import { get } from "../helpers/http-client.ts";
import { requireTool } from "./requires.ts";

/** Case -> why nginx fails it. */
const known: Readonly<Record<string, string>> = {
  H2: "the Host that it sends is the name of a group of servers, or the client's",
  H4: "it knows no models",
  H5: "it does not repeat a POST whose engine died, and must not in general",
  H11: "it ends a stream that broke without a word",
  H12: "SIGTERM is its fast end; there is no readiness to fall first",
  H13: "it can't run without servers",
  H16: "it passes the engine's words on, and no time after which to come again",
};

const limitBytes = 1024 * 1024;

class NginxSubject implements Subject {
  readonly limitBytes = limitBytes;
  readonly readyPath = "/nginx-health";
  readonly port: number;
  readonly #program: string;
  readonly #directory = mkdtempSync(join(tmpdir(), "lmstack-nginx-"));
  #child: ChildProcess | null = null;

  constructor(program: string, port: number) {
    this.#program = program;
    this.port = port;
  }

  readonly restart = async (engines: readonly string[]): Promise<void> => {
    await this.close(false);
    this.#configure(engines);
    const child = spawn(this.#program, ["-e", "stderr", "-c", join(this.#directory, "nginx.conf")], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    this.#child = child;
    for (const began = performance.now(); performance.now() - began < 10_000;) {
      if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}`);
      if ((await get(this.port, this.readyPath).catch(() => null)) !== null) return;
    }
    throw new Error("nginx does not listen");
  };

  readonly setEngines = (engines: readonly string[]): Promise<void> => {
    this.#configure(engines);
    this.#child?.kill("SIGHUP");
    return Promise.resolve();
  };

  readonly terminate = async (): Promise<void> => {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  };

  async close(last = true): Promise<void> {
    await this.terminate();
    if (last) rmSync(this.#directory, { recursive: true, force: true });
  }

  #configure(engines: readonly string[]): void {
    const servers = engines.map((url) => `server ${new URL(url).host} max_fails=3 fail_timeout=3s;`);
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${this.#directory};`,
    );
    writeFileSync(
      join(this.#directory, "nginx.conf"),
      `daemon off;
worker_processes 1;
pid ${this.#directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  ${paths.join("\n  ")}
  map $http_x_request_id $sane_id { default $request_id; "~^[!-~]{1,128}$" $http_x_request_id; }
  upstream engines { least_conn; ${servers.join(" ")} keepalive 32; }
  server {
    listen 127.0.0.1:${this.port};
    client_max_body_size ${limitBytes};
    location = ${this.readyPath} { return 200; }
    location / {
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_connect_timeout 2s;
      proxy_read_timeout 60s;
      proxy_next_upstream error timeout http_502 http_503 http_504;
      proxy_set_header Connection "";
      proxy_set_header Host $proxy_host;
      proxy_set_header X-Private "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Request-Id $sane_id;
      add_header X-Request-Id $sane_id always;
    }
  }
}
`,
    );
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

test("conformance: nginx fails exactly the cases that it is known to fail", async (t) => {
  const program = requireTool(t, "nginx");
  if (program === null) return;
  const engines = await startEngines([]);
  const subject = new NginxSubject(program, await freePort());
  t.after(async () => {
    await subject.close();
    for (const engine of engines) engine.kill();
  });
  const stand = new Stand(subject, engines);
  await subject.restart(stand.urls);
  const results = await runCases(stand, conformanceCases, ({ id, result, reason }) =>
    t.diagnostic(`${id} ${result} ${reason}`),
  );
  const failed = results.filter(({ result }) => result !== "passed").map(({ id }) => id);
  assert.deepEqual(failed, Object.keys(known));
});
