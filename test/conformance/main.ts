// `npm run test:conformance`: the sixteen cases on any router.
//
//   npm run test:conformance -- --url http://127.0.0.1:8001 --engine-ports 9101,9102,9103,9104
//
// The engines are the suite's own: it listens on these ports, and the router under test has to know them. Cases that end
// the router, start it or change its engines need the commands for it; without them they are not run, and it says so.
import { parseArgs } from "node:util";
import { conformanceCases } from "./cases.ts";
import { CommandSubject } from "./command-subject.ts";
import { startEngines } from "./engines.ts";
import { model, otherModel, Stand } from "./stand.ts";
import { runCases } from "./suite.ts";

const usage = `npm run test:conformance -- --url URL [options]

  --url URL               the router under test, http on this machine
  --engine-ports A,B,C,D  where the suite's engines listen: three of ${model},
                          one of ${otherModel}; 9101,9102,9103,9104
  --limit-bytes N         largest request body that the router was told to take; 1048576
  --ready-path PATH       what a load balancer asks; /ready
  --start COMMAND         starts the router in the foreground; {engines} stands for the engines' URLs
  --set-engines COMMAND   gives the running router other engines
  --only H1,H2            these cases alone
  --expect-fail H4,H6     cases that are known to fail: the exit code is 0 when exactly these do
`;

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
  const subject = new CommandSubject({
    url: values.url,
    limitBytes: Number(values["limit-bytes"]),
    readyPath: values["ready-path"],
    start: values.start ?? null,
    setEngines: values["set-engines"] ?? null,
  });
  const engines = await startEngines(list(values["engine-ports"]).map(Number));
  const stand = new Stand(subject, engines);
  try {
    process.stdout.write(`engines: ${stand.urls.join(" ")}\n`);
    await subject.restart?.(stand.urls);
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
    process.stdout.write(`${passed} of ${results.length} passed, failed: ${failed.join(", ") || "none"}\n`);
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
