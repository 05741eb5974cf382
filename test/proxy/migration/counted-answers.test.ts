// Rows C2 and A11 with --inject-stream-usage: of a stream that goes on at another engine the whole answer is counted, once, and
// its client sees usage only where it has asked for that.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, assertSame, chat, completion, deathsOf, stage, told } from "./stage.ts";

/** What a client says of usage. */
const wishes: Readonly<Record<string, object | undefined>> = {
  "says nothing of usage": undefined,
  "wants no usage": { include_usage: false, continuous_usage_stats: true },
  "asks for usage": { include_usage: true },
};

for (const [api, question] of Object.entries({ chat, completion })) {
  for (const [wish, options] of Object.entries(wishes)) {
    for (const deaths of [1, 2]) {
      test(`C2, A11: with --inject-stream-usage a ${api} whose client ${wish} is whole and counted once after ${deaths} deaths`, async (t) => {
        // Found by this test: of an answer that had gone on elsewhere no tokens were counted, whoever had asked for them.
        const { router, cuts, proxies } = await stage(t, ["--inject-stream-usage"], {}, {}, 3);
        const body = { ...question, max_tokens: 12, stream_options: options };
        const counts = (): number[] =>
          ["prompt_tokens_total", "generated_tokens_total", "usage_total", "usage_total"].map((name, i) => {
            const label = name === "usage_total" ? `,usage="${i === 2 ? "present" : "absent"}"` : "";
            return router.metric(`lmstack_${name}{model="m"${label}}`);
          });
        const counted = async (): Promise<number[]> => {
          await router.idle();
          return counts();
        };
        const wanted = told(await ask(router, body));
        const [prompt = 0, generated = 0] = await counted();
        assert.deepEqual([generated, ...(await counted()).slice(2)], [12, 1, 0]);
        assert.equal(wanted.usage !== undefined, wish === "asks for usage");

        const places = await deathsOf(proxies[0]?.port ?? 0, { ...body, stream_options: { include_usage: true } });
        let answers = 1;
        for (const [event, bytes] of places.entries()) {
          cuts.length = 0;
          for (let death = 0; death < deaths; death++) cuts.push({ bytes, how: event % 2 === 0 ? "reset" : "end" });
          const response = await ask(router, body);
          assertSame(told(response), wanted, `cut after event ${event}: ${response.text}`);
          answers++;
          assert.deepEqual(
            await counted(),
            [prompt * answers, generated * answers, answers, 0],
            `cut after event ${event}: ${response.text}`,
          );
        }
        assert.ok(router.metric('lmstack_migrations_total{cause="reset",result="continued"}') >= 10);
        assert.equal(router.context.migrationBudget.usedBytes, 0);
      });
    }
  }
}
