// A pod -> the engine in it, if it takes requests. Pure. Only what the kubelet and the control plane have said counts:
// ready, with an address, not on its way out.
import type { EndpointSpec } from "../../../config/types.ts";
import { isPort, readFacts, type EngineFacts } from "./facts.ts";
import type { KubernetesObject } from "./list-watch.ts";

/** The fields of a pod that are looked at. */
export interface Pod extends KubernetesObject {
  readonly spec?: {
    readonly containers?: readonly {
      readonly ports?: readonly { readonly name?: string; readonly containerPort?: number }[];
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type?: string; readonly status?: string }[];
  };
}

/** What is kept of a pod or a Service. */
export interface Found {
  /** `ready`: an engine to use. `coming`: there will be one. `none`: finished, or on its way out. */
  readonly state: "ready" | "coming" | "none";
  /** Null unless ready. */
  readonly spec: EndpointSpec | null;
  /** Age, to tell which of two at one address is the later one. */
  readonly created: string;
  /** What is wrong with its annotations, in words. */
  readonly mistakes: readonly string[];
}

/** Names that the engine's container port goes by: the chart's, and everybody's. */
const portNames = ["container-port", "http"];

/** @param defaultPort of engines whose pod names none */
export function readPod(pod: Pod, defaultPort: number): Found {
  const { status } = pod;
  const facts = readFacts(pod);
  const { name, namespace, uid, creationTimestamp = "", deletionTimestamp } = pod.metadata;
  const mistakes = facts.mistakes.map((mistake) => `pod ${namespace}/${name}: ${mistake}`);
  const none = (state: "coming" | "none"): Found => ({ state, spec: null, created: creationTimestamp, mistakes: [] });
  if (deletionTimestamp !== undefined || status?.phase === "Succeeded" || status?.phase === "Failed")
    return none("none");
  const ready = status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True");
  const address = status?.podIP ?? "";
  if (ready !== true || address === "") return none("coming");
  const port = podPort(pod, facts, defaultPort);
  if (port === null)
    mistakes.push(`pod ${namespace}/${name}: no container port is called ${facts.port}; ${defaultPort} is used`);
  const host = address.includes(":") ? `[${address}]` : address;
  return {
    state: "ready",
    spec: specOf(`${facts.scheme}://${host}:${port ?? defaultPort}`, uid, facts),
    created: creationTimestamp,
    mistakes,
  };
}

export function specOf(url: string, identity: string, facts: EngineFacts): EndpointSpec {
  return {
    // as URLs are written, so that a default port is no other endpoint
    url: new URL(url).origin,
    models: facts.models,
    label: facts.label,
    modelType: null,
    identity,
    sleeping: facts.sleeping,
    ...(facts.modelsRevision === null ? {} : { modelsRevision: facts.modelsRevision }),
    ...(facts.kvEvents === null ? {} : { kvEvents: facts.kvEvents }),
  };
}

/** Null where the annotation names a port that is not there. */
function podPort(pod: Pod, facts: EngineFacts, defaultPort: number): number | null {
  const ports = (pod.spec?.containers ?? []).flatMap((container) => container.ports ?? []);
  const named = (wanted: string): number | undefined => ports.find(({ name }) => name === wanted)?.containerPort;
  if (facts.port !== null) return isPort(facts.port) ? Number(facts.port) : (named(facts.port) ?? null);
  return portNames.map(named).find((port) => port !== undefined) ?? defaultPort;
}
