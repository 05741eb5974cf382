// The one catalogue of options. Flags, environment, file, JSON Schema, `--help` and docs/configuration.md are made from
// it; an option that is not here does not exist. It must never import what reads values.

import { defaultOf, type Option, type OptionCommand, type OptionValue } from "../option.ts";
import { discoveryOptions } from "./discovery.ts";
import { benchOptions } from "./bench.ts";
import { endpointOptions } from "./endpoints.ts";
import { engineOptions } from "./engine.ts";
import { engineServerOptions } from "./engine-vllm.ts";
import { labOptions } from "./lab.ts";
import { listeningOptions } from "./listening.ts";
import { observingOptions } from "./observing.ts";
import { productionStackOptions } from "./production-stack.ts";
import { routingOptions } from "./routing.ts";
import { timingOptions } from "./timing.ts";

export const catalogue = {
  ...labOptions,
  ...benchOptions,
  ...endpointOptions,
  ...engineOptions,
  ...engineServerOptions,
  ...routingOptions,
  ...listeningOptions,
  ...timingOptions,
  ...observingOptions,
  ...discoveryOptions,
  ...productionStackOptions,
} as const satisfies Record<string, Option>;

export type OptionName = keyof typeof catalogue;

/** The value of every option, those of other commands at their default. */
export type OptionValues = {
  readonly [K in OptionName]: (typeof catalogue)[K] extends Option<infer T> ? T : never;
};

export const optionNames = Object.keys(catalogue) as OptionName[];

export function optionOf(name: OptionName): Option<OptionValue> {
  return catalogue[name];
}

export function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(catalogue, name);
}

export function optionsOf(command: OptionCommand): OptionName[] {
  return optionNames.filter((name) => optionOf(name).commands.includes(command));
}

export function defaultsFor(command: OptionCommand): OptionValues {
  const entries = optionNames.map((name) => [name, defaultOf(optionOf(name), command)]);
  // The keys are those of the catalogue and each value is of its option's type.
  return Object.fromEntries(entries) as OptionValues;
}
