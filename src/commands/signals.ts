// Waiting to be told to stop.

/** Resolves at the first signal, with a function that waits for the next one. */
export function untilSignal(signals: readonly NodeJS.Signals[]): Promise<() => Promise<void>> {
  const next = (): Promise<void> =>
    new Promise((resolve) => {
      const stop = (): void => {
        for (const signal of signals) process.off(signal, stop);
        resolve();
      };
      for (const signal of signals) process.on(signal, stop);
    });
  return next().then(() => next);
}
