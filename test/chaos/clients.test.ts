import assert from "node:assert/strict";
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { test } from "node:test";
import { RawClient } from "../helpers/http-client.ts";

// Found by chaos, seeds 94 and 98 of 20 s, which did not end: a network had changed a digit, and the client went round and round
// in an answer of NaN bytes.
test("an answer whose length has become none is refused by a client, and not read for ever", async (t) => {
  const server = net.createServer((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 1\xb34\r\n\r\nhalf"));
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = await RawClient.connect((server.address() as AddressInfo).port);
  t.after(() => client.close());
  await assert.rejects(client.response(), /no content-length/);
});
