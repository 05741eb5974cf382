// Objects against the types of their kinds: TypeScript refuses a field that a kind does not have, as the API server's strict
// validation does. For kinds that the server does not know either (KEDA, the Prometheus operator, the Gateway API, ...).
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { temporaryFile } from "../../helpers/files.ts";
import { root } from "../../repo/imports.ts";
import type { KubeObject } from "./render.ts";

const packages: Readonly<Record<string, string>> = {
  "keda.sh": "@kubernetes-models/keda/keda.sh",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator/monitoring.coreos.com",
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api/gateway.networking.k8s.io",
};

const ownTypes = join(root, "test/e2e/chart/other-kinds.ts");
const ownGroups = ["leaderworkerset.x-k8s.io", "inference.networking.k8s.io", "autoscaling.k8s.io"];

function moduleOf(apiVersion: string): string {
  const [group = "", version] = apiVersion.split("/");
  if (ownGroups.includes(group)) return ownTypes;
  if (version === undefined) return `kubernetes-models/${group}`;
  return `${packages[group] ?? `kubernetes-models/${group}`}/${version}`;
}

/** What the compiler has against some objects, each with where it came from; empty when it has nothing. */
export function typeErrors(
  t: TestContext,
  objects: readonly { readonly from: string; readonly object: KubeObject }[],
): string {
  const lines = objects.map(({ from, object }, at) => {
    const type = `import(${JSON.stringify(moduleOf(object.apiVersion))}).I${object.kind}`;
    return `// ${from}: ${object.kind} ${object.metadata.name}\nexport const o${at}: ${type} = ${JSON.stringify(object)};`;
  });
  const file = temporaryFile(t, "objects.ts", `${lines.join("\n")}\n`);
  const modules = join(root, "test/e2e/node_modules");
  const config = temporaryFile(
    t,
    "tsconfig.json",
    JSON.stringify({
      compilerOptions: {
        noEmit: true,
        strict: true,
        skipLibCheck: true,
        allowImportingTsExtensions: true,
        module: "nodenext",
        target: "es2022",
        types: [],
        paths: {
          "kubernetes-models/*": [`${modules}/kubernetes-models/*`],
          "@kubernetes-models/*": [`${modules}/@kubernetes-models/*`],
        },
      },
      files: [file],
    }),
  );
  const run = spawnSync(join(root, "node_modules/.bin/tsc"), ["-p", config], { encoding: "utf8" });
  if (run.status === 0) return "";
  // each object is one line: the comment above it says what it is
  return run.stdout.replaceAll(
    /^\S*objects\.ts\((\d+),\d+\)/gm,
    (_, line: string) => lines[(Number(line) - 2) / 2]?.split("\n")[0] ?? "",
  );
}
