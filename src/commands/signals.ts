// Waiting to be told to stop.

/**
 * Resolves at the first signal, with a function that waits for the next one. The handlers stay: a second Ctrl-C that comes
 * before anybody waits for it must not end the process by itself, with its children still running.
 */
export function untilSignal(signals: readonly NodeJS.Signals[]): Promise<() => Promise<void>> {
  const waiting: (() => void)[] = [];
  const next = (): Promise<void> => new Promise((resolve) => waiting.push(resolve));
  for (const signal of signals) {
    process.on(signal, () => {
      for (const resolve of waiting.splice(0)) resolve();
    });
  }
  return next().then(() => next);
}
