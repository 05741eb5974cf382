// A real browser for the full tier, and what it complains of.
import type { TestContext } from "node:test";
import axe from "axe-core";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { requireTool } from "./requires.ts";

/** @returns null when the test was skipped: return at once */
export async function launch(t: TestContext): Promise<Browser | null> {
  const executablePath = requireTool(t, "chromium");
  if (executablePath === null) return null;
  // a container has no user namespaces for the sandbox
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  t.after(() => browser.close());
  return browser;
}

export interface Opened {
  readonly page: Page;
  /** What went wrong in the page, and every request that left for another origin. */
  readonly complaints: readonly string[];
}

export type OpenOptions = BrowserContextOptions & {
  readonly path?: string;
  /** Complaints that are no surprise. */
  readonly expected?: RegExp;
};

export async function open(
  t: TestContext,
  browser: Browser,
  url: string,
  { path = "/", expected, ...options }: OpenOptions = {},
): Promise<Opened> {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const complaints: string[] = [];
  const complain = (text: string): void => {
    if (expected?.test(text) !== true) complaints.push(text);
  };
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complain(message.text());
  });
  page.on("pageerror", (error) => complain(error.message));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${url}/`) && !request.url().startsWith("data:")) complain(request.url());
  });
  await page.goto(url + path);
  return { page, complaints };
}

/** Rules of accessibility that the page breaks. */
export async function brokenRules(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { axe: loaded } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; help: string; nodes: { html: string }[] }[] }> };
    };
    const { violations } = await loaded.run();
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
  });
}
