// One of four engines, each a process, is killed with -9 under load: whoever has seen no event yet is served elsewhere and
// never knows, whoever has is told that the answer is not whole.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RawClient, dataOf, rawRequest, type ClientResponse } from "../helpers/http-client.ts";
import { startLmstack } from "../helpers/process.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

interface Visit {
  readonly response: ClientResponse;
  /** Whether an event had come when the engine was killed. */
  readonly begun: boolean;
}

test("one of four engines killed with -9 under load: every request without an event so far succeeds elsewhere", async (t) => {
  const argv = ["engine", "--host", "127.0.0.1", "--port", "0", "--sim-api", "--model", "m", "--max-num-seqs", "4"];
  const engines = await Promise.all([0, 1, 2, 3].map(() => startLmstack(t, argv)));
  const router = await startTestRouter(t, ["--static-backends", engines.map((engine) => engine.url).join(",")]);
  const doomed = engines[1];
  assert.ok(doomed);
  const endpoint = router.context.registry.list()[1];
  assert.ok(endpoint);
  let killed = false;
  const visit = async (stream: boolean): Promise<Visit> => {
    const client = await RawClient.connect(router.port);
    client.write(
      rawRequest(
        "POST",
        "/v1/completions",
        JSON.stringify({ model: "m", prompt: "x", max_tokens: 30, ignore_eos: true, stream }),
      ),
    );
    let begun = false;
    client.socket.once("data", () => (begun ||= !killed));
    const response = await client.response();
    client.close();
    return { response, begun };
  };
  // more than the engines run at a time, so that some wait without an event
  const visits = Array.from({ length: 64 }, (_, i) => visit(i % 4 !== 0));
  await until(() => endpoint.running > 0 && endpoint.queued > 4, "streams run and wait on the engine");
  doomed.child.kill("SIGKILL");
  killed = true;
  // and those who come while nobody knows of the death yet
  visits.push(...Array.from({ length: 32 }, (_, i) => visit(i % 4 !== 0)));
  const ended = await Promise.all(visits);
  let cut = 0;
  for (const { response, begun } of ended) {
    assert.equal(response.status, 200, response.text);
    assert.ok(response.complete);
    const stream = response.header("content-type")?.startsWith("text/event-stream") === true;
    if (!stream) continue;
    const last = dataOf(response).at(-1) ?? "";
    if (last === "[DONE]") continue;
    cut++;
    assert.match(last, /"code":"stream_interrupted"/);
    assert.ok(begun, "a client that had seen no event got an error");
  }
  assert.ok(cut > 0 && cut <= 4, `${cut} streams ran on the engine that was killed`);
  await router.idle();
  assert.ok(
    router.metric('lmstack_retries_total{reason="reset"}') +
      router.metric('lmstack_retries_total{reason="unreachable"}') >
      4,
  );
});
