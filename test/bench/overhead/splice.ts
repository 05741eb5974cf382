// The floor: what it costs Node to move bytes between two sockets and do nothing else. One engine per connection by
// turns, no HTTP, no metrics. A router written in TypeScript cannot be cheaper than this, so the distance to it is what
// our own code costs, and its distance to nginx is what Node costs.
import net from "node:net";
import type { Socket } from "node:net";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { port: { type: "string" }, engines: { type: "string" } } });
const engines = (values.engines ?? "").split(",").map((url) => new URL(url));
let next = 0;
/** Shared by all engine connections; Node ignores such a buffer on accepted sockets, so clients get buffers of theirs. */
const readBuffer = Buffer.allocUnsafe(64 * 1024);

net
  .createServer({ noDelay: true }, (client) => {
    const engine = engines[next++ % engines.length];
    if (engine === undefined) return client.destroy();
    const upstream = net.connect({
      host: engine.hostname,
      port: Number(engine.port),
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (count) => {
          // A copy, as the write to the client may still be under way when the next read comes.
          client.write(Buffer.from(readBuffer.subarray(0, count)));
          return true;
        },
      },
    });
    client.on("data", (chunk: Buffer) => upstream.write(chunk));
    tie(client, upstream);
    tie(upstream, client);
  })
  .listen({ port: Number(values.port), host: "127.0.0.1", backlog: 4096 });

/** When one side is gone, so is the other. */
function tie(from: Socket, to: Socket): void {
  from.on("error", () => to.destroy());
  from.on("close", () => to.destroy());
}
