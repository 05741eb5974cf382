// The page of `lmstack up` in a real browser: what a person sees who opens the URL that was printed.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Page } from "playwright-core";
import { ManualClock } from "../../src/clock.ts";
import { page as html } from "../../src/console/page.ts";
import { startEngine, type EngineOptions, type RunningEngine, type SimState } from "../../src/engine/serve.ts";
import { startTestRouter, type TestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";
import { brokenRules, launch, open } from "./browser.ts";

interface Stack {
  readonly engine: RunningEngine;
  readonly router: TestRouter;
}

async function startStack(t: TestContext, options: EngineOptions = {}): Promise<Stack> {
  const engine = await startEngine({ models: ["facebook/opt-125m"], simApi: true, ...options });
  t.after(() => engine.close());
  const router = await startTestRouter(t, ["--static-backends", engine.url], { page: html });
  return { engine, router };
}

/**
 * Lets an engine whose clock is driven run until `done`. An answer that is looked at in mid-stream must not depend on how
 * fast the browser is: on a busy machine it had ended before the look.
 */
async function generate({ engine }: Stack, clock: ManualClock, done: (state: SimState) => boolean): Promise<void> {
  await until(() => engine.state().inFlight > 0, "the engine has the request");
  await until(() => {
    clock.advance(1);
    return done(engine.state());
  }, "the engine has made what is looked at");
}

const someTokens = ({ generatedTokens }: SimState): boolean => generatedTokens >= 20;
const theEnd = ({ inFlight }: SimState): boolean => inFlight === 0;

const facts = (page: Page): Promise<string> => page.locator("#facts").innerText();

test("the page sends a prompt, shows the answer while it streams, and says what happened", async (t) => {
  const browser = await launch(t);
  if (browser === null) return;
  const clock = new ManualClock();
  const stack = await startStack(t, { clock });
  const { router } = stack;
  const { page, complaints } = await open(t, browser, router.url);

  await page.getByLabel("Prompt").fill("Tell me about the rivers of the world and the towns on their banks");
  assert.equal(await page.getByLabel("Model").inputValue(), "facebook/opt-125m");
  await page.getByRole("button", { name: "Send" }).click();
  // it grows while it comes: some text is there before the end is
  await generate(stack, clock, someTokens);
  await page.locator("#answer", { hasText: /.{20}/ }).waitFor();
  const part = await page.locator("#answer").innerText();
  assert.equal(await page.getByRole("button", { name: "Stop" }).isEnabled(), true);
  assert.equal(await page.getByRole("button", { name: "Send" }).isEnabled(), false);
  await generate(stack, clock, theEnd);
  await page.locator("#facts", { hasText: /tokens/ }).waitFor();
  const whole = await page.locator("#answer").innerText();
  assert.ok(whole.startsWith(part.trimEnd()) && whole.length > part.length);
  assert.match(
    await facts(page),
    /First token after \d+ ms · \d+ tokens at [\d.]+\/s · \d+ of \d+ prompt tokens cached/,
  );

  // again, by the keyboard alone: the prompt is in the cache now
  await page.getByLabel("Prompt").focus();
  await page.keyboard.press("Control+Enter");
  await generate(stack, clock, theEnd);
  await page.locator("#facts", { hasText: /[1-9]\d* of \d+ prompt tokens cached/ }).waitFor();
  assert.equal(await page.locator("#answer").innerText(), whole);
  assert.deepEqual(complaints, []);
  await router.idle();
});

test("Stop ends the answer on the engine, and another one can be asked for", async (t) => {
  const browser = await launch(t);
  if (browser === null) return;
  const clock = new ManualClock();
  const stack = await startStack(t, { clock });
  const { engine, router } = stack;
  const { page, complaints } = await open(t, browser, router.url);
  await page.getByRole("button", { name: "Send" }).click();
  await generate(stack, clock, someTokens);
  await page.locator("#answer", { hasText: /.{5}/ }).waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await until(() => engine.state().aborted === 1 && engine.state().running === 0, "the engine has dropped it");
  await page.getByText("Stopped").waitFor();
  assert.equal(await page.getByRole("button", { name: "Send" }).isEnabled(), true);
  assert.equal(await page.getByRole("button", { name: "Stop" }).isEnabled(), false);
  assert.deepEqual(complaints, []);
});

test("the page says why there is no answer", async (t) => {
  const browser = await launch(t);
  if (browser === null) return;

  await t.test("where no engine is ready, until one is", async (st) => {
    const engine = await startEngine({ preset: "fast", models: ["late"] });
    const { port } = engine;
    await engine.close();
    const router = await startTestRouter(st, ["--static-backends", `http://127.0.0.1:${port}`], {
      page: html,
      early: true,
    });
    const { page } = await open(st, browser, router.url);
    await page.getByText("No engine is ready yet").waitFor();
    assert.equal(await page.getByRole("button", { name: "Send" }).isEnabled(), false);
    const late = await startEngine({ preset: "fast", models: ["late"], port });
    st.after(() => late.close());
    await page.locator("#model option", { hasText: "late" }).waitFor({ state: "attached" });
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator("#facts", { hasText: /tokens/ }).waitFor();
  });

  await t.test("where the engine fails, in the router's words", async (st) => {
    const { engine, router } = await startStack(st, { preset: "fast" });
    const { page } = await open(st, browser, router.url);
    engine.setFault({ fault: "error_status", status: 502 });
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator("#facts.error").waitFor();
    assert.match(await facts(page), /told to fail with 502/);
    engine.clearFaults();
    engine.setFault({ fault: "cut_mid_stream", after: 5 });
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("failed in mid-answer").waitFor();
    assert.ok((await page.locator("#answer").innerText()).length > 0, "what came stays");
  });

  await t.test("where the router itself is gone", async (st) => {
    const { router } = await startStack(st, { preset: "fast" });
    const { page } = await open(st, browser, router.url);
    await page.locator("#model option").waitFor({ state: "attached" });
    router.running.close();
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("The router can't be reached").waitFor();
  });
});

const looks = (["light", "dark"] as const).flatMap((colorScheme) =>
  [1280, 390].map((width) => ({ colorScheme, viewport: { width, height: 800 } })),
);

for (const look of looks) {
  test(`the page is accessible and fits ${look.viewport.width} px, ${look.colorScheme}`, async (t) => {
    const browser = await launch(t);
    if (browser === null) return;
    const { engine, router } = await startStack(t, { preset: "fast" });
    const { page, complaints } = await open(t, browser, router.url, look);
    const shots = process.env["LMSTACK_SCREENSHOTS"];
    const check = async (state: string): Promise<void> => {
      assert.deepEqual(await brokenRules(page), [], state);
      const width = await page.evaluate<number>("document.documentElement.scrollWidth");
      assert.ok(width <= look.viewport.width, `${state}: ${width} px wide`);
      if (shots !== undefined) {
        await page.screenshot({ path: `${shots}/${look.colorScheme}-${look.viewport.width}-${state}.png` });
      }
    };
    await page.locator("#model option").waitFor({ state: "attached" });
    await check("empty");
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator("#facts", { hasText: /tokens/ }).waitFor();
    await check("answered");
    engine.setFault({ fault: "error_status", status: 502 });
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator("#facts.error").waitFor();
    await check("failed");
    // the browser itself notes the answer with an error's status
    assert.deepEqual(
      complaints.filter((text) => !text.includes("502")),
      [],
    );
  });
}
