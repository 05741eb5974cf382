// The order of the windows: candidates take turns, so that a slow drift of the machine falls on all of them alike, and a
// window that somebody else disturbed is repeated at once, beside the ones that it is compared with.

/** What decides whether a window counts. */
export interface Judged {
  readonly foreignCores: number;
  readonly failure?: string;
}

/** One turn: the windows of all candidates that lie side by side in time. A candidate without a good one is missing. */
export type Round<Key extends string, W> = ReadonlyMap<Key, W>;

export interface Rounds<Key extends string, W> {
  readonly rounds: readonly Round<Key, W>[];
  /** Windows in which others kept more than the limit busy. */
  readonly thrownAway: number;
  /** Windows with a failed request; each of them is a finding. */
  readonly failures: readonly string[];
}

export interface RoundsOptions<Key extends string, W> {
  readonly count: number;
  readonly keys: readonly Key[];
  readonly foreignLimit: number;
  readonly measure: (key: Key) => Promise<W>;
  /** Told of every window and of what became of it. */
  readonly onWindow: (round: number, key: Key, window: W, verdict: string) => void;
  /** Called after a window that others disturbed: waits, within bounds, for them to be done. */
  readonly untilQuiet: () => Promise<void>;
  /** True once no more time is to be spent. */
  readonly outOfTime: () => boolean;
}

/** Repeats that a load may spend per window that it wants, so that a busy machine ends the run and not the reverse. */
const RETRIES_PER_WINDOW = 2;

export async function runRounds<Key extends string, W extends Judged>(
  options: RoundsOptions<Key, W>,
): Promise<Rounds<Key, W>> {
  const { count, keys, foreignLimit, measure, onWindow, untilQuiet, outOfTime } = options;
  let retriesLeft = RETRIES_PER_WINDOW * count * keys.length;
  let thrownAway = 0;
  const failures: string[] = [];
  const rounds: Map<Key, W>[] = [];
  for (let round = 0; round < count && !outOfTime(); round++) {
    const good = new Map<Key, W>();
    rounds.push(good);
    for (const key of keys) {
      for (;;) {
        const window = await measure(key);
        if (window.failure !== undefined) failures.push(`${key}: ${window.failure}`);
        else if (window.foreignCores > foreignLimit) thrownAway++;
        else good.set(key, window);
        onWindow(round, key, window, verdictOf(window, foreignLimit));
        if (good.has(key) || retriesLeft-- <= 0 || outOfTime()) break;
        if (window.failure === undefined) await untilQuiet();
      }
    }
  }
  return { rounds, thrownAway, failures };
}

function verdictOf(window: Judged, foreignLimit: number): string {
  if (window.failure !== undefined) return `invalid: ${window.failure}`;
  return window.foreignCores > foreignLimit ? "thrown away" : "";
}
