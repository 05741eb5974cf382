// `npm run test:conformance`: the sixteen cases on any router.
//
//   npm run test:conformance -- --url http://127.0.0.1:8001 --engine-ports 9101,9102,9103,9104
//
// The engines are the suite's own: it listens on these ports, and the router under test has to know them. Cases that end
// the router, start it or change its engines need the commands for it; without them they are not run, and it says so.
import { parseArgs } from "node:util";
import type { ClientResponse } from "../helpers/http-client.ts";
import { conformanceCases } from "./cases.ts";
import { CommandSubject } from "./command-subject.ts";
import { startEngines } from "./engines.ts";
import { engineCount, model, otherModel, Stand } from "./stand.ts";
import { runCases } from "./suite.ts";

const usage = `npm run test:conformance -- --url URL [options]

  --url URL               the router under test, http on this machine
  --engine-ports A,B,C,D  where the suite's engines listen: three of ${model},
                          one of ${otherModel}; 9101,9102,9103,9104
  --limit-bytes N         largest request body that the router was told to take; 1048576
  --ready-path PATH       what a load balancer asks; /ready
  --start COMMAND         starts the router in the foreground; {engines} stands for the engines' URLs, with commas
  --set-engines COMMAND   gives the running router other engines
  --only H1,H2            these cases alone
  --expect-fail H4,H6     cases that are known to fail: the exit code is 0 when exactly these do
`;

/** The engines listen on this machine only, so the router has to be here too. */
function unfitUrl({ protocol, hostname, pathname }: URL): string | null {
  if (protocol !== "http:") return "only http is spoken here: give the router a plain port for this";
  if (!["localhost", "127.0.0.1"].includes(hostname))
    return "the suite's engines listen on 127.0.0.1, so the router has to run on this machine: give http://127.0.0.1:PORT";
  return pathname === "/" ? null : "give the origin alone, without a path";
}

/** How long a router may take to find the engines, which have only just begun to listen. */
const introductionMs = 20_000;

/** Waits until the router knows the engines. @returns what keeps it from that, in words that say what to do; null = nothing */
async function introduce(stand: Stand): Promise<string | null> {
  const began = performance.now();
  for (;;) {
    const answer = await stand.ask([], { max_tokens: 1 }).catch((error: unknown) => error);
    const said =
      answer instanceof Error || typeof answer !== "object" || answer === null ? null : (answer as ClientResponse);
    if (said?.status === 200 && stand.engines.some(({ requests }) => requests.length > 0)) return null;
    if (performance.now() - began < introductionMs && (said === null || said.status !== 200)) {
      await new Promise<void>((resolve) => setTimeout(resolve, 250));
      continue;
    }
    if (said === null)
      return `no answer (${answer instanceof Error ? answer.message : String(answer)}): is the router running?`;
    const told = said.status === 200 ? "another engine has answered" : `${said.status} ${said.text.slice(0, 300)}`;
    return (
      `it does not send the model ${model} to the suite's engines (${told}). Start it with these engines and no others, ` +
      `for LMStack: lmstack router --static-backends ${stand.urls.join(",")} --max-body-bytes ${stand.subject.limitBytes}`
    );
  }
}

/** @returns exit code */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      url: { type: "string" },
      "engine-ports": { type: "string", default: "9101,9102,9103,9104" },
      "limit-bytes": { type: "string", default: "1048576" },
      "ready-path": { type: "string", default: "/ready" },
      start: { type: "string" },
      "set-engines": { type: "string" },
      only: { type: "string", default: "" },
      "expect-fail": { type: "string", default: "" },
      help: { type: "boolean", default: false },
    },
  });
  const list = (text: string): string[] => text.split(",").flatMap((item) => (item.trim() === "" ? [] : [item.trim()]));
  if (values.help || values.url === undefined || !URL.canParse(values.url)) {
    process.stdout.write(usage);
    return values.help ? 0 : 2;
  }
  const known = conformanceCases.map(({ id }) => id);
  const expected = list(values["expect-fail"]);
  const wanted = list(values.only);
  const strange = [...expected, ...wanted].find((id) => !known.includes(id));
  if (strange !== undefined) {
    process.stderr.write(`there is no case ${strange}; the cases are ${known.join(", ")}\n`);
    return 2;
  }
  const unfit = unfitUrl(new URL(values.url));
  if (unfit !== null) {
    process.stderr.write(`--url ${values.url}: ${unfit}\n`);
    return 2;
  }
  const ports = list(values["engine-ports"]).map(Number);
  if (ports.length !== engineCount || ports.some((port) => !(Number.isInteger(port) && port > 0 && port < 65_536))) {
    process.stderr.write(
      `--engine-ports ${values["engine-ports"]}: give ${engineCount} ports, as in 9101,9102,9103,9104\n`,
    );
    return 2;
  }
  const subject = new CommandSubject({
    url: values.url,
    limitBytes: Number(values["limit-bytes"]),
    readyPath: values["ready-path"],
    start: values.start ?? null,
    setEngines: values["set-engines"] ?? null,
  });
  const engines = await startEngines(ports);
  const stand = new Stand(subject, engines);
  try {
    process.stdout.write(`engines: ${stand.urls.join(" ")}\n`);
    await subject.restart?.(stand.urls);
    const problem = await introduce(stand);
    if (problem !== null) {
      process.stderr.write(`${values.url}: ${problem}\n`);
      return 2;
    }
    const cases = conformanceCases.filter(({ id }) => wanted.length === 0 || wanted.includes(id));
    const results = await runCases(stand, cases, ({ id, title, result, reason }) => {
      process.stdout.write(
        `${result.padEnd(8)} ${id.padEnd(4)} ${title}${reason === "" ? "" : `\n              ${reason}`}\n`,
      );
    });
    const failed = results.filter(({ result }) => result === "failed").map(({ id }) => id);
    const surprises = [
      ...failed.filter((id) => !expected.includes(id)),
      ...expected.filter((id) => cases.some((one) => one.id === id) && !failed.includes(id)),
    ];
    const passed = results.filter(({ result }) => result === "passed").length;
    const left = results.filter(({ result }) => result === "not run").map(({ id }) => id);
    const more = left.length === 0 ? "" : `; not run: ${left.join(", ")} (see --start and --set-engines)`;
    process.stdout.write(`${passed} of ${results.length} passed; failed: ${failed.join(", ") || "none"}${more}\n`);
    return surprises.length === 0 ? 0 : 1;
  } finally {
    await subject.close();
    for (const engine of engines) engine.kill();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`conformance: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
