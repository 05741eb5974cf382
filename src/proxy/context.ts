// What the request path needs from the rooms around it, handed in once.
import type { Clock } from "../clock.ts";
import type { PolicyName, RouterConfig } from "../config/types.ts";
import type { RequestQueue } from "../admission/queue.ts";
import type { Keys } from "../admission/key-files.ts";
import type { Console } from "../console/console.ts";
import type { ProgressWatch } from "../fleet/progress.ts";
import type { HealthMonitor } from "../fleet/health.ts";
import type { Registry } from "../fleet/registry.ts";
import type { BufferPool } from "../http/buffer-pool.ts";
import type { Sweeper } from "../http/sweeper.ts";
import type { RouterLog } from "../observe/log.ts";
import type { RouterMetrics } from "../observe/router-metrics.ts";
import type { Tracing } from "../observe/tracing.ts";
import type { Policy } from "../routing/policy.ts";
import type { Holds } from "./holds.ts";
import type { Panics } from "./panics.ts";
import type { Introductions } from "./introductions.ts";
import type { KvAware } from "./kv-aware.ts";
import type { LoadReports } from "./load-reports.ts";
import type { Prefixes } from "./prefixes.ts";
import type { MigrationBudget } from "./migration/budget.ts";
import type { ProxiedRequest } from "./proxied-request.ts";
import type { ResponseAffinity } from "./response-affinity.ts";
import type { RetryBudget } from "./retry-budget.ts";
import type { SpecimenCase } from "./specimens.ts";

export interface RouterContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly config: RouterConfig;
  readonly registry: Registry;
  readonly health: HealthMonitor;
  readonly progress: ProgressWatch;
  readonly keys: Keys;
  readonly metrics: RouterMetrics;
  readonly log: RouterLog;
  /** null = no collector is configured. */
  readonly tracing: Tracing | null;
  /** null = there is none. */
  readonly console: Console | null;
  readonly retryBudget: RetryBudget;
  readonly responses: ResponseAffinity;
  /** Streams that go on elsewhere: an engine that dies takes many at once, and each has a right to one more try. */
  readonly migrationRetries: RetryBudget;
  /** Memory of streams that may have to go on elsewhere. */
  readonly migrationBudget: MigrationBudget;
  /** Requests that have not ended, with their deadlines. */
  readonly active: Sweeper<ProxiedRequest>;
  /** Some that have. */
  readonly specimens: SpecimenCase;
  /** The part that a reload replaces. */
  readonly routing: { name: PolicyName; choose: Policy; sessionKey: string | null; othersShare: number };
  /** What engines say they hold. */
  readonly kv: KvAware;
  /** Which prompts were sent where. */
  readonly prefixes: Prefixes;
  /** Requests that wait for an endpoint of a model that has none. */
  readonly holds: Holds;
  /** Models whose ejected endpoints are used all the same. */
  readonly panics: Panics;
  /** Requests whose model engines have yet to tell. */
  readonly introductions: Introductions;
  /** What engines say of their load with their answers. */
  readonly loadReports: LoadReports;
  /** Requests that wait for room on an endpoint. */
  readonly queue: RequestQueue;
  /** Memory of request bodies. */
  readonly buffers: BufferPool;
  /** Request bodies held, all together. */
  bufferedBytes: number;
  /** To be called when the last request under way has ended: a moment for what would hold one up. */
  readonly onQuiet: () => void;
  /** Addresses whose X-Forwarded-For is believed. */
  readonly trusted: (address: string) => boolean;
}
