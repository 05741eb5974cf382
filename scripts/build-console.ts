// Part of `npm run build`: writes the console's files beside the compiled sources, where a package has them.
import { mkdirSync, writeFileSync } from "node:fs";

import { bundleConsole } from "../src/console/bundle.ts";

const out = new URL("../dist/console/assets/", import.meta.url);
mkdirSync(out, { recursive: true });
const files: Readonly<Record<string, Buffer>> = { ...(await bundleConsole()) };
for (const [name, bytes] of Object.entries(files)) writeFileSync(new URL(name, out), bytes);
