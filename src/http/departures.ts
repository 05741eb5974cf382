// Messages that come in one turn of the event loop leave together at its end, where turns bring many. Reading and routing a
// request runs other code than sending it, each more than the processor's first caches hold: all requests of a turn routed, and
// then all sent, cost a sixth less than one after the other (see docs/decisions/0013-messages-leave-together.md). A message that
// is alone in its turn gains nothing by waiting, so where turns bring one only, messages leave at once.

/** Whatever has kept a message back. */
export interface Departing {
  /** Sends what waits, if anything still does. */
  leave(): void;
}

/** So many at most wait for each other: the first would wait longer than sending all of them takes. */
const most = 32;
/** After so many turns in a row with one message only, messages leave at once, */
const aloneTurns = 4;
/** and so many of them do before a turn is looked at again; if it brings one only, as many more. */
const restMessages = 1024;

export class Departures {
  readonly #atEndOfTurn: (fn: () => void) => void;
  #waiting: Departing[] = [];
  /** How many were added in this turn: those that wait, and those that have left because they were too many. */
  #ofTurn = 0;
  /** Turns in a row that brought one message only. */
  #alone = 0;
  /** So many messages leave at once before a turn is looked at again. */
  #resting = 0;

  /** @param atEndOfTurn calls a function once, behind all reads of this turn */
  constructor(atEndOfTurn: (fn: () => void) => void) {
    this.#atEndOfTurn = atEndOfTurn;
  }

  /** To be asked once for each message. @returns false = it leaves at once */
  gathers(): boolean {
    if (this.#resting === 0) return true;
    this.#resting--;
    return false;
  }

  add(departing: Departing): void {
    this.#waiting.push(departing);
    if (++this.#ofTurn === 1) this.#atEndOfTurn(this.#endTurn);
    if (this.#waiting.length === most) this.#leave();
  }

  readonly #endTurn = (): void => {
    this.#alone = this.#ofTurn === 1 ? this.#alone + 1 : 0;
    this.#ofTurn = 0;
    if (this.#alone === aloneTurns) {
      this.#alone--;
      this.#resting = restMessages;
    }
    this.#leave();
  };

  #leave(): void {
    const leaving = this.#waiting;
    this.#waiting = [];
    for (const departing of leaving) departing.leave();
  }
}

/** One for all connections, as there is one event loop: what a read brings is followed by `setImmediate`. */
export const departures = new Departures(setImmediate);
