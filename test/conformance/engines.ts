// The engines behind a router under test: three of one model, one of another.
import { RawEngine } from "../helpers/raw-engine.ts";
import { engineCount, goodAnswer, model, otherModel } from "./stand.ts";

/** @param ports where they listen, in order; any free ports beyond the list */
export async function startEngines(ports: readonly number[]): Promise<RawEngine[]> {
  const engines = Array.from(
    { length: engineCount },
    (_, i) => new RawEngine({ models: [i < engineCount - 1 ? model : otherModel], handler: goodAnswer }),
  );
  await Promise.all(engines.map((engine, i) => engine.listen(ports[i] ?? 0)));
  return engines;
}
