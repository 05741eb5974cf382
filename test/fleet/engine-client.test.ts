import assert from "node:assert/strict";
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { test } from "node:test";
import { post } from "../helpers/http-client.ts";
import { startTestRouter } from "../helpers/router.ts";
import { until } from "../helpers/until.ts";

// Found by the smuggling corpus when the looks at metrics came to it: the engine had kept a connection that the router's
// question had ended, and the next request went there.
test("nothing is sent on a connection after `connection: close`, also where the engine keeps it open", async (t) => {
  const models = JSON.stringify({ object: "list", data: [{ id: "m" }] });
  const sockets = new Set<net.Socket>();
  const behind: string[] = [];
  let looks = 0;
  const engine = net.createServer((socket) => {
    sockets.add(socket);
    let closes = false;
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      if (closes) behind.push(text);
      closes ||= text.includes("\r\nconnection: close\r\n");
      if (text.startsWith("GET /metrics ")) looks++;
      const body = text.startsWith("GET /v1/models ") ? models : text.startsWith("POST ") ? "{}" : "";
      socket.write(
        `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
    });
  });
  engine.listen(0, "127.0.0.1");
  await once(engine, "listening");
  t.after(() => {
    engine.close();
    for (const socket of sockets) socket.destroy();
  });
  const url = `http://127.0.0.1:${(engine.address() as AddressInfo).port}`;
  const router = await startTestRouter(t, ["--static-backends", url, "--engine-stats-interval", "0.02"]);
  for (let round = 1; round <= 3; round++) {
    await until(() => looks >= 2 * round, "its metrics were looked at");
    assert.equal((await post(router.port, "/v1/completions", { model: "m", prompt: "x" })).status, 200);
  }
  assert.deepEqual(behind, []);
});
