// What a key of the values does, as a row of a table: keys, values, where to look, what is there. Without the values it must
// not be there, or the row proves nothing.
import type { Json, Rendered, Workload } from "../render.ts";

export interface Effect {
  /** Keys that it covers, below the section. */
  readonly keys: string;
  /** Set in the section: for `model` in an entry of modelSpec. */
  readonly values: object;
  /** Beside the section, at the top of the values. */
  readonly also?: object;
  readonly see: (rendered: Rendered, model: string) => Json;
  readonly expect: Json;
}

/** Engines of the one model that most values have. */
export const engine = (r: Rendered): Workload => r.engine("opt125m");
