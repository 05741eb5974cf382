// Step-time presets: how long one engine step takes on a named model and GPU set. Bottom of the engine core; pure data
// and one formula. It must never read a clock or a file: a custom preset is handed in as a value.

/** Coefficients of one step, in microseconds, and the size of the paged cache. */
export interface Preset {
  readonly id: string;
  /** Fixed cost of a step, microseconds. */
  readonly b0Us: number;
  /** Cost per prompt token computed in the step, microseconds. */
  readonly b1Us: number;
  /** Cost per decoded token, microseconds. */
  readonly b2Us: number;
  /** Cost per KV token attended to by decodes, microseconds; zero where nobody fitted it. */
  readonly b3Us: number;
  /** Prompt tokens of a step beyond this many cost {@link b1AboveUs} each: compute, and no longer memory, sets the pace. */
  readonly kneeTokens?: number;
  readonly b1AboveUs?: number;
  /**
   * Measured steps that decode so many tokens, as [tokens, microseconds] in rising order, where no one line fits them: takes
   * the place of b0 and b2 in steps that decode. Between two points the line through them holds, and beyond the last two too.
   */
  readonly decodeStepUs?: readonly (readonly [tokens: number, us: number])[];
  /** What the API server does with a request before the engine sees it, one request after the other, microseconds. */
  readonly requestUs?: number;
  /** Fetching a prompt token's keys and values from another engine, microseconds. */
  readonly transferUs?: number;
  /** Blocks of 16 tokens in the KV cache, the reserved null block included. */
  readonly kvBlocks: number;
}

const preset = (id: string, b0Us: number, b1Us: number, b2Us: number, kvBlocks: number): Preset => ({
  id,
  b0Us,
  b1Us,
  b2Us,
  b3Us: 0,
  kvBlocks,
});

/** Coefficients fitted by the BLIS project on vLLM 0.8 to 0.10. `fast` is not a machine: it makes tests short. */
const presets: readonly Preset[] = [
  preset("llama-3.1-8b-1xh100", 5753, 17.25, 6, 29_205),
  preset("qwen2.5-7b-2xh100", 5700, 25.09, 13.86, 303_840),
  preset("phi-4-1xh100", 4406, 47.41, 23.36, 14_645),
  preset("llama-3.3-70b-4xh100", 12_601, 76.42, 66.84, 128_273),
  preset("llama-3.3-70b-8xh100", 14_141, 10.03, 19.4, 728_405),
  preset("gpt-oss-120b-4xh100", 5604, 21.07, 7.36, 3_090_344),
  // Fitted by us, within 10 %, to the points that Splitwise measured: prompts of 512 to 8192 tokens, decodes of 1 to 64.
  // The cache is what 80 GB a card leave beside 140 GB of weights.
  { ...preset("llama-2-70b-8xh100", 29_500, 49.5, 290, 83_000), kneeTokens: 2118, b1AboveUs: 119 },
  preset("fast", 50, 0.01, 0.01, 29_205),
];

/** Names of the presets, for messages. */
export const presetIds: readonly string[] = presets.map(({ id }) => id);

export const defaultPresetId = "llama-3.1-8b-1xh100";

/** The preset with this id, or undefined; the caller words the error. */
export function findPreset(id: string): Preset | undefined {
  return presets.find((entry) => entry.id === id);
}

/** Duration of one step in milliseconds of model time. */
export function stepMs(model: Preset, prefillTokens: number, decodeTokens: number, attendedTokens: number): number {
  const below = Math.min(prefillTokens, model.kneeTokens ?? prefillTokens);
  const prefillUs = model.b1Us * below + (model.b1AboveUs ?? model.b1Us) * (prefillTokens - below);
  return (decodeUs(model, decodeTokens) + prefillUs + model.b3Us * attendedTokens) / 1000;
}

/** The fixed part of a step and its decodes. */
function decodeUs(model: Preset, tokens: number): number {
  const points = model.decodeStepUs;
  if (points === undefined || tokens === 0) return model.b0Us + model.b2Us * tokens;
  const found = points.findIndex(([at]) => at >= tokens);
  const right = found < 0 ? points.length - 1 : found;
  // a step without decodes is the point before the first one
  const [x0, y0] = points[right - 1] ?? [0, model.b0Us];
  const [x1, y1] = points[right] ?? [1, model.b0Us];
  // beyond falling points a line comes to nothing at last
  return Math.max(0, y0 + ((y1 - y0) * (tokens - x0)) / (x1 - x0));
}
