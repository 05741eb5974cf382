// Models of which more than half of the endpoints are out, so that ejection is ignored: what is said of it in the log, when it
// begins and when it is over. In metrics `lmstack_endpoints` has the numbers.
import type { RouterLog } from "../observe/log.ts";

export class Panics {
  readonly #log: RouterLog;
  readonly #models = new Set<string>();

  constructor(log: RouterLog) {
    this.#log = log;
  }

  began(model: string, ejected: number, endpoints: number): void {
    if (this.#models.has(model)) return;
    this.#models.add(model);
    const out = `${ejected} of ${endpoints} engines are out`;
    this.#log.warn(`model ${model}: ${out}, which is ignored: requests go to them too`, { model });
  }

  over(model: string): void {
    if (this.#models.size === 0 || !this.#models.delete(model)) return;
    this.#log.info(`model ${model}: half of the engines or more are back, those that are out get no requests`, {
      model,
    });
  }
}
