// A watched file on a real disk: swapped, broken, gone, behind a symbolic link as Kubernetes does it.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { ManualClock, systemClock, type Clock } from "../../src/clock.ts";
import type { DynamicConfig } from "../../src/config/types.ts";
import { revisionOf, watchDynamicFile, type DynamicFileWatcher } from "../../src/config/watch-dynamic-file.ts";

const text = (port: number): string =>
  `service_discovery: static\nrouting_logic: random\nstatic_backends: http://a:${port}\n`;

interface Seen {
  readonly url: string | undefined;
  readonly revision: string;
}

/** A watcher whose reports can be waited for, in the order in which they come. */
class Watched {
  readonly watcher: DynamicFileWatcher;
  readonly #reports: (Seen | Error)[] = [];
  readonly #news = new EventEmitter();

  constructor(t: TestContext, path: string, clock: Clock = systemClock) {
    const report = (what: Seen | Error): void => {
      this.#reports.push(what);
      this.#news.emit("news");
    };
    this.watcher = watchDynamicFile({
      path,
      format: "yaml",
      clock,
      onChange: (config: DynamicConfig, revision) => report({ url: config.endpoints[0]?.url, revision }),
      onRejected: report,
    });
    t.after(() => this.watcher.close());
  }

  get waiting(): number {
    return this.#reports.length;
  }

  async change(port: number): Promise<void> {
    assert.deepEqual(await this.#next(), { url: `http://a:${port}`, revision: revisionOf(text(port)) });
  }

  async rejection(): Promise<string> {
    const report = await this.#next();
    assert.ok(report instanceof Error, `not rejected: ${JSON.stringify(report)}`);
    return report.message;
  }

  async #next(): Promise<Seen | Error> {
    // The process would end while nothing but an unreferenced timer is waited for.
    const alive = setInterval(() => {}, 1000);
    try {
      if (this.#reports.length === 0) await once(this.#news, "news", { signal: AbortSignal.timeout(9000) });
    } finally {
      clearInterval(alive);
    }
    return this.#reports.shift() ?? assert.fail("news without a report");
  }
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "lmstack-config-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test("what the file says at the start is handed on, and then each change", async (t) => {
  const path = join(await folder(t), "d.yaml");
  await writeFile(path, text(1));
  const watched = new Watched(t, path);
  await watched.change(1);
  await writeFile(path, text(2));
  await watched.change(2);
  assert.equal(watched.watcher.revision, revisionOf(text(2)));
  assert.match(revisionOf(text(2)), /^[0-9a-f]{12}$/);
});

test("a file that is renamed over the old one is seen", async (t) => {
  const directory = await folder(t);
  const path = join(directory, "d.yaml");
  await writeFile(path, text(1));
  const watched = new Watched(t, path);
  await watched.change(1);
  await writeFile(join(directory, "next"), text(2));
  await rename(join(directory, "next"), path);
  await watched.change(2);
});

test("a ConfigMap that Kubernetes swaps by its ..data link is seen", async (t) => {
  const directory = await folder(t);
  for (const version of [1, 2]) {
    await mkdir(join(directory, `..${version}`));
    await writeFile(join(directory, `..${version}`, "d.yaml"), text(version));
  }
  await symlink("..1", join(directory, "..data"));
  await symlink(join("..data", "d.yaml"), join(directory, "d.yaml"));
  const watched = new Watched(t, join(directory, "d.yaml"));
  await watched.change(1);
  await symlink("..2", join(directory, "..data_tmp"));
  await rename(join(directory, "..data_tmp"), join(directory, "..data"));
  await watched.change(2);
});

test("a wrong file is rejected with its reason, and the old stays in force", async (t) => {
  const path = join(await folder(t), "d.yaml");
  await writeFile(path, text(1));
  const watched = new Watched(t, path);
  await watched.change(1);
  await writeFile(path, text(1).replace("random", "fastest"));
  assert.match(await watched.rejection(), /d\.yaml:2: routing_logic fastest: unknown; give one of/);
  assert.equal(watched.watcher.revision, revisionOf(text(1)));
  // Put right again: told, though the contents are the old ones, so that whoever shows the rejection can take it back.
  await writeFile(path, text(1));
  await watched.change(1);
});

test("a file that vanished is reported once, and its return is seen", async (t) => {
  const path = join(await folder(t), "d.yaml");
  await writeFile(path, text(1));
  const watched = new Watched(t, path);
  await watched.change(1);
  await rm(path);
  assert.match(await watched.rejection(), /d\.yaml: no such file; the configuration in force stays$/);
  await watched.watcher.check();
  await watched.watcher.check();
  assert.equal(watched.waiting, 0);
  assert.equal(watched.watcher.revision, revisionOf(text(1)));
  await writeFile(path, text(2));
  await watched.change(2);
});

test("the same contents written anew are no change", async (t) => {
  const path = join(await folder(t), "d.yaml");
  await writeFile(path, text(1));
  const watched = new Watched(t, path);
  await watched.change(1);
  await writeFile(path, text(1));
  await watched.watcher.check();
  assert.equal(watched.waiting, 0);
});

test("where the file system tells nothing, the file is looked at every 10 s", async (t) => {
  const directory = join(await folder(t), "later");
  const clock = new ManualClock();
  // No such folder, so there is nothing to watch.
  const watched = new Watched(t, join(directory, "d.yaml"), clock);
  assert.match(await watched.rejection(), /no such file/);
  await mkdir(directory);
  await writeFile(join(directory, "d.yaml"), text(1));
  clock.advance(10_000);
  await watched.change(1);
});

test("whoever can't put a change in force is told so, and the watch goes on", async (t) => {
  const path = join(await folder(t), "d.yaml");
  await writeFile(path, text(1));
  const rejected: string[] = [];
  const applied: string[] = [];
  let broken = true;
  const watcher = watchDynamicFile({
    path,
    format: "yaml",
    clock: new ManualClock(),
    onChange: (_, revision) => {
      if (broken) throw new Error("can't");
      applied.push(revision);
    },
    onRejected: (error) => rejected.push(error.message),
  });
  t.after(() => watcher.close());
  await watcher.check();
  assert.deepEqual([rejected, watcher.revision], [["can't"], null]);
  broken = false;
  await writeFile(path, text(2));
  await watcher.check();
  assert.deepEqual(applied, [revisionOf(text(2))]);
});

test("nothing is reported after the watch was closed", async (t) => {
  const path = join(await folder(t), "d.yaml");
  await writeFile(path, text(1));
  const watched = new Watched(t, path);
  await watched.change(1);
  watched.watcher.close();
  await writeFile(path, text(2));
  await watched.watcher.check();
  assert.equal(watched.waiting, 0);
});
