// docs/configuration.md: every option, the files, the rules of precedence. Pure: catalogue in, text out.

import { productionStackFlags } from "../catalogue/compatibility.ts";
import { isOptionName, optionNames, optionOf, type OptionName } from "../catalogue/index.ts";
import { dynamicKeys, modelKeys } from "../dynamic-file.ts";
import { defaultText } from "../help.ts";
import { environmentName, optionGroups, type Option, type optionCommands } from "../option.ts";
import { code, generatedNote, table } from "./markdown.ts";

export function configurationPage(): string {
  return [
    generatedNote("src/config/catalogue/"),
    "# Configuration",
    "",
    "Every option is a flag, an environment variable and a key of the file that `--config` names.",
    "",
    "**Precedence**: flag, then environment, then file, then default. A flag that is given twice counts as given last, so what is appended wins; the ones marked *repeatable* add up instead. An empty variable counts as not set.",
    "",
    "**Values**: durations are seconds and may have a unit (`30`, `0.5`, `500ms`, `2m`); lists have commas between their entries, in the file they may also be YAML lists; options that are on or off have a `--no-` form as well, which undoes the environment or the file.",
    "",
    "**Mistakes** end with exit code 2 and one line that names the option, the value, the reason and the way out. An unknown flag or key is a mistake; an unknown `LMSTACK_` variable is a warning, since Kubernetes sets variables of that form for Services.",
    "",
    ...optionGroups.flatMap(groupSection),
    ...fileSection(),
    ...dynamicSection(),
    ...compatibilitySection(),
  ].join("\n");
}

function groupSection(group: (typeof optionGroups)[number]): string[] {
  const names = optionNames.filter((name) => optionOf(name).group === group);
  return [
    `## ${group}`,
    "",
    ...table(
      ["Flag", "Environment", "Commands", "Default", "Unit", "Meaning", "State"],
      names.map((name) => {
        const option = optionOf(name);
        return [
          code(`--${name}${option.placeholder === "" ? "" : ` ${option.placeholder}`}`),
          code(environmentName(name)),
          option.commands.join(", "),
          defaults(name),
          option.unit ?? "",
          option.help + (option.repeatable ? " Repeatable." : ""),
          stateText(option),
        ];
      }),
    ),
    "",
  ];
}

/** `8001; up 30080; engine 8000` */
function defaults(name: OptionName): string {
  const option = optionOf(name);
  const [first = "router", ...others] = option.commands;
  const shown = (command: (typeof optionCommands)[number]): string => {
    const text = defaultText(name, command);
    if (text !== null) return code(text);
    return option.kind === "boolean" && option.default === false ? "off" : "none";
  };
  const base = shown(first);
  const differing = others
    .filter((command) => shown(command) !== base)
    .map((command) => `${command} ${shown(command)}`);
  return [base, ...differing].join("; ");
}

function stateText(option: Option): string {
  const refusals = option.refusals.map(({ when, why }) => {
    if (when === "set") return `refused: ${why}`;
    const values = "is" in when ? when.is.map(code).join(", ") : `all but ${when.isNot.map(code).join(", ")}`;
    return `${values} refused: ${why}`;
  });
  if (option.refusals.some(({ when }) => when === "set")) return refusals.join("; ");
  return [option.state, ...refusals].join("; ");
}

function fileSection(): string[] {
  return [
    "## The file of `--config`",
    "",
    "One map; keys are flag names, with dashes or underscores. [config.schema.json](config.schema.json) describes it to editors. `lmstack check config FILE` says what is wrong in it.",
    "",
    "```yaml",
    "static-backends: [http://10.0.0.1:8000, http://10.0.0.2:8000]",
    "routing-logic: session",
    "api-key-file: /etc/lmstack/keys",
    "drain-timeout-seconds: 2m",
    "```",
    "",
  ];
}

function dynamicSection(): string[] {
  return [
    "## The dynamic file",
    "",
    "`--dynamic-config-yaml FILE` or `--dynamic-config-json FILE`: engines, aliases and policy, watched while the router runs. A change is seen at once where the file system tells, else within 10 s. It is checked as a whole and swapped in as a whole; one that is wrong is reported and the old stays in force, and so it is with a file that vanishes. Requests under way are not touched: those of a removed engine end on it.",
    "",
    "```yaml",
    "service_discovery: static",
    "routing_logic: roundrobin",
    "static_models:",
    "  facebook/opt-125m:",
    "    static_backends: [http://127.0.0.1:8001, http://127.0.0.1:8002]",
    "    static_model_type: completion",
    "static_aliases: {my-alias: facebook/opt-125m}",
    "```",
    "",
    "As JSON it is flat:",
    "",
    "```json",
    '{"service_discovery": "static", "routing_logic": "roundrobin",',
    ' "static_backends": "http://127.0.0.1:8001,http://127.0.0.1:8002",',
    ' "static_models": "facebook/opt-125m,facebook/opt-125m",',
    ' "static_aliases": "my-alias:facebook/opt-125m"}',
    "```",
    "",
    `Both forms are read in both formats. Below a model: ${modelKeys.map(code).join(", ")}. A URL below several models is one engine that serves them all.`,
    "",
    ...table(
      ["Key", "Required", "Same as", "State"],
      Object.entries(dynamicKeys).map(([key, option]) => [
        code(key),
        key === "service_discovery" || key === "routing_logic" ? "yes" : "",
        code(`--${option}`),
        stateText(optionOf(option)),
      ]),
    ),
    "",
  ];
}

function compatibilitySection(): string[] {
  return [
    "## Flags of production-stack",
    "",
    "All flags of production-stack's router (chart 0.1.12) are known. *not yet* and *no effect* ones are accepted with a warning; *refused* ones end with an error, since going on without them would do something else than was asked.",
    "",
    ...table(
      ["Flag", "Default there", "Default here", "State"],
      Object.entries(productionStackFlags).flatMap(([name, there]) =>
        isOptionName(name)
          ? [
              [
                code(`--${name}`),
                there === null || there === "" ? "none" : code(there),
                defaults(name),
                stateText(optionOf(name)),
              ],
            ]
          : [],
      ),
    ),
    "",
  ];
}
