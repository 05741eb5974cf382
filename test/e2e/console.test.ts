// The console in a real browser: what a person sees who opens it beside a running fleet.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { BrowserContextOptions, Page } from "playwright-core";
import { startEngine, type EngineOptions, type RunningEngine } from "../../src/engine/serve.ts";
import { temporaryFile } from "../helpers/files.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";
import { brokenRules, launch, open } from "./browser.ts";

interface Stack {
  readonly engines: readonly RunningEngine[];
  readonly router: TestRouter;
}

const key = "secret";

async function startStack(t: TestContext, count: number, options: EngineOptions = {}): Promise<Stack> {
  const engines = await Promise.all(
    Array.from({ length: count }, () => startEngine({ models: ["tiny"], preset: "fast", simApi: true, ...options })),
  );
  for (const engine of engines) t.after(() => engine.close());
  const backends = engines.map(({ url }) => url).join(",");
  const keys = temporaryFile(t, "keys", `${key}\n`);
  const router = await startTestRouter(t, ["--static-backends", backends, "--console", "--admin-key-file", keys]);
  return { engines, router };
}

/** Opens the console and types the key. */
async function openConsole(
  t: TestContext,
  router: TestRouter,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; complaints: readonly string[] } | null> {
  const browser = await launch(t);
  if (browser === null) return null;
  // the first answer to a page without a key is 401, which a browser complains of
  const opened = await open(t, browser, router.url, { path: "/console", expected: /401/, ...options });
  await opened.page.getByLabel("Administration key").fill(key);
  await opened.page.keyboard.press("Enter");
  await opened.page.getByText("endpoints ready").waitFor();
  return opened;
}

const state = (page: Page, engine: RunningEngine): Promise<string> =>
  page
    .locator("tr", { hasText: engine.url.slice(7) })
    .locator(".state")
    .innerText();

async function untilShown(what: () => Promise<boolean>, words: string): Promise<void> {
  const latestMs = performance.now() + 20_000;
  while (!(await what())) assert.ok(performance.now() < latestMs, words);
}

test("the playground streams an answer, says which engine gave it and why, and can be stopped", async (t) => {
  const slow = { id: "slow", b0Us: 20_000, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 2048 };
  const { router, engines } = await startStack(t, 2, { preset: slow });
  const opened = await openConsole(t, router);
  if (opened === null) return;
  const { page, complaints } = opened;
  await page.getByRole("link", { name: "Playground" }).click();
  await page.getByLabel("Tokens at most").fill("20");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText(/^Why 127\.0\.0\.1:\d+/).waitFor();
  const facts = await page.locator("#facts").innerText();
  assert.match(
    facts,
    /^from 127\.0\.0\.1:\d+, first token after .+, \d+ tokens, \d+ tokens\/s, 0 of \d+ prompt tokens cached/,
  );
  assert.ok((await page.locator("#answer").innerText()).length > 20);

  await page.getByLabel("Tokens at most").fill("2000");
  await page.getByRole("button", { name: "Send" }).click();
  await until(() => engines.some((engine) => engine.state().running === 1), "it runs");
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped.").waitFor();
  await until(() => engines.every((engine) => engine.state().running === 0), "the engine has stopped too");

  await Promise.all(engines.map((engine) => post(engine, "/sim/faults", { fault: "error_status", status: 400 })));
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("400: The simulator was told to fail with 400.").waitFor();
  await page.getByRole("link", { name: "Errors" }).click();
  await page.getByText("docs/errors.md").waitFor();
  assert.deepEqual(
    complaints.filter((text) => !text.includes("400")),
    [],
  );
});

test("an engine that dies and comes back is seen to, and requests are shown with their reasons", async (t) => {
  const { router, engines } = await startStack(t, 3);
  const opened = await openConsole(t, router);
  if (opened === null) return;
  const { page, complaints } = opened;
  const [dying] = engines;
  assert.ok(dying !== undefined);
  assert.equal(await state(page, dying), "ready");
  await post(dying, "/sim/faults", { fault: "engine_dead" });
  await untilShown(async () => {
    await Promise.all(Array.from({ length: 6 }, () => complete(router)));
    return (await state(page, dying)) === "ejected";
  }, "it is shown as ejected");
  await fetch(`${dying.url}/sim/faults`, { method: "DELETE" });
  await untilShown(async () => {
    await complete(router);
    return (await state(page, dying)) === "ready";
  }, "it is shown as ready again");

  await page.getByRole("link", { name: "Requests" }).click();
  const first = page.locator("tbody tr").first();
  await first.getByRole("button").click();
  assert.match(await page.locator(".why").innerText(), /^Why 127\.0\.0\.1:\d+: [A-Z].+\./);
  await page.getByRole("link", { name: "Configuration" }).click();
  await page.getByText('"policy": "prefixaware"').waitFor();
  assert.deepEqual(complaints, []);
});

for (const [name, options] of [
  ["a desk", { viewport: { width: 1280, height: 800 }, colorScheme: "light" }],
  ["a phone in the dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }],
] as const) {
  test(`on ${name} no view is wider than the screen, and none breaks a rule of accessibility`, async (t) => {
    const { router } = await startStack(t, 2);
    for (let at = 0; at < 5; at++) await complete(router);
    const opened = await openConsole(t, router, options);
    if (opened === null) return;
    const { page, complaints } = opened;
    for (const view of ["Fleet", "Requests", "Playground", "Configuration", "Errors"]) {
      await page.getByRole("link", { name: view }).click();
      await page.locator(`nav a[aria-current]`, { hasText: view }).waitFor();
      await page.locator("main h2, main label").first().waitFor();
      assert.deepEqual(await brokenRules(page), [], view);
      const wide = await page.evaluate<number>("document.documentElement.scrollWidth");
      assert.ok(wide <= options.viewport.width, `${view} is ${wide} wide`);
    }
    assert.deepEqual(complaints, []);
  });
}

test("all of it can be reached by keyboard", async (t) => {
  const { router } = await startStack(t, 1);
  const opened = await openConsole(t, router);
  if (opened === null) return;
  const { page } = opened;
  await page.getByRole("link", { name: "Fleet" }).focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByLabel("Prompt").focus();
  await page.keyboard.press("Control+Enter");
  await page.getByText(/^Why 127\.0\.0\.1:\d+/).waitFor();
});

test("a page that is closed stops its cost", async (t) => {
  const { router } = await startStack(t, 1);
  const opened = await openConsole(t, router);
  if (opened === null) return;
  const { console: desk } = router.context;
  assert.ok(desk !== null && desk.watched);
  await opened.page.close();
  await until(() => !desk.watched, "nobody looks any more");
});

test("it is there within a second of the browser's asking", async (t) => {
  const { router } = await startStack(t, 1);
  const opened = await openConsole(t, router);
  if (opened === null) return;
  // the second time, with everything warm on this side; the page begins anew
  await opened.page.reload();
  await opened.page.getByText("endpoints ready").waitFor();
  const loaded = await opened.page.evaluate<number>('performance.getEntriesByType("navigation")[0].loadEventEnd');
  process.stdout.write(`loaded after ${loaded.toFixed(0)} ms\n`);
});

async function post(engine: RunningEngine, path: string, body: object): Promise<void> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(engine.url + path, { method: "POST", headers, body: JSON.stringify(body) });
  assert.equal(response.status, 200, await response.text());
}

async function complete(router: TestRouter): Promise<void> {
  const response = await fetch(`${router.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", prompt: "x", max_tokens: 2 }),
  });
  await response.text();
}
