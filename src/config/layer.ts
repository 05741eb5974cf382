// What one place (flags, environment, file) says of the options, raw and with its origin. `resolve.ts` lays the layers
// over each other. Types only.

import type { OptionName } from "./catalogue/index.ts";
import type { Origin, Problem } from "./problem.ts";

/** What one place says of one option. */
export interface Setting {
  readonly option: OptionName;
  readonly origin: Origin;
  /** Text as typed (several of a repeatable flag), or a value of a file. */
  readonly raw: { readonly texts: readonly string[] } | { readonly data: unknown };
}

export interface Layer {
  readonly settings: ReadonlyMap<OptionName, Setting>;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}
