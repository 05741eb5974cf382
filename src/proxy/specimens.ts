// One ended request of each kind, kept for V8's sake. Optimised code refers weakly to the hidden classes of the objects that it
// works on. A full collection in a moment in which no request is under way finds none of those objects, drops their hidden
// classes and, with them, the code of the whole request path: the requests that come next run in the interpreter, and where few
// come, thousands of them over minutes.
import type { RelayRow } from "../api/table.ts";
import type { Attempt } from "./attempt.ts";
import type { Intake } from "./intake.ts";

/** Of one row of the table of paths. Whatever else a request is made of hangs on these. */
export class Specimens {
  /** The last one whose answer was no stream. */
  plain: Attempt | null = null;
  /** The last one whose answer was a stream. */
  stream: Attempt | null = null;
  /** The last one that was read: requests let go of it early. */
  intake: Intake | null = null;

  /** One that failed before its answer says nothing of relays, and must not take the place of one that does. */
  keep(attempt: Attempt): void {
    if (!attempt.committed) return;
    if (attempt.streaming) this.stream = attempt;
    else this.plain = attempt;
  }

  /** @param intake null = the request has let go of it already: it goes on elsewhere */
  keepIntake(intake: Intake | null): void {
    if (intake !== null) this.intake = intake;
  }
}

/** The specimens of all rows: as many as the table has, however many clients there are. */
export class SpecimenCase {
  readonly #rows = new Map<RelayRow, Specimens>();

  of(row: RelayRow): Specimens {
    let specimens = this.#rows.get(row);
    if (specimens === undefined) this.#rows.set(row, (specimens = new Specimens()));
    return specimens;
  }
}
