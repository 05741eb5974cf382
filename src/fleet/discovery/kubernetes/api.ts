// A request to the API server. Plain HTTP: lists and watches need no more, and what a library adds to them (its own
// buffering, its own ways to end) would have to be worked around.
import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import type { Credentials } from "./access.ts";

export interface KubernetesApi {
  /**
   * GET; resolves with the head of the answer, whatever its status.
   * @param path below the server's address
   */
  get(path: string, signal: AbortSignal): Promise<IncomingMessage>;
  /** The credentials were refused: they are read anew for the next request. */
  forget(): void;
}

const keepAliveMs = 15_000;

export function kubernetesApi(credentials: Credentials): KubernetesApi {
  return {
    async get(path, signal) {
      const { server, options } = await credentials.read();
      const url = new URL(server + path);
      const { request } = url.protocol === "http:" ? http : https;
      return new Promise((resolve, reject) => {
        const sent = request(url, {
          ...options,
          method: "GET",
          headers: {
            ...(options.headers as http.OutgoingHttpHeaders),
            accept: "application/json",
            "user-agent": "lmstack",
          },
          signal,
        });
        sent.on("error", reject);
        sent.on("response", resolve);
        // a server that vanished without a word is noticed
        sent.on("socket", (socket) => socket.setKeepAlive(true, keepAliveMs));
        sent.end();
      });
    },
    forget: () => credentials.forget(),
  };
}
