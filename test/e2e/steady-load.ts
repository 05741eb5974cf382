// A steady load on a router, open loop: a request leaves when its time has come, whatever became of those before. Half are
// streams. Every request ends in exactly one count.
import http from "node:http";

export interface LoadCounts {
  sent: number;
  ok: number;
  /** Streams that had begun and ended in an error frame, or without `[DONE]`. */
  cut: number;
  /** Everything else, with what came. */
  failed: string[];
}

export class SteadyLoad {
  readonly #url: string;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 512 });
  readonly #model: string;
  readonly #running = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #counts: LoadCounts = { sent: 0, ok: 0, cut: 0, failed: [] };
  #due: number;
  #number = 0;

  constructor(url: string, model: string, perSecond: number) {
    this.#url = url;
    this.#model = model;
    const stepMs = 1000 / perSecond;
    this.#due = performance.now();
    this.#timer = setInterval(() => {
      // a late timer makes up for it: the rate holds on a busy machine too
      for (; this.#due <= performance.now(); this.#due += stepMs) this.#send();
    }, stepMs);
  }

  /** Counts since the last call, of requests sent in between: waits until all of them have ended. */
  async take(): Promise<LoadCounts> {
    const counts = this.#counts;
    const running = [...this.#running];
    this.#counts = { sent: 0, ok: 0, cut: 0, failed: [] };
    await Promise.all(running);
    return counts;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#running);
    this.#agent.destroy();
  }

  #send(): void {
    const counts = this.#counts;
    const stream = this.#number++ % 2 === 0;
    counts.sent++;
    const tracked: Promise<void> = this.#count(stream, counts).finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }

  async #count(stream: boolean, counts: LoadCounts): Promise<void> {
    try {
      const result = await this.#ask(stream);
      if (result === "ok") counts.ok++;
      else if (result === "cut") counts.cut++;
      else counts.failed.push(result);
    } catch (error) {
      counts.failed.push(error instanceof Error ? error.message : String(error));
    }
  }

  #ask(stream: boolean): Promise<string> {
    const prompt = `request ${this.#number} of a steady load`;
    const body = { model: this.#model, prompt, max_tokens: stream ? 20 : 8, ignore_eos: true, stream };
    const bytes = Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const request = http.request(`${this.#url}/v1/completions`, {
        method: "POST",
        agent: this.#agent,
        headers: { "content-type": "application/json", "content-length": bytes.length },
        timeout: 30_000,
      });
      request.on("error", reject);
      request.on("timeout", () => request.destroy(new Error("no answer within 30 s")));
      request.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        response.on("error", () =>
          resolve(stream && text.includes("data:") ? "cut" : `reset after ${text.length} bytes`),
        );
        response.on("end", () => resolve(judge(response.statusCode ?? 0, text, stream)));
      });
      request.end(bytes);
    });
  }
}

function judge(status: number, text: string, stream: boolean): string {
  if (status !== 200) return `${status} ${text.slice(0, 300)}`;
  if (!stream) return /"completion_tokens":8\b/.test(text) ? "ok" : `not a whole answer: ${text.slice(0, 300)}`;
  if (/"error":/.test(text)) return "cut";
  return text.trimEnd().endsWith("data: [DONE]") && text.includes('"finish_reason":"length"') ? "ok" : "cut";
}
