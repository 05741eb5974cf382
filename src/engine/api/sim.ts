// The simulator's own routes under /sim: look inside, and tell it what should go wrong. Only there with `simApi`. No
// client of a real vLLM may ever need them.

import { ApiError } from "./errors.ts";
import type { EngineApp } from "./app.ts";
import type { Exchange } from "./exchange.ts";
import { cutVariants, isFaultName } from "./faults.ts";
import type { Fault } from "./faults.ts";
import { parseJsonBody } from "./json-body.ts";
import type { JsonObject } from "./validation.ts";

/** What only the server can do. */
export interface SimActions {
  apply(fault: Fault): void;
}

/** Answers a request under /sim; false when there is no such route. */
export function simRoute(app: EngineApp, exchange: Exchange, actions: SimActions): boolean {
  const { method, path } = exchange;
  if (path === "/sim/state" && method === "GET") exchange.json(200, app.state());
  else if (path === "/sim/faults" && method === "GET") exchange.json(200, { faults: app.faults.list() });
  else if (path === "/sim/faults" && method === "DELETE") clearFaults(app, exchange);
  else if (path === "/sim/faults" && method === "POST") postFault(app, exchange, actions);
  else return false;
  return true;
}

function clearFaults(app: EngineApp, exchange: Exchange): void {
  app.clearFaults();
  exchange.json(200, { faults: [] });
}

function postFault(app: EngineApp, exchange: Exchange, actions: SimActions): void {
  const body = parseJsonBody("application/json", exchange.body);
  if (body["fault"] === "none") {
    clearFaults(app, exchange);
    return;
  }
  const fault = readFault(body);
  exchange.json(200, { fault });
  actions.apply(fault);
}

function readFault(body: JsonObject): Fault {
  const name = body["fault"];
  if (typeof name !== "string" || !isFaultName(name)) {
    throw new ApiError(400, "BadRequestError", `there is no fault named ${JSON.stringify(name)}`, "fault");
  }
  const number = (field: string): number | undefined => {
    const value = body[field];
    if (value === undefined || value === null) return undefined;
    if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
    throw new ApiError(400, "BadRequestError", `${field} must be a number, at least 0`, field);
  };
  const variant = cutVariants.find((entry) => entry === body["variant"]);
  if (variant === undefined && body["variant"] !== undefined) {
    throw new ApiError(400, "BadRequestError", `variant must be one of ${cutVariants.join(", ")}`, "variant");
  }
  const status = number("status");
  const share = number("share");
  const seconds = number("seconds");
  const after = number("after");
  const retryAfter = number("retryAfter") ?? number("retry_after");
  return {
    fault: name,
    ...(status === undefined ? {} : { status }),
    ...(share === undefined ? {} : { share }),
    ...(seconds === undefined ? {} : { seconds }),
    ...(variant === undefined ? {} : { variant }),
    ...(after === undefined ? {} : { after }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  };
}
