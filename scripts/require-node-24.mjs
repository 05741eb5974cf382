// Loaded before every npm script (`node --import`): says what to do where Node is too old, instead of a syntax error from
// the first TypeScript file. Plain JavaScript of old Nodes, for that reason.
const [major] = process.versions.node.split(".");
if (Number(major) < 24) {
  const platform = `${process.platform}-${process.arch}`;
  process.stderr.write(
    `LMStack needs Node 24 or newer; this is ${process.versions.node} at ${process.execPath}.\n` +
      `npm ci brings Node 24 along for linux-x64, linux-arm64, darwin-x64 and win-x64 (this is ${platform}): run it again ` +
      "without --omit=optional. On other platforms install Node 24 (https://nodejs.org) and put it first in PATH.\n",
  );
  // oxlint-disable-next-line unicorn/no-process-exit -- the script that follows must not be loaded
  process.exit(1);
}
