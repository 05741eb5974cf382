// Keys that several parts of the chart have in common.
import { flag, integer, listOf, object, quantity, raw, text, texts, type Keys, type Value } from "./value.ts";

export interface ProbeDefaults {
  readonly path: string;
  readonly initialDelaySeconds: number;
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
}

/** A probe; a default of null leaves every key to somebody else. */
export function probe(help: string, defaults: ProbeDefaults | null): Value {
  return object(help, {
    initialDelaySeconds: integer("Wait so long before the first try.", defaults?.initialDelaySeconds),
    periodSeconds: integer("Time between two tries.", defaults?.periodSeconds, 1),
    timeoutSeconds: integer("Time limit of one try.", defaults?.timeoutSeconds, 1),
    successThreshold: integer("So many successes in a row make it good again.", undefined, 1),
    failureThreshold: integer("So many failures in a row make it bad.", defaults?.failureThreshold, 1),
    terminationGracePeriodSeconds: integer("Grace of the restart that a failure leads to.", undefined, 1),
    httpGet: object("What is asked.", {
      path: text("Path.", defaults?.path),
      port: quantity("Port; the container's own if it is not said."),
      scheme: text("HTTP or HTTPS."),
      httpHeaders: raw("list", "Headers."),
      host: text("Host; the pod if it is not said."),
    }),
  });
}

export function pdb(help: string): Value {
  return object(help, {
    enabled: flag("Make one.", false),
    labels: texts("Further labels."),
    annotations: texts("Annotations."),
    minAvailable: quantity("So many must stay, as a number or a percentage."),
    maxUnavailable: quantity("So many may be missing. 1 if neither is said."),
  });
}

export function serviceMonitor(help: string): Value {
  return object(help, {
    enabled: flag("Make one. Needs the Prometheus operator.", false),
    additionalLabels: texts("Labels by which your Prometheus selects it.", {}),
    interval: text("Time between two scrapes.", "30s"),
    scrapeTimeout: text("Time limit of a scrape.", "25s"),
    honorLabels: flag("Keep labels of the target where they collide.", false),
    metricRelabelings: raw("list", "Relabeling of what was scraped.", []),
    relabelings: raw("list", "Relabeling of targets.", []),
  });
}

export const routeKeys: Keys = {
  enabled: flag("Make it. Needs the Gateway API."),
  apiVersion: text("`gateway.networking.k8s.io/v1` if it is not said."),
  kind: text("`HTTPRoute` if it is not said."),
  annotations: texts("Annotations."),
  labels: texts("Further labels."),
  hostnames: raw("list", "Host names; templates are rendered."),
  parentRefs: raw("list", "Gateways."),
  httpsRedirect: flag("Redirect to https instead of passing on."),
  matches: raw("list", "Matches of the rule; every path if it is not said."),
  filters: raw("list", "Filters of the rule."),
  additionalRules: raw("list", "Rules before ours; templates are rendered."),
  timeouts: raw("map", "Timeouts of the rule. None, since answers may take long."),
};

/** What the pods of the router and of engines have in common. */
export const podKeys: Keys = {
  topologySpreadConstraints: raw("list", "How pods are spread over zones and nodes.", []),
  initContainers: raw("list", "Further init containers.", []),
  sidecars: raw("list", "Further containers of the pod.", []),
  hostAliases: raw("list", "Entries of /etc/hosts.", []),
  dnsConfig: raw("map", "DNS settings of the pod.", {}),
  revisionHistoryLimit: integer("Old revisions that are kept for a rollback.", 10),
};

export function resources(help: string, fallback?: unknown): Value {
  return raw("map", help, fallback);
}

export const ingressHosts = listOf("Hosts.", {
  host: text("Host name."),
  paths: listOf("Paths.", { path: text("Path."), pathType: text("`Prefix` if it is not said.") }),
});
