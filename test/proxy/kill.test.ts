// One of four engines, each a process, is killed with -9 under load: whoever has seen no event yet is served elsewhere and
// never knows, whoever has is told that the answer is not whole.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dataOf, post, type ClientResponse } from "../helpers/http-client.ts";
import { startLmstack } from "../helpers/process.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

test("one of four engines killed with -9 under load: every request without an event so far succeeds elsewhere", async (t) => {
  const argv = ["engine", "--host", "127.0.0.1", "--port", "0", "--sim-api", "--model", "m", "--max-num-seqs", "4"];
  // the one that dies is slow, so that it surely has streams and a queue when its hour comes
  const speeds = [1, 0.05, 1, 1];
  const engines = await Promise.all(speeds.map((speed) => startLmstack(t, [...argv, "--speed", String(speed)])));
  // and gets its fourth of the requests, whatever a policy would make of its pace on a busy machine
  const urls = engines.map((engine) => engine.url).join(",");
  const policy = ["--routing-logic", "roundrobin"];
  const router = await startTestRouter(t, ["--static-backends", urls, "--no-migrate-streams", ...policy]);
  const doomed = engines[1];
  assert.ok(doomed);
  const endpoint = router.context.registry.list()[1];
  assert.ok(endpoint);
  const visit = (stream: boolean): Promise<ClientResponse> =>
    post(router.port, "/v1/completions", { model: "m", prompt: "x", max_tokens: 20, ignore_eos: true, stream });
  // more than the engines run at a time, so that some wait without an event
  const visits = Array.from({ length: 64 }, (_, i) => visit(i % 5 !== 0));
  await until(() => endpoint.running > 0 && endpoint.queued > 4, "streams run and wait on the engine");
  doomed.child.kill("SIGKILL");
  // and those who come while nobody knows of the death yet
  visits.push(...Array.from({ length: 32 }, (_, i) => visit(i % 5 !== 0)));
  const ended = await Promise.all(visits);
  let cut = 0;
  for (const response of ended) {
    assert.equal(response.status, 200, response.text);
    assert.ok(response.complete);
    const stream = response.header("content-type")?.startsWith("text/event-stream") === true;
    if (!stream) continue;
    const events = dataOf(response);
    const last = events.at(-1) ?? "";
    if (last === "[DONE]") continue;
    cut++;
    assert.match(last, /"code":"stream_interrupted"/);
    assert.ok(events.length >= 2, "a client that had seen no event got an error");
  }
  // four at a time, and as many whose last bytes may have been lost with the process
  assert.ok(cut > 0 && cut <= 8, `${cut} streams ran on the engine that was killed`);
  await router.idle();
  const retries =
    router.metric('lmstack_retries_total{reason="reset"}') +
    router.metric('lmstack_retries_total{reason="unreachable"}');
  // those that waited, but for the few whose first event came in the same moment
  assert.ok(retries >= 3, `${retries} retries`);
});
