// Reads values from what `/metrics` says, of a router or of an engine.

/** Value of one series; 0 = there is none. @param series with its labels as they are written */
export function valueOf(text: string, series: string): number {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}

/** Of all series of a name; `label` keeps those with this text among their labels. */
export function sumOf(text: string, name: string, label = ""): number {
  let sum = 0;
  for (const line of text.split("\n"))
    if (line.startsWith(`${name}{`) && line.includes(label)) sum += Number(line.slice(line.lastIndexOf(" ")));
  return sum;
}
