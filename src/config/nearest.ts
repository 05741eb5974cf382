// The known name that a mistyped one was meant to be. Pure.

/** Edits between two words: insert, delete, replace, swap of neighbours. */
function distance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** The known name nearest to `word`, or `null` if none is near enough to have been meant. */
export function nearest(word: string, known: readonly string[]): string | null {
  const wanted = word.toLowerCase().replaceAll("_", "-");
  let best: string | null = null;
  let bestScore = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const name of known) {
    const other = name.toLowerCase().replaceAll("_", "-");
    // A beginning of the name is likelier meant than a word of the same length.
    const score = wanted.length >= 3 && other.startsWith(wanted) ? 1 : distance(wanted, other);
    if (score < bestScore) {
      best = name;
      bestScore = score;
    }
  }
  return best;
}
