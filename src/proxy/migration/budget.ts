// The memory that streams may take, all together, for being able to go on elsewhere. Whoever takes gives back the same.

export class MigrationBudget {
  readonly #limitBytes: number;
  #usedBytes = 0;

  /** @param limitBytes 0 = nothing is kept */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** A request whose body is longer than this is not kept: one of them must not take the place of all others. */
  get maxBodyBytes(): number {
    return this.#limitBytes / 64;
  }

  take(bytes: number): boolean {
    if (this.#usedBytes + bytes > this.#limitBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
  }
}
