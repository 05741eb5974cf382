// The sixteen cases that every release of a router in front of LLM engines should run, as black boxes: bytes in, bytes out,
// engines that misbehave. Each throws when the router under test does not do what a client may expect.
import assert from "node:assert/strict";
import type net from "node:net";
import { dataOf, exchange, get, post, RawClient, rawRequest } from "../helpers/http-client.ts";
import {
  chunk,
  done,
  event,
  jsonAnswer,
  lastChunk,
  streamHead,
  type RawEngine,
  type RawRequest,
} from "../helpers/raw-engine.ts";
import { until } from "../helpers/until.ts";
import { assertGood, goodAnswer, goodBody, model, offered, otherModel, type Stand } from "./stand.ts";

export interface ConformanceCase {
  readonly id: string;
  readonly title: string;
  run(stand: Stand): Promise<void>;
}

const mebi = 1024 * 1024;
/** For what a router does by itself after a while: checks, ejections, the end of a drain. */
const whileMs = 15_000;
const chat = "/v1/chat/completions";

/** Breaks the connection before a word of an answer. */
const dies = ({ connection }: RawRequest): void => connection.reset();

function refusal(status: number, message: string, fields: readonly string[] = []): (request: RawRequest) => void {
  return ({ connection }) =>
    connection.write(jsonAnswer({ error: { message, type: "Error", param: null, code: status } }, status, fields));
}

/** The engines that got none of the requests. */
function idle(stand: Stand, mark: ReturnType<Stand["mark"]>): string[] {
  return stand.serving.filter((engine) => mark.of(engine) === 0).map(({ url }) => url);
}

export const conformanceCases: readonly ConformanceCase[] = [
  {
    id: "H1",
    title: "the request's body reaches the engine byte for byte",
    async run(stand) {
      const bodies = [
        `{"model":"${model}",  "messages":[],"unknown":{"b":1,"a":2.0},"x":1e400,"x":"twice", "t":0.30000000000000004}`,
        `{\r\n\t"messages":[{"role":"user","content":"\\ud83d\\ude00 \\u00e9 é 中文 \\/"}],"model":"${model}"\n}\n`,
        `{"messages":[{"role":"user","content":"${"x".repeat(300_000)}"}],"model":"${model}"}`,
      ];
      for (const body of bodies) {
        const mark = stand.mark();
        assertGood(await post(stand.subject.port, chat, body));
        const [request] = mark.since();
        assert.ok(request?.body.equals(Buffer.from(body)), "the engine got another body");
      }
    },
  },
  {
    id: "H2",
    title: "hop-by-hop fields stay behind, the Host is the engine's, repeated fields survive",
    async run(stand) {
      stand.answering(({ connection }) =>
        connection.write(
          jsonAnswer(goodBody, 200, ["set-cookie: a=1", "set-cookie: b=2", "connection: x-hop", "x-hop: 1"]),
        ),
      );
      const mark = stand.mark();
      const sent = ["connection: keep-alive, x-private", "x-private: 1", "te: trailers", "upgrade: h2c", "x-kept: yes"];
      const response = await stand.ask(sent);
      assertGood(response);
      const [request] = mark.since();
      assert.ok(request);
      for (const name of ["x-private", "te", "upgrade"]) assert.equal(request.header(name), undefined, name);
      assert.equal(request.header("x-kept"), "yes");
      assert.ok(stand.urls.includes(`http://${request.header("host")}`), `the Host is ${request.header("host")}`);
      assert.match(request.header("x-forwarded-for") ?? "", /127\.0\.0\.1/);
      assert.deepEqual(response.all("set-cookie"), ["a=1", "b=2"]);
      assert.equal(response.header("x-hop"), undefined);
    },
  },
  {
    id: "H3",
    title: "a request has one id: the client's if it is sane, on both sides of the router",
    async run(stand) {
      for (const [given, kept] of [
        ["client-id-1", true],
        [null, false],
        ["x".repeat(200), false],
      ] as const) {
        const mark = stand.mark();
        const response = await stand.ask(given === null ? [] : [`x-request-id: ${given}`]);
        const id = response.header("x-request-id");
        assert.equal(mark.since()[0]?.header("x-request-id"), id, "engine and client see different ids");
        assert.ok(id !== undefined && id.length > 0 && id.length <= 128, `the id is ${id}`);
        assert.equal(id === given, kept);
      }
    },
  },
  {
    id: "H4",
    title: "a request reaches an engine that serves its model; an unknown model is 404",
    async run(stand) {
      for (const [name, served] of [
        [model, true],
        [otherModel, false],
      ] as const) {
        const mark = stand.mark();
        for (let i = 0; i < 8; i++) assertGood(await stand.ask([], { model: name }));
        const toServing = stand.serving.reduce((sum, engine) => sum + mark.of(engine), 0);
        assert.equal(
          toServing,
          served ? 8 : 0,
          `${toServing} of 8 requests for ${name} reached the engines of ${model}`,
        );
      }
      const mark = stand.mark();
      const response = await stand.ask([], { model: "no-such-model" });
      assert.equal(response.status, 404);
      assert.equal(mark.since().length, 0, "an engine was asked for a model that nobody serves");
    },
  },
  {
    id: "H5",
    title: "a request whose engine dies before it answers succeeds on another engine",
    async run(stand) {
      const [dead] = stand.serving;
      assert.ok(dead);
      dead.handler = dies;
      const mark = stand.mark();
      for (let i = 0; i < 20; i++) assertGood(await stand.ask([`x-request-id: avoid-${i}`], { stream: i % 2 === 0 }));
      const ids = mark.since().filter((request) => dead.requests.includes(request));
      assert.ok(ids.length > 0, "the failing engine was never chosen, so nothing was shown");
      // once more on the same engine, where a kept connection had died, is fine; trying it again and again is not
      for (let i = 0; i < 20; i++)
        assert.ok(ids.filter((request) => request.header("x-request-id") === `avoid-${i}`).length <= 2);
    },
  },
  {
    id: "H6",
    title: "an engine that fails is taken out, and exactly one request decides about its return",
    async run(stand) {
      const [failing] = stand.serving;
      assert.ok(failing);
      failing.handler = dies;
      const failed = performance.now();
      // One round that it is spared proves nothing: a router may send it little for another reason, such as that it seemed slow
      // (4 of 60 once), and still count its failures.
      for (let spared = 0; spared < 5;) {
        const mark = stand.mark();
        await stand.askMany(60, 4);
        const sent = mark.of(failing);
        spared = sent <= 2 ? spared + 1 : 0;
        assert.ok(performance.now() - failed < whileMs, `${sent} of 60 requests go to an engine that always fails`);
      }
      // from here on it does not fail, it only takes its time
      const held: RawRequest[] = [];
      failing.handler = (request) => void held.push(request);
      const waiting: Promise<void>[] = [];
      let ended = 0;
      const ask = (): void => {
        const answer = stand.ask().then(
          () => void ended++,
          () => void ended++,
        );
        waiting.push(answer);
      };
      const began = performance.now();
      while (held.length === 0) {
        assert.ok(performance.now() - began < whileMs, "an engine that is well again gets no request");
        ask();
        await until(() => ended === waiting.length || held.length > 0, "a request is answered or held");
      }
      for (let i = 0; i < 30; i++) ask();
      await until(() => ended === waiting.length - held.length, "all others are answered");
      assert.equal(held.length, 1, `${held.length} requests were sent to an engine on trial`);
      failing.handler = goodAnswer;
      for (const request of held) goodAnswer(request);
      await Promise.all(waiting);
      const back = stand.mark();
      const healed = performance.now();
      while (back.of(failing) === 0) {
        assert.ok(performance.now() - healed < whileMs, "an engine that is well again gets no traffic");
        await stand.askMany(6, 3);
      }
    },
  },
  {
    id: "H7",
    title: "errors of clients pass unchanged, are not retried, and take no engine out",
    async run(stand) {
      for (const status of [400, 404, 422]) {
        const message = `not acceptable (${status})`;
        stand.answering(refusal(status, message));
        const mark = stand.mark();
        for (let i = 0; i < 20; i++) {
          const response = await stand.ask();
          assert.equal(response.status, status);
          assert.match(response.text, /not acceptable/);
        }
        assert.equal(mark.since().length, 20, "requests were retried");
      }
      stand.answering();
      const mark = stand.mark();
      for (const response of await stand.askMany(30, 3)) assertGood(response);
      assert.deepEqual(idle(stand, mark), []);
    },
  },
  {
    id: "H8",
    title: "load is back at 0 after clients have left: their engine is not avoided",
    async run(stand) {
      // streams that do not end, and say on which engine they are
      stand.engines.forEach((engine, i) => {
        engine.handler = (request) => {
          request.connection.write(streamHead());
          request.connection.write(chunk(event(`on engine ${i}`)));
        };
      });
      const clients = await Promise.all(Array.from({ length: 24 }, () => stand.openStream()));
      await Promise.all(clients.map((client) => client.sees("on engine ")));
      const [first] = stand.serving;
      assert.ok(first && first.open > 2, "one engine has few of the streams");
      // the clients of one engine leave; the streams of the others end well
      for (const client of clients) if (client.received.includes("on engine 0")) client.reset();
      for (const engine of stand.engines.slice(1)) {
        for (const { connection } of engine.requests.slice(-24)) {
          if (!connection.gone) connection.write(Buffer.concat([chunk(done), Buffer.from(lastChunk)]));
        }
      }
      await until(() => first.open === 0, "the engine is told that the clients have left");
      for (const client of clients) client.close();
      stand.answering();
      const after = stand.mark();
      // one at a time: who counts the dead streams sends none of these there
      for (const response of await stand.askMany(30)) assertGood(response);
      assert.deepEqual(idle(stand, after), []);
    },
  },
  {
    id: "H9",
    title: "the engine's connection is closed within 50 ms after the client has left, streaming or not",
    async run(stand) {
      for (const stream of [true, false]) {
        let best = Number.POSITIVE_INFINITY;
        // the machine may be busy: the best of some tries is the router's
        for (let i = 0; i < 7 && best > 50; i++) {
          let reached: RawRequest | null = null;
          stand.answering((request) => {
            reached = request;
            if (!stream) return;
            request.connection.write(streamHead());
            request.connection.write(chunk(event("one")));
          });
          const client = await RawClient.connect(stand.subject.port);
          client.write(rawRequest("POST", chat, JSON.stringify({ model, messages: [], stream })));
          await until(() => reached !== null, "the request has reached an engine");
          if (stream) await client.sees("one");
          client.close();
          const left = performance.now();
          const { connection } = reached as unknown as RawRequest;
          await until(() => connection.gone, "the engine is told that the client has left", 2_000);
          best = Math.min(best, performance.now() - left);
        }
        assert.ok(best <= 50, `${best.toFixed(0)} ms (${stream ? "stream" : "JSON"})`);
      }
    },
  },
  {
    id: "H10",
    title: "a client that does not read holds the engine back, instead of filling the router's memory",
    async run(stand) {
      const total = 200 * mebi;
      const frame = chunk(event("x".repeat(16 * 1024)));
      let taken = 0;
      stand.answering(({ connection: { socket } }) => {
        socket.write(streamHead());
        let left = Math.ceil(total / frame.length);
        const pour = (): void => {
          while (left > 0 && !socket.destroyed) {
            left--;
            const ready = socket.write(frame, () => (taken += frame.length));
            if (!ready) {
              socket.once("drain", pour);
              return;
            }
          }
        };
        pour();
      });
      const client = await RawClient.connect(stand.subject.port);
      const { socket }: { socket: net.Socket } = client;
      socket.pause();
      client.write(rawRequest("POST", chat, JSON.stringify({ model, messages: [], stream: true })));
      await until(() => taken > 0, "the engine has begun");
      let before = -1;
      while (before !== taken) {
        before = taken;
        for (let i = 0; i < 40; i++) await new Promise<void>((resolve) => setTimeout(resolve, 2));
      }
      client.reset();
      // the kernel's buffers of four socket ends are in it
      assert.ok(taken < 40 * mebi, `the router took ${Math.round(taken / mebi)} MiB that nobody read`);
    },
  },
  {
    id: "H11",
    title: "a stream whose engine dies is continued, or ends with an error, and never looks whole",
    async run(stand) {
      for (const how of ["reset", "end"] as const) {
        const dying = (request: RawRequest): void => {
          const { connection } = request;
          connection.write(streamHead());
          connection.write(chunk(event("one")));
          setTimeout(() => connection[how](), 20);
        };
        // one engine dies, whichever it is; the others would go on
        let died: RawEngine | null = null;
        for (const engine of stand.engines) {
          engine.handler = (request) => {
            if (died === null || died === engine) {
              died = engine;
              dying(request);
            } else goodAnswer(request);
          };
        }
        const client = await stand.openStream();
        const response = await client.response();
        client.close();
        assert.equal(response.status, 200);
        assert.ok(response.complete, "the answer was cut without a word");
        const events = dataOf(response);
        const told = events.some((data) => data !== "[DONE]" && "error" in (JSON.parse(data) as object));
        const whole = events.at(-1) === "[DONE]";
        assert.ok(told || whole, `neither an error nor an end: ${response.text}`);
        assert.ok(!(told && whole), `an error, and then a good end: ${response.text}`);
        if (whole) assert.ok(events.length > 3, `an end was made up: ${response.text}`);
        stand.answering();
      }
    },
  },
  {
    id: "H12",
    title: "SIGTERM: readiness falls first, and no request fails until the process has ended",
    async run(stand) {
      const terminate = offered(stand.subject.terminate, "end it");
      const restart = offered(stand.subject.restart, "start it");
      await restart(stand.urls);
      await stand.calm();
      const { port, readyPath } = stand.subject;
      stand.answering(slowAnswer);
      let inRotation = true;
      let served = 0;
      const worker = async (stream: boolean): Promise<void> => {
        while (inRotation) {
          assertGood(await stand.ask([], { stream }));
          served++;
        }
      };
      const workers = Promise.all([true, true, true, false, false, false].map(worker));
      // looked at below; until then a failure is nobody's
      workers.catch(() => undefined);
      await until(() => served > 12, "requests are answered");
      const ended = terminate();
      const before = served;
      // what a load balancer does
      while (inRotation) {
        const ready = await get(port, readyPath).catch(() => null);
        if (ready?.status !== 200) inRotation = false;
        else await new Promise<void>((resolve) => setTimeout(resolve, 10));
      }
      await workers;
      assert.ok(served >= before, "requests were under way");
      await ended;
      await restart(stand.urls);
    },
  },
  {
    id: "H13",
    title: "readiness: up without engines, where requests get 503 and a reason to come again; down while draining",
    async run(stand) {
      const restart = offered(stand.subject.restart, "start it");
      const terminate = offered(stand.subject.terminate, "end it");
      await restart([]);
      const { port, readyPath } = stand.subject;
      const began = performance.now();
      while ((await get(port, readyPath).catch(() => null))?.status !== 200) {
        assert.ok(
          performance.now() - began < whileMs,
          "a router that has read an empty list of engines never gets ready",
        );
      }
      const response = await stand.ask();
      assert.ok([404, 503].includes(response.status), `${response.status} where no engine is known`);
      const setEngines = offered(stand.subject.setEngines, "change its engines");
      await setEngines(stand.urls);
      await stand.calm();
      // a stream that runs keeps it from ending
      stand.answering(({ connection }) => {
        connection.write(streamHead());
        connection.write(chunk(event("one")));
      });
      const client = await stand.openStream();
      await client.sees("one");
      const ended = terminate();
      const fell = performance.now();
      for (;;) {
        const ready = await get(port, readyPath);
        if (ready.status === 503) break;
        assert.ok(performance.now() - fell < whileMs, "a draining router calls itself ready");
      }
      client.reset();
      await ended;
      await restart(stand.urls);
    },
  },
  {
    id: "H14",
    title: "engines come and go under load, and no request fails",
    async run(stand) {
      const setEngines = offered(stand.subject.setEngines, "change its engines");
      stand.answering(slowAnswer);
      let loading = true;
      let served = 0;
      const worker = async (stream: boolean): Promise<void> => {
        while (loading) {
          assertGood(await stand.ask([], { stream }));
          served++;
        }
      };
      const workers = Promise.all([true, true, false, false].map(worker));
      const failed = workers.catch(() => undefined);
      const [first, second, third] = stand.serving;
      assert.ok(first && second && third);
      for (const present of [[first, second], [second], [second, third], [first, third], [third, first, second]]) {
        await setEngines(present.map(({ url }) => url));
        const mark = stand.mark();
        const wanted = served + 30;
        const began = performance.now();
        const enough = (): boolean => served >= wanted && present.every((engine) => mark.of(engine) > 0);
        while (!enough() && performance.now() - began < whileMs) {
          await Promise.race([failed, new Promise<void>((resolve) => setTimeout(resolve, 5))]);
        }
        if (!enough()) loading = false;
        const missing = present.filter((engine) => mark.of(engine) === 0).map(({ url }) => url);
        if (missing.length > 0) await workers;
        assert.deepEqual(missing, [], "engines that joined get no requests");
        // what was on its way when the list changed has ended by now
        const absent = stand.serving.filter((engine) => !present.includes(engine));
        const later = stand.mark();
        const more = served + 12;
        while (served < more && performance.now() - began < 2 * whileMs)
          await Promise.race([failed, new Promise<void>((resolve) => setTimeout(resolve, 5))]);
        for (const engine of absent) assert.equal(later.of(engine), 0, "an engine that left gets requests");
      }
      loading = false;
      await workers;
      await setEngines(stand.urls);
    },
  },
  {
    id: "H15",
    title: "a body of exactly the limit passes, one byte more is 413, readable while it is still being sent",
    async run(stand) {
      const { limitBytes, port } = stand.subject;
      const sized = (bytes: number): string => {
        const frame = `{"model":"${model}","messages":[{"role":"user","content":""}]}`;
        return frame.replace('""', `"${"x".repeat(bytes - frame.length)}"`);
      };
      assertGood(await post(port, chat, sized(limitBytes)));
      const over = await post(port, chat, sized(limitBytes + 1));
      assert.equal(over.status, 413);
      assert.ok(over.complete);
      // much more: the client goes on sending for a while after it was told
      const far = await exchange(port, rawRequest("POST", chat, sized(limitBytes + 8 * mebi)));
      assert.equal(far.status, 413);
      assert.ok(far.complete, "the client was cut off before it could read why");
    },
  },
  {
    id: "H16",
    title: "where every engine is full the client gets 429, with the time after which to come again",
    async run(stand) {
      stand.answering(refusal(503, "The server is currently busy, please try again later."));
      const mark = stand.mark();
      const response = await stand.ask();
      assert.equal(response.status, 429);
      const after = Number(response.header("retry-after"));
      assert.ok(after > 0 && after <= 60, `retry-after is ${response.header("retry-after")}`);
      assert.ok(new Set(mark.since().map((request) => request.header("host"))).size > 1, "no other engine was asked");
      // and none of them is taken out for it
      stand.answering();
      const began = performance.now();
      for (;;) {
        const later = stand.mark();
        const answers = await stand.askMany(30, 3);
        if (idle(stand, later).length === 0 && answers.every(({ status }) => status === 200)) break;
        assert.ok(performance.now() - began < whileMs, "engines that were busy once get nothing any more");
      }
    },
  },
];

/** As {@link goodAnswer}, over some turns of the loop: requests are under way at any time. */
function slowAnswer(request: RawRequest): void {
  setTimeout(() => goodAnswer(request), 15);
}
