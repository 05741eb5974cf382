// What to tell a person whose service account may not read what discovery reads: the right by name, and the rule to add.

/** A collection of the API, and what RBAC calls it. */
export interface Collection {
  readonly path: string;
  readonly resource: "pods" | "services";
  /** `null` = all namespaces. */
  readonly namespace: string | null;
}

export function collectionOf(resource: "pods" | "services", namespace: string): Collection {
  const all = namespace === "*";
  return {
    path: all ? `/api/v1/${resource}` : `/api/v1/namespaces/${namespace}/${resource}`,
    resource,
    namespace: all ? null : namespace,
  };
}

/** @param message what the API server said */
export function missingRight(verb: "list" | "watch", { resource, namespace }: Collection, message: string): string {
  const user = /User "([^"]+)"/.exec(message)?.[1];
  const where = namespace === null ? "in all namespaces" : `in namespace ${namespace}`;
  const kind = namespace === null ? "a ClusterRole" : `a Role of namespace ${namespace}`;
  const rule = `{apiGroups: [""], resources: [${resource}], verbs: [list, watch]}`;
  return `${user ?? "the router"} may not ${verb} ${resource} ${where}: add to ${kind} that is bound to it the rule ${rule}`;
}
