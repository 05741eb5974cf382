// A Service -> one endpoint that stands for all the engines behind it. Pure.
import { isPort, readFacts } from "./facts.ts";
import type { KubernetesObject } from "./list-watch.ts";
import { specOf, type Found } from "./pod.ts";

/** The fields of a Service that are looked at. */
export interface Service extends KubernetesObject {
  readonly spec?: {
    readonly ports?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string }[];
  };
}

/** Names that the port of engines goes by: the chart's, and everybody's. */
const portNames = ["service-port", "http"];

export function readService(service: Service): Found {
  const facts = readFacts(service);
  const { name, namespace, uid, creationTimestamp = "", deletionTimestamp } = service.metadata;
  const mistakes = facts.mistakes.map((mistake) => `service ${namespace}/${name}: ${mistake}`);
  const none: Found = { state: "none", spec: null, created: creationTimestamp, mistakes };
  if (deletionTimestamp !== undefined) return none;
  const ports = (service.spec?.ports ?? []).filter(({ protocol }) => protocol === undefined || protocol === "TCP");
  const named = (wanted: string): number | undefined => ports.find((port) => port.name === wanted)?.port;
  const said = facts.port === null ? undefined : isPort(facts.port) ? Number(facts.port) : named(facts.port);
  if (facts.port !== null && said === undefined)
    mistakes.push(`service ${namespace}/${name}: no port is called ${facts.port}`);
  const port = said ?? portNames.map(named).find((found) => found !== undefined) ?? ports[0]?.port;
  if (port === undefined) return none;
  return {
    state: "ready",
    spec: specOf(`${facts.scheme}://${name}.${namespace}.svc:${port}`, uid, facts),
    created: creationTimestamp,
    mistakes,
  };
}
