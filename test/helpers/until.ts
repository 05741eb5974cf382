// Waiting for a condition that this process can see. There are no sleeps in the tests: a wait ends as soon as what it waits
// for has happened, and says what it waited for when that never comes.

/**
 * Resolves when `condition` gives true.
 * @param what completes the sentence "gave up waiting until ..."
 */
export async function until(condition: () => boolean, what: string, timeoutMs = 20_000): Promise<void> {
  const start = performance.now();
  for (let turn = 0; !condition(); turn++) {
    if (performance.now() - start > timeoutMs) throw new Error(`gave up waiting until ${what}`);
    // a few turns of the loop at once, then without burning a core that other tests need
    await new Promise<void>((resolve) => (turn < 50 ? setImmediate(resolve) : setTimeout(resolve, 1)));
  }
}

/** Lets the loop turn: everything that sockets of this process have sent so far arrives. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}
