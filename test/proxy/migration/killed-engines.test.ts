// Row C2 at the size that counts: engines that are processes, killed with -9 under a hundred streams, one after the other.
import assert from "node:assert/strict";
import { test } from "node:test";
import { post } from "../../helpers/http-client.ts";
import { startLmstack } from "../../helpers/process.ts";
import { startTestRouter } from "../../helpers/router.ts";
import { until } from "../../helpers/until.ts";
import { told } from "./stage.ts";

test("C2: of a hundred streams whose engines are killed with -9, one after the other, each is the whole answer", async (t) => {
  // slow enough, and evenly enough asked, that a busy machine has a third of the streams on each of them at one time
  const argv = ["engine", "--host", "127.0.0.1", "--port", "0", "--model", "m", "--speed", "0.1"];
  const engines = await Promise.all(Array.from({ length: 3 }, () => startLmstack(t, argv)));
  const urls = engines.map(({ url }) => url).join(",");
  const router = await startTestRouter(t, ["--static-backends", urls, "--routing-logic", "roundrobin"]);
  const asked = { model: "m", stream: true, max_tokens: 30, stream_options: { include_usage: true } };
  const visits = Array.from({ length: 100 }, (_, i) =>
    i % 2 === 0
      ? post(router.port, "/v1/chat/completions", {
          ...asked,
          messages: [{ role: "user", content: "Tell me of rivers." }],
        })
      : post(router.port, "/v1/completions", { ...asked, prompt: "Once upon a time" }),
  );
  const endpoints = router.context.registry.list();
  for (const doomed of [0, 1]) {
    await until(() => (endpoints[doomed]?.running ?? 0) >= 20, `streams run on engine ${doomed}`);
    engines[doomed]?.child.kill("SIGKILL");
    await until(() => endpoints[doomed]?.inFlight === 0, `engine ${doomed} has lost its streams`);
  }
  const answers = (await Promise.all(visits)).map(told);
  for (const [i, { text, usage, finish, roles }] of answers.entries()) {
    const first = answers[i % 2];
    assert.deepEqual([text, usage?.completion_tokens, finish, roles], [first?.text, 30, "length", i % 2 === 0 ? 1 : 0]);
    assert.equal(usage?.prompt_tokens, first?.usage?.prompt_tokens);
  }
  await router.idle();
  assert.equal(router.context.migrationBudget.usedBytes, 0);
  assert.ok(router.metric('lmstack_migrations_total{cause="reset",result="continued"}') >= 40);
  assert.equal(router.metric('lmstack_requests_total{model="m",api="chat",outcome="ok"}'), 50);
});
