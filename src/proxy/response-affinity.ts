// Which engine made which stored response: `/v1/responses/{id}` and `previous_response_id` make sense only there. Bounded:
// the oldest are forgotten, as engines forget them.

export class ResponseAffinity {
  readonly #engines = new Map<string, string>();
  readonly #max: number;

  constructor(max = 100_000) {
    this.#max = max;
  }

  remember(responseId: string, endpointId: string): void {
    this.#engines.delete(responseId);
    this.#engines.set(responseId, endpointId);
    if (this.#engines.size > this.#max) {
      for (const oldest of this.#engines.keys()) {
        this.#engines.delete(oldest);
        break;
      }
    }
  }

  find(responseId: string): string | undefined {
    return this.#engines.get(responseId);
  }
}
