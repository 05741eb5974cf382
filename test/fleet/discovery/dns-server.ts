// A DNS server for tests: UDP, answers from a table that the test may change, and failures on demand. Wire format by hand
// (RFC 1035, 2782, 3596), so that nothing of it is the code under test.
import dgram from "node:dgram";
import type { TestContext } from "node:test";

export type DnsRecord =
  | { readonly type: "A" | "AAAA"; readonly data: string; readonly ttl: number }
  | {
      readonly type: "SRV";
      readonly host: string;
      readonly port: number;
      readonly priority: number;
      readonly ttl: number;
    };

const types = { A: 1, AAAA: 28, SRV: 33 } as const;
const serverFailure = 2;
const noSuchName = 3;

export class DnsServer {
  readonly #socket = dgram.createSocket("udp4");
  readonly records = new Map<string, readonly DnsRecord[]>();
  /** `TYPE name` of each question. */
  readonly asked: string[] = [];
  /** What every question ends in; null = the table counts. */
  failure: "servfail" | "silence" | null = null;
  /** Questions of this type fail. */
  failing: "A" | "AAAA" | null = null;
  address = "";

  async listen(): Promise<void> {
    this.#socket.on("message", (message, from) => {
      const answer = this.#answer(message);
      if (answer !== null) this.#socket.send(answer, from.port, from.address);
    });
    await new Promise<void>((resolve) => this.#socket.bind(0, "127.0.0.1", resolve));
    this.address = `127.0.0.1:${this.#socket.address().port}`;
  }

  close(): void {
    this.#socket.close();
  }

  #answer(message: Buffer): Buffer | null {
    const labels: string[] = [];
    let at = 12;
    for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
      labels.push(message.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    const name = labels.join(".").toLowerCase();
    const type = message.readUInt16BE(at + 1);
    const wanted = Object.entries(types).find(([, number]) => number === type)?.[0] ?? String(type);
    this.asked.push(`${wanted} ${name}`);
    if (this.failure === "silence") return null;
    const all = this.records.get(name);
    const found =
      this.failure === null && this.failing !== wanted ? (all ?? []).filter((record) => record.type === wanted) : [];
    const header = Buffer.alloc(12);
    message.copy(header, 0, 0, 2);
    const failed = this.failure === "servfail" || this.failing === wanted;
    const code = failed ? serverFailure : all === undefined ? noSuchName : 0;
    header.writeUInt16BE(0x8580 | code, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(found.length, 6);
    return Buffer.concat([header, message.subarray(12, at + 5), ...found.map(encode)]);
  }
}

function encode(record: DnsRecord): Buffer {
  const data = dataOf(record);
  const head = Buffer.alloc(12);
  // the name of the question, by reference
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(types[record.type], 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(record.ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function dataOf(record: DnsRecord): Buffer {
  if (record.type === "SRV") return serviceData(record);
  if (record.type === "A") return Buffer.from(record.data.split(".").map(Number));
  const [front = [], back = []] = record.data
    .split("::")
    .map((half) => half.split(":").filter((group) => group !== ""));
  const middle = Array<string>(8 - front.length - back.length).fill("0");
  return Buffer.from([...front, ...middle, ...back].map((group) => group.padStart(4, "0")).join(""), "hex");
}

function serviceData({ host, port, priority }: DnsRecord & { readonly type: "SRV" }): Buffer {
  const numbers = Buffer.alloc(6);
  numbers.writeUInt16BE(priority, 0);
  numbers.writeUInt16BE(port, 4);
  const labels = host.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([numbers, ...labels, Buffer.from([0])]);
}

export async function startDnsServer(t: TestContext): Promise<DnsServer> {
  const server = new DnsServer();
  await server.listen();
  t.after(() => server.close());
  return server;
}

export const a = (data: string, ttl = 5): DnsRecord => ({ type: "A", data, ttl });
export const aaaa = (data: string, ttl = 5): DnsRecord => ({ type: "AAAA", data, ttl });
export const srv = (host: string, port: number, priority = 0): DnsRecord => ({
  type: "SRV",
  host,
  port,
  priority,
  ttl: 5,
});
