// How many frames a second one process of simulated engines sends through real sockets to a client that only counts, and
// how long an hour of long prompts takes in virtual time. Prints figures and their ratio to what is asked; judges nobody.
// `node test/bench/engine-speed.ts [seconds]`

import { fork } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { ManualClock } from "../../src/clock.ts";
import { EngineCore, findPreset } from "../../src/engine/core/index.ts";
import { startEngine } from "../../src/engine/serve.ts";

const engines = 16;
const streamsPerEngine = 16;
const wantedFramesPerSecond = 50_000;
const wantedSeconds = 60;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** What the engines' process tells when it is asked. */
interface Report {
  readonly frames: number;
  readonly cpuMs: number;
}

async function serve(): Promise<void> {
  // More frames than can be sent: what comes out is what the process can do.
  const preset = { id: "greedy", b0Us: 1000, b1Us: 0, b2Us: 0, b3Us: 0, kvBlocks: 100_000 };
  const running = await Promise.all(
    Array.from({ length: engines }, () => startEngine({ preset, maxModelLen: 1_000_000, simApi: true })),
  );
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    const frames = running.reduce((sum, engine) => sum + engine.state().generatedTokens, 0);
    process.send?.({ frames, cpuMs: (user + system) / 1000 } satisfies Report);
  });
  process.once("disconnect", () => process.exit(0));
  process.send?.(running.map(({ port }) => port));
}

async function measureFrames(seconds: number): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ["--serve"]);
  try {
    const [ports] = (await once(child, "message")) as [number[]];
    const body = JSON.stringify({ prompt: "x", max_tokens: 900_000, ignore_eos: true, stream: true });
    const head = `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n`;
    const request = `${head}content-length: ${body.length}\r\n\r\n${body}`;
    let bytes = 0;
    const sockets = ports.flatMap((port) =>
      Array.from({ length: streamsPerEngine }, () => {
        const socket = net.connect(port, "127.0.0.1");
        socket.on("data", (data) => (bytes += data.length));
        socket.on("error", () => undefined);
        socket.write(request);
        return socket;
      }),
    );
    const report = async (): Promise<Report> => {
      child.send("report");
      const [answer] = (await once(child, "message")) as [Report];
      return answer;
    };
    const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    await pause(1000);
    const before = await report();
    const bytesBefore = bytes;
    const start = performance.now();
    await pause(seconds * 1000);
    const after = await report();
    const tookMs = performance.now() - start;
    for (const socket of sockets) socket.destroy();
    const frames = after.frames - before.frames;
    const perSecond = (frames / tookMs) * 1000;
    const perCpuSecond = (frames / (after.cpuMs - before.cpuMs)) * 1000;
    const mib = (bytes - bytesBefore) / 1_048_576;
    const ratio = (perCpuSecond / wantedFramesPerSecond).toFixed(2);
    say(
      `frames: ${engines} engines, ${sockets.length} streams: ${Math.round(perSecond)}/s (${mib.toFixed(0)} MiB read), ` +
        `${Math.round(perCpuSecond)} per second of CPU; ratio to ${wantedFramesPerSecond}: ${ratio}`,
    );
  } finally {
    child.disconnect();
  }
}

/** 12,000 requests of 12,000 prompt tokens, evenly over an hour; each third shares the prompt of another. */
function measureVirtualTime(): void {
  const preset = findPreset("llama-3.3-70b-8xh100");
  if (preset === undefined) throw new Error("the preset is gone");
  const requests = 12_000;
  const clock = new ManualClock();
  const core = new EngineCore({ clock, preset, maxModelLen: 32_768 });
  const start = performance.now();
  let ended = 0;
  for (let at = 0; at < requests; at++) {
    const seed = at % 3 === 0 ? 0 : at;
    const promptTokens = Array.from({ length: 12_000 }, (_, place) => (seed * 31 + place) % 150_000);
    core.submit({ id: String(at), promptTokens, maxTokens: 100 }, { onFinish: () => ended++ });
    clock.advance(300);
  }
  while (ended < requests) clock.advance(1000);
  const took = (performance.now() - start) / 1000;
  say(
    `virtual time: ${requests} requests of 12,000 tokens over an hour in ${took.toFixed(1)} s; ` +
      `ratio to ${wantedSeconds} s: ${(took / wantedSeconds).toFixed(2)}; ${core.stats().hitTokens} tokens hit`,
  );
}

if (process.argv[2] === "--serve") await serve();
else {
  await measureFrames(Number(process.argv[2] ?? 5));
  measureVirtualTime();
}
