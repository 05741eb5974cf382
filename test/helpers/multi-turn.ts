// The workload by which routers were compared: sessions in groups that share a system prompt, of several turns, each as long
// as the one before and some more; who speaks next is drawn by Zipf's law; so many clients at once. It counts what the engines
// had cached. Use: `await multiTurn(router.port, "m", {...})`.
import { request } from "node:http";
import { Agent } from "node:http";
import { Random } from "../../src/engine/core/index.ts";

export interface MultiTurnOptions {
  readonly sessions: number;
  readonly groups: number;
  readonly turns: number;
  readonly systemBytes: number;
  readonly turnBytes: number;
  readonly zipf: number;
  readonly clients: number;
  readonly maxTokens: number;
  readonly seed: number;
}

export const peersWorkload: MultiTurnOptions = {
  sessions: 100,
  groups: 5,
  turns: 6,
  systemBytes: 2000,
  turnBytes: 1200,
  zipf: 1.3,
  clients: 20,
  maxTokens: 8,
  seed: 1,
};

interface Session {
  readonly messages: { role: string; content: string }[];
  turns: number;
  busy: boolean;
}

/** @param ports of one router, or of several that take turns */
export async function multiTurn(ports: readonly number[], model: string, options: MultiTurnOptions): Promise<void> {
  const random = new Random(options.seed);
  const agent = new Agent({ keepAlive: true, maxSockets: options.clients });
  const systems = Array.from({ length: options.groups }, () => text(random, options.systemBytes));
  const sessions = Array.from({ length: options.sessions }, (_, i): Session => {
    return { messages: [{ role: "system", content: systems[i % options.groups] ?? "" }], turns: 0, busy: false };
  });
  let asked = 0;
  const client = async (): Promise<void> => {
    for (;;) {
      const free = sessions.filter((session) => !session.busy && session.turns < options.turns);
      const session = free[zipf(random, free.length, options.zipf)];
      if (session === undefined) return;
      session.busy = true;
      session.turns++;
      session.messages.push({ role: "user", content: text(random, options.turnBytes / (session.turns === 1 ? 1 : 2)) });
      const port = ports[asked++ % ports.length] ?? 0;
      await ask(agent, port, { model, messages: session.messages, max_tokens: options.maxTokens });
      session.messages.push({ role: "assistant", content: text(random, options.turnBytes / 2) });
      session.busy = false;
    }
  };
  await Promise.all(Array.from({ length: options.clients }, client));
  agent.destroy();
}

function ask(agent: Agent, port: number, body: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        agent,
        host: "127.0.0.1",
        port,
        path: "/v1/chat/completions",
        method: "POST",
        headers: { "content-type": "application/json" },
      },
      (answer) => {
        const pieces: Buffer[] = [];
        answer.on("data", (piece: Buffer) => pieces.push(piece));
        answer.on("end", () => {
          if (answer.statusCode === 200) resolve();
          else reject(new Error(`${answer.statusCode}: ${Buffer.concat(pieces).toString()}`));
        });
        answer.on("error", reject);
      },
    );
    call.on("error", reject);
    call.end(JSON.stringify(body));
  });
}

function zipf(random: Random, count: number, exponent: number): number {
  let total = 0;
  for (let i = 1; i <= count; i++) total += i ** -exponent;
  let rest = random.unit() * total;
  for (let i = 1; i <= count; i++) {
    rest -= i ** -exponent;
    if (rest <= 0) return i - 1;
  }
  return count - 1;
}

const words =
  "the router sends each request to the engine where it costs least and tells why it did so at any time".split(" ");

/** Words in a random order, which no two prompts share. */
function text(random: Random, bytes: number): string {
  let out = "";
  while (out.length < bytes) out += `${words[Math.floor(random.unit() * words.length)]} `;
  return out.slice(0, bytes);
}
