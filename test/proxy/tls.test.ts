// Row C4 over HTTPS: what a cut answer looks like there. The bug behind it: a socket with TLS has no reset, and asking for
// one threw out of a socket's event, so that one dying engine took down a router that serves HTTPS.
import assert from "node:assert/strict";
import { test } from "node:test";
import tls from "node:tls";
import { temporaryFile } from "../helpers/files.ts";
import { startRawEngine } from "../helpers/raw-engine.ts";
import { startTestRouter } from "../helpers/router.ts";
import { selfSigned } from "../http/self-signed.ts";

test("C4: an answer with a length that an engine cuts short is cut towards an HTTPS client too", async (t) => {
  const certificate = selfSigned();
  const certFile = temporaryFile(t, "cert.pem", certificate.cert);
  const keyFile = temporaryFile(t, "key.pem", certificate.key);
  const engine = await startRawEngine(t);
  const options = ["--tls-cert-file", certFile, "--tls-key-file", keyFile];
  const router = await startTestRouter(t, ["--static-backends", engine.url, ...options]);
  engine.script(({ connection }) => {
    const head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
    void connection.flushed(`${head}{"half":`).then(() => connection.reset());
  });
  const body = '{"model":"test-model"}';
  const ask = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = tls.connect({ port: router.port, host: "127.0.0.1", ca: certificate.cert });
      let text = "";
      socket.on("data", (data: Buffer) => {
        text += data.toString("latin1");
        if (text.endsWith("}")) socket.destroy();
      });
      socket.on("close", () => resolve(text));
      socket.on("error", (error: NodeJS.ErrnoException) => {
        if (error.code !== "ECONNRESET") reject(error);
      });
      socket.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    });
  assert.match(await ask(), /\{"half":$/);
  await router.idle();
  assert.match(await ask(), /\{"object":"test"\}$/, "the router serves on");
});
