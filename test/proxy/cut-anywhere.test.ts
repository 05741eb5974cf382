// The stream of an engine that dies after any byte: the client sees whole events and then either the proper end or an error
// frame, and `[DONE]` only where the engine had sent all of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { errorOf, post } from "../helpers/http-client.ts";
import { done, event, startRawEngine, wholeStream } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { turns } from "../helpers/until.ts";

const body = '{"model":"test-model","messages":[],"stream":true}';
const errorFrame = /data: \{"error":\{.*"code":"stream_interrupted"\}\}\n\n$/;

for (const ending of ["reset", "end"] as const) {
  for (const waits of [true, false]) {
    test(`C1: wherever a stream is cut (${ending}${waits ? ", after what came has passed" : ", at once"}), it looks whole only if it is`, async (t) => {
      const engine = await startRawEngine(t);
      const router = await startTestRouter(t, ["--static-backends", engine.url, "--retries", "0"]);
      const endpoint = router.context.registry.list()[0];
      const stream = wholeStream("one", "two");
      const events = [event("one"), event("two"), done];
      for (let cut = 1; cut < stream.length; cut++) {
        engine.script(({ connection }) => {
          connection.write(stream.subarray(0, cut));
          void turns(waits ? 3 : 0).then(() => connection[ending]());
        });
        const response = await post(router.port, "/v1/chat/completions", body);
        // the breaker is not what is looked at
        endpoint?.breaker.checkPassed(0);
        const at = `cut at ${cut}: ${response.status} ${response.text}`;
        assert.ok(response.complete, at);
        if (response.status !== 200) {
          assert.ok(errorOf(response).status >= 500, at);
          continue;
        }
        const told = errorFrame.exec(response.text);
        const passed = told === null ? response.text : response.text.slice(0, told.index);
        assert.ok(
          events.some((_, i) => events.slice(0, i + 1).join("") === passed),
          `no whole events: ${at}`,
        );
        assert.equal(told === null, passed.endsWith(done), `an end that is not one, or an error behind the end: ${at}`);
      }
      await router.idle();
    });
  }
}
