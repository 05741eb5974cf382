// Which engine made which stored response: `/v1/responses/{id}` and `previous_response_id` make sense only there. Bounded:
// the oldest are forgotten, as engines forget them.
import { LmstackError } from "../errors/catalogue.ts";
import type { Endpoint } from "../fleet/endpoint.ts";
import type { Registry } from "../fleet/registry.ts";

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

/** What may stand in a path towards an engine without having been given out by one: engines decode `%2f`. */
const plainId = /^[\w-]{1,200}$/;

/**
 * The engine that holds a stored response.
 * @param model null = the request names none
 * @throws LmstackError `response_not_found`
 */
export function storedAt(
  { responses, registry }: { readonly responses: ResponseAffinity; readonly registry: Registry },
  wanted: string,
  model: string | null,
): Endpoint {
  const id = responses.find(wanted);
  const endpoint = id !== undefined ? registry.find(id) : plainId.test(wanted) ? onlyOne(registry, model) : undefined;
  if (endpoint !== undefined) return endpoint;
  const shown = JSON.stringify(wanted.slice(0, 100));
  throw new LmstackError("response_not_found", `The response ${shown} is not held by any engine here.`);
}

/** Where there is only one engine it holds what this process knows nothing of: it was asked by another, or before a restart. */
function onlyOne(registry: Registry, model: string | null): Endpoint | undefined {
  const possible =
    model === null ? registry.list().filter((endpoint) => !endpoint.leaving) : (registry.serving(model) ?? []);
  return possible.length === 1 ? possible[0] : undefined;
}
