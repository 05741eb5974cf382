// Several routers in front of the same engines, and no session ever on one router: with KV events each of them knows what the
// others have sent.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runConversations } from "../helpers/conversations.ts";

const shape = { engines: 4, sessions: 24, groups: 3, turns: 4, concurrency: 6, preset: "fast", speed: 1 };

test("four routers that follow KV events find what one router would find", async (t) => {
  const one = await runConversations(t, { ...shape, routers: 1, policy: "kvaware" });
  const four = await runConversations(t, { ...shape, routers: 4, policy: "kvaware" });
  t.diagnostic(`one: ${JSON.stringify(one)}; four: ${JSON.stringify(four)}`);
  assert.ok(four.hitRate > 0.9 * one.hitRate, `${four.hitRate} of ${one.hitRate}`);
  assert.ok(four.hitRate > 0.8 * four.ideal, `${four.hitRate} of ${four.ideal}`);
});
