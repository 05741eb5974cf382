// Ties discovery to what can be seen of it: log lines and metrics.
import type { Clock } from "../clock.ts";
import type { RouterConfig } from "../config/types.ts";
import { Discovery } from "../fleet/discovery/discovery.ts";
import type { HealthMonitor } from "../fleet/health.ts";
import type { Registry } from "../fleet/registry.ts";
import type { RouterLog } from "../observe/log.ts";
import type { RouterMetrics } from "../observe/router-metrics.ts";

export interface DiscoveryRooms {
  readonly clock: Clock;
  readonly random: () => number;
  readonly config: RouterConfig;
  readonly registry: Registry;
  readonly health: HealthMonitor;
  readonly metrics: RouterMetrics;
  readonly log: RouterLog;
}

/** It finds nothing until its `apply` is called. */
export function startDiscovery(rooms: DiscoveryRooms): Discovery {
  const { metrics, log } = rooms;
  const failures = metrics.registry.value("lmstack_discovery_failures_total");
  const updates = metrics.registry.value("lmstack_discovery_updates_total").child();
  const stale = metrics.registry.value("lmstack_discovery_stale_seconds").child();
  const discovery = new Discovery({
    ...rooms,
    onFailure: (problem) => failures.child(problem).value++,
    onComplaint: (text) => log.error(`discovery: ${text}`),
    onRecovery: (text) => log.info(`discovery: ${text}`),
    onUpdate: () => updates.value++,
  });
  metrics.registry.onScrape(() => (stale.value = discovery.staleSeconds));
  return discovery;
}
