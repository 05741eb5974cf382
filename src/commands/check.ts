// `lmstack check config FILE`: prints what `config/check-file.ts` found. Exit code 0 when the file is good, else 2. It
// must never start anything.

import { checkConfigFile } from "../config/check-file.ts";
import { diskFiles, type Files } from "../config/files.ts";

export function runCheck(
  path: string,
  files: Files = diskFiles,
  write: (text: string) => void = (text) => process.stdout.write(text),
): Promise<number> {
  const { ok, lines } = checkConfigFile(path, files);
  write(`${lines.join("\n")}\n`);
  return Promise.resolve(ok ? 0 : 2);
}
