// Hit rate with one, two and four routers in front of the same four simulated engines, in real time: conversations that share
// system prompts, each turn through another router. Read by people, never a gate.
//
//   npm run bench:replicas
import { test } from "node:test";
import { runConversations } from "../helpers/conversations.ts";

const shape = {
  engines: 4,
  sessions: 100,
  groups: 5,
  turns: 6,
  concurrency: 24,
  preset: "llama-3.3-70b-4xh100",
  speed: 4,
};
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const kinds = [
  { policy: "leastload", told: false },
  { policy: "prefixaware", told: false },
  { policy: "prefixaware", told: true },
  { policy: "kvaware", told: false },
] as const;

for (const { policy, told } of kinds) {
  for (const routers of told ? [2, 4] : [1, 2, 4]) {
    test(`${policy}${told ? " with --router-replicas" : ""}, ${routers} router${routers === 1 ? "" : "s"}`, async (t) => {
      const { hitRate, ideal, imbalance } = await runConversations(t, { ...shape, routers, policy, told });
      t.diagnostic(`hit rate ${percent(hitRate)} of at most ${percent(ideal)}, busiest/mean ${imbalance.toFixed(2)}`);
    });
  }
}
