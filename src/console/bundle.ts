// Bundles the console from `web/` with esbuild: for `npm run build`, which writes what comes out into the package, and for
// those who run from the repository. Nothing of it is in a package that was built.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const web = new URL("web/", import.meta.url);

export interface Bundle {
  readonly "index.html": Buffer;
  readonly "console.js": Buffer;
  readonly "console.css": Buffer;
}

/** @throws Error when a source has a mistake, or esbuild is not installed */
export async function bundleConsole(): Promise<Bundle> {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({
    entryPoints: { console: fileURLToPath(new URL("main.tsx", web)) },
    bundle: true,
    minify: true,
    write: false,
    outdir: "out",
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "inline",
    logLevel: "silent",
  });
  const output = (ending: string): Buffer => {
    const file = outputFiles.find(({ path }) => path.endsWith(ending));
    if (file === undefined) throw new Error(`esbuild gave no ${ending}`);
    return Buffer.from(file.contents);
  };
  return {
    "index.html": readFileSync(new URL("index.html", web)),
    "console.js": output(".js"),
    "console.css": output(".css"),
  };
}
