import { Agent, get, request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Behaviour,
  badFraming,
  closeEarly,
  error,
  type FakeUpstream,
  gzip,
  hugeBody,
  hugeHeaders,
  informational,
  invalidJson,
  raw,
  redirect,
  reply,
  resetAfterHeaders,
  resetBeforeHeaders,
  respond,
  silence,
  slowHeaders,
  startFakeUpstream,
  stream,
  surplusBytes,
  virtualClock,
  wrongType,
} from "../../src/testing/index.js";
import { expectNothingLeaks } from "../support/no-leaks.js";

const leaks = expectNothingLeaks();
let upstream: FakeUpstream;

beforeEach(async () => {
  upstream = leaks.upstream(await startFakeUpstream());
});

afterEach(async () => {
  await upstream.close();
});

interface Received {
  status: number;
  headers: IncomingMessage["headers"];
  informationalCount: number;
  bytes: Buffer;
  text: string;
  /** Code of the error that ended it; `undefined` where it ended well. */
  error: string | undefined;
}

interface PostOptions {
  path?: string;
  agent?: Agent;
  signal?: AbortSignal;
  onData?: (text: string) => void;
}

/** What `node:http` sees of one request, failures included. */
function post(
  body: object,
  { path = "/v1/chat/completions", agent, signal, onData }: PostOptions = {},
): Promise<Received> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let status = 0;
    let headers: IncomingMessage["headers"] = {};
    let informationalCount = 0;
    const finish = (code?: string) => {
      const bytes = Buffer.concat(parts);
      resolve({ status, headers, informationalCount, bytes, text: bytes.toString(), error: code });
    };
    const fail = (problem: NodeJS.ErrnoException) => finish(problem.code ?? problem.message);
    const call = httpRequest(
      `${upstream.origin}${path}`,
      { method: "POST", agent: agent ?? false, signal },
      (response) => {
        status = response.statusCode ?? 0;
        headers = response.headers;
        response.on("data", (part: Buffer) => {
          parts.push(part);
          onData?.(part.toString());
        });
        response.on("end", () => finish());
        response.on("error", fail);
      },
    );
    call.on("information", () => informationalCount++);
    call.on("error", fail);
    call.setHeader("content-type", "application/json");
    call.end(JSON.stringify(body));
  });
}

const chat = (text: string, more: object = {}) => ({
  model: "m",
  messages: [{ role: "user", content: text }],
  ...more,
});
const streamed = (text: string, more: object = {}) => chat(text, { stream: true, ...more });

/** Content of the events of a stream, JSON parsed where it is JSON. */
function eventsOf(text: string): unknown[] {
  return text
    .split("\n\n")
    .filter((event) => event.startsWith("data: "))
    .map((event) => {
      const data = event.slice("data: ".length);
      return data === "[DONE]" ? data : JSON.parse(data);
    });
}

function contentOf(text: string): string {
  return eventsOf(text)
    .map((event) => (event as { choices?: { delta?: { content?: string } }[] }).choices?.[0]?.delta?.content ?? "")
    .join("");
}

/** The bytes that a bare TCP client gets until the upstream is silent for a while or closes. */
function rawPost(body: object, quietMs = 100): Promise<{ text: string; hasEnded: boolean }> {
  return new Promise((resolve, reject) => {
    const json = JSON.stringify(body);
    const socket = connect(upstream.port, "127.0.0.1");
    let text = "";
    let hasEnded = false;
    const done = () => {
      socket.destroy();
      resolve({ text, hasEnded });
    };
    let timer = setTimeout(done, quietMs);
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      clearTimeout(timer);
      timer = setTimeout(done, quietMs);
    });
    socket.on("end", () => {
      hasEnded = true;
      clearTimeout(timer);
      done();
    });
    socket.on("error", reject);
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
    );
  });
}

describe("a correct answer", () => {
  it("echoes the last user message with usage", async () => {
    const { status, headers, text } = await post(chat("Hello there"));
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("application/json");
    expect(JSON.parse(text)).toMatchObject({
      object: "chat.completion",
      model: "m",
      choices: [
        { index: 0, message: { role: "assistant", content: "Hello there", refusal: null }, finish_reason: "stop" },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 },
    });
  });

  it("wire S1, wire S3: streams a role, the text, a finish reason, the usage and [DONE]", async () => {
    const { headers, text } = await post(streamed("Hello there", { stream_options: { include_usage: true } }));
    expect(headers["content-type"]).toBe("text/event-stream");
    const events = eventsOf(text) as Record<string, unknown>[];
    expect(events.at(-1)).toBe("[DONE]");
    expect(events.at(-2)).toMatchObject({ choices: [], usage: { total_tokens: 6 } });
    expect(events.at(-3)).toMatchObject({ choices: [{ delta: {}, finish_reason: "stop" }], usage: null });
    expect(events[0]).toMatchObject({ choices: [{ delta: { role: "assistant", content: "" } }], usage: null });
    expect(contentOf(text)).toBe("Hello there");
  });

  it("sends no usage chunk that nobody asked for, unless told to", async () => {
    expect((await post(streamed("x"))).text).not.toContain("usage");
    upstream.next(stream({ includeUsage: true }));
    expect((await post(streamed("x"))).text).toContain('"usage":{');
  });

  it("serves completions, embeddings, the model list and health, and refuses the rest", async () => {
    const completion = await post({ model: "m", prompt: "Once" }, { path: "/v1/completions" });
    expect(JSON.parse(completion.text)).toMatchObject({ object: "text_completion", choices: [{ text: "Once" }] });
    const vectors = await post({ model: "m", input: ["a", "b"], dimensions: 5 }, { path: "/embeddings" });
    const { data } = JSON.parse(vectors.text) as { data: { embedding: number[] }[] };
    expect(data.map(({ embedding }) => embedding.length)).toEqual([5, 5]);
    const fetched = async (path: string) => {
      const response = await fetch(`${upstream.origin}${path}`, { headers: { connection: "close" } });
      return { status: response.status, body: await response.json() };
    };
    expect(await fetched("/v1/models")).toMatchObject({ status: 200, body: { data: [{ id: "fake-model" }] } });
    expect(await fetched("/health")).toEqual({ status: 200, body: { status: "ok" } });
    expect((await fetched("/v1/nothing")).status).toBe(404);
    expect((await post({}, { path: "/v1/nothing" })).status).toBe(404);
    expect((await post({ model: "m" })).status).toBe(400);
    expect((await post({ messages: [] })).status).toBe(400);
  });

  it("says what a script tells it to, whole and streamed", async () => {
    upstream.always(
      reply({
        text: "Let me look.",
        reasoning: "Hm.",
        toolCalls: [{ name: "look", arguments: { at: "sky" }, id: "call_1" }],
        model: "m-2",
        headers: { "x-extra": "yes" },
      }),
    );
    const whole = await post(chat("x", { max_tokens: 1 }));
    expect(whole.headers["x-extra"]).toBe("yes");
    expect(JSON.parse(whole.text)).toMatchObject({
      model: "m-2",
      choices: [
        {
          message: {
            content: "Let me look.",
            reasoning_content: "Hm.",
            tool_calls: [{ id: "call_1", type: "function", function: { name: "look", arguments: '{"at":"sky"}' } }],
          },
          finish_reason: "tool_calls",
        },
      ],
    });
    const { text } = await post(streamed("x"));
    expect(contentOf(text)).toBe("Let me look.");
    expect(text).toContain('"function":{"name":"look","arguments":""}');
    expect(text).toContain('"finish_reason":"tool_calls"');
  });

  it("reports usage as told: none, absurd, or given", async () => {
    upstream.next(reply({ usage: "absent" }), reply({ usage: "absurd" }));
    expect(JSON.parse((await post(chat("x"))).text)).not.toHaveProperty("usage");
    expect(JSON.parse((await post(chat("x"))).text).usage.prompt_tokens).toBeLessThan(0);
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
    upstream.next(reply({ usage }), stream({ usage: "absent" }));
    expect(JSON.parse((await post(chat("x"))).text).usage).toEqual(usage);
    expect((await post(streamed("x", { stream_options: { include_usage: true } }))).text).not.toContain('"usage":{');
  });

  it("keeps the pace it is told", async () => {
    const clock = virtualClock();
    const paced = await startFakeUpstream({ clock });
    try {
      paced.always(stream({ tokens: 3, firstTokenMs: 500, msPerToken: 100 }));
      const response = await fetch(`${paced.url}/chat/completions`, {
        method: "POST",
        body: JSON.stringify(streamed("abcd")),
        headers: { connection: "close" },
      });
      const events: { atMs: number; content: string }[] = [];
      const reading = (async () => {
        for await (const part of response.body ?? []) {
          events.push({ atMs: clock.now(), content: contentOf(Buffer.from(part).toString()) });
        }
      })();
      // Sockets take real time: each step of the virtual clock waits for what it causes.
      for (let waits = 0; waits < 3; waits++) {
        await expect.poll(() => clock.pendingTimers).toBe(1);
        await expect.poll(() => events.length).toBe(waits + 1);
        await clock.advance(waits === 0 ? 500 : 100);
      }
      await reading;
      expect(events.filter(({ content }) => content !== "").map(({ atMs }) => atMs)).toEqual([500, 600, 700]);
    } finally {
      await paced.close();
    }
  });

  it("waits for a promise before it answers", async () => {
    let release = () => {};
    upstream.next(reply({ until: new Promise<void>((resolve) => (release = resolve)) }));
    const answer = post(chat("held"));
    const request = await upstream.waitForRequest();
    expect(upstream.inFlight).toBe(1);
    expect(request.isEnded).toBe(false);
    release();
    expect((await answer).status).toBe(200);
    await request.ended;
    expect(upstream.inFlight).toBe(0);
    expect(request.isAborted).toBe(false);
  });

  it("answers anything else that a test spells out", async () => {
    upstream.next(
      respond({
        status: 201,
        headers: { "content-type": "application/x-ndjson" },
        body: ['{"a":1}\n', { waitMs: 1 }, '{"b":2}\n'],
      }),
      respond({ body: { nested: [1] } }),
    );
    expect(await post({}, { path: "/api/chat" })).toMatchObject({ status: 201, text: '{"a":1}\n{"b":2}\n' });
    expect(await post({}, { path: "/api/chat" })).toMatchObject({ status: 200, text: '{"nested":[1]}' });
  });
});

describe("the script", () => {
  const statusOf = async (body: object = chat("x")) => (await post(body)).status;

  it("asks rules first, then takes what is queued, then the standing behaviour, then answers correctly", async () => {
    upstream.next(error(501), error(502));
    upstream.always(error(503));
    upstream.when(({ body }) => (body.model === "special" ? error(418) : undefined));
    expect(await statusOf({ ...chat("x"), model: "special" })).toBe(418);
    expect(await statusOf()).toBe(501);
    expect(await statusOf()).toBe(502);
    expect(await statusOf()).toBe(503);
    upstream.always();
    expect(await statusOf()).toBe(200);
  });

  it("leaves the queue alone when somebody asks for health or models", async () => {
    upstream.next(error(500));
    const { status } = await fetch(`${upstream.origin}/health`, { headers: { connection: "close" } });
    expect(status).toBe(200);
    expect(await statusOf()).toBe(500);
  });

  it("forgets everything on reset", async () => {
    upstream.always(error(500));
    expect(await statusOf()).toBe(500);
    upstream.next(error(501));
    upstream.when(() => error(502));
    upstream.reset();
    expect(upstream.requests).toEqual([]);
    expect(await statusOf()).toBe(200);
    expect(upstream.requestCount).toBe(1);
  });

  it("answers 500 when a rule throws", async () => {
    upstream.when(() => {
      throw new Error("mistake in the test");
    });
    expect(await post(chat("x"))).toMatchObject({ status: 500, text: expect.stringContaining("mistake in the test") });
  });
});

describe("what it saw", () => {
  it("records requests with headers and body", async () => {
    await post(chat("hi"), { path: "/v1/chat/completions?api-version=1" });
    const request = upstream.requests[0];
    expect(request).toMatchObject({
      number: 1,
      method: "POST",
      path: "/v1/chat/completions",
      operation: "chat.completions",
      isStreaming: false,
      connection: 1,
      isAborted: false,
    });
    expect(request?.headers["content-type"]).toBe("application/json");
    expect(request?.body).toEqual(chat("hi"));
    expect(request?.query.get("api-version")).toBe("1");
  });

  it("tells which requests shared a connection", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    await post(chat("1"), { agent });
    await post(chat("2"), { agent });
    await post(chat("3"));
    agent.destroy();
    expect(upstream.requests.map(({ connection }) => connection)).toEqual([1, 1, 2]);
    expect(upstream.connectionCount).toBe(2);
  });

  it.each<[string, Behaviour, object]>([
    ["before an answer", silence(), chat("x")],
    ["after the headers", silence({ afterHeaders: true }), chat("x")],
    ["during a wait", reply({ delayMs: 60_000 }), chat("x")],
    ["in a stalled stream", stream({ stallAfterEvents: 1 }), streamed("x")],
    ["between two tokens", stream({ tokens: 5, msPerToken: 60_000 }), streamed("x")],
  ])("R6: notices that the client leaves %s", async (_when, behaviour, body) => {
    upstream.next(behaviour);
    const controller = new AbortController();
    const answer = post(body, { signal: controller.signal });
    const request = await upstream.waitForRequest();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(request.isEnded).toBe(false);
    controller.abort();
    expect((await answer).error).toBeDefined();
    await request.ended;
    expect(request.isAborted).toBe(true);
    expect(request.abortedAfterMs).toBeGreaterThanOrEqual(10);
    expect(upstream.inFlight).toBe(0);
  });

  it("notices a client that leaves while it sends its request", async () => {
    const socket = connect(upstream.port, "127.0.0.1");
    await new Promise<void>((resolve) =>
      socket.write('POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"mod', () => resolve()),
    );
    await expect.poll(() => upstream.inFlight).toBe(1);
    socket.destroy();
    expect((await upstream.waitForRequest()).isAborted).toBe(true);
    expect(upstream.inFlight).toBe(0);
  });

  it("does not call it an abort when the client closes after the answer, or the script breaks off", async () => {
    upstream.next(reply(), resetBeforeHeaders(), stream({ cutAfterEvents: 1 }), closeEarly());
    for (const body of [chat("x"), chat("x"), streamed("x"), chat("x")]) await post(body);
    await Promise.all(upstream.requests.map((request) => request.ended));
    expect(upstream.requests.map(({ isAborted }) => isAborted)).toEqual([false, false, false, false]);
  });

  it("keeps the latest requests only", async () => {
    const short = await startFakeUpstream({ keepRequests: 2 });
    for (const text of ["1", "2", "3"]) {
      await fetch(`${short.url}/chat/completions`, { method: "POST", body: JSON.stringify(chat(text)) }).then((r) =>
        r.text(),
      );
    }
    expect(short.requests.map(({ number }) => number)).toEqual([2, 3]);
    expect((await short.waitForRequest(3)).number).toBe(3);
    await expect(short.waitForRequest(1)).rejects.toThrow("no longer kept");
    const waiting = short.waitForRequest(4);
    await short.close();
    await expect(waiting).rejects.toThrow("closed");
    await expect(short.waitForRequest(4)).rejects.toThrow("closed");
  });
});

describe("faults on the wire", () => {
  it("refuses connections until it listens again, on the same port", async () => {
    const agent = new Agent({ keepAlive: true });
    await post(chat("x"), { agent });
    const { port } = upstream;
    await upstream.refuse();
    expect(upstream.openConnections).toBe(0);
    expect((await post(chat("x"))).error).toBe("ECONNREFUSED");
    await upstream.listenAgain();
    expect(upstream.port).toBe(port);
    expect((await post(chat("x"))).status).toBe(200);
    agent.destroy();
  });

  it("drops what is under way when it refuses", async () => {
    upstream.next(stream({ stallAfterEvents: 1 }));
    const answer = post(streamed("x"));
    const request = await upstream.waitForRequest();
    await upstream.refuse();
    expect((await answer).error).toBe("ECONNRESET");
    await request.ended;
    expect(request.isAborted).toBe(false);
    expect(upstream.inFlight).toBe(0);
  });

  it("resets before the headers", async () => {
    upstream.next(resetBeforeHeaders());
    expect(await post(chat("x"))).toMatchObject({ status: 0, error: "ECONNRESET" });
  });

  it("resets after the headers, which arrive every time", async () => {
    upstream.always(resetAfterHeaders());
    for (let round = 0; round < 50; round++) {
      expect(await post(chat("x"))).toMatchObject({ status: 200, text: "", error: "ECONNRESET" });
    }
  });

  it("ends a body before its content length", async () => {
    upstream.next(closeEarly());
    const { status, headers, bytes, error: code } = await post(chat("a text that is long enough"));
    expect(status).toBe(200);
    expect(bytes.length).toBeGreaterThan(0);
    expect(bytes.length).toBeLessThan(Number(headers["content-length"]));
    expect(code).toBe("ECONNRESET"); // node's name for a premature end
  });

  it("cuts a stream in the middle of a chunk", async () => {
    const whole = (await post(streamed("abcdefghijkl"))).bytes;
    for (const cut of ["reset", "close"] as const) {
      upstream.next(stream({ text: "abcdefghijkl", cutAfterBytes: 300, cut }));
      const { status, bytes, error: code } = await post(streamed("x"));
      expect(status).toBe(200);
      expect(bytes.length).toBe(300);
      expect(whole.length).toBeGreaterThan(300);
      expect(code).toBeDefined();
    }
    upstream.next(stream({ text: "abcdefghijkl", cutAfterBytes: 300, cut: "close" }));
    const { text, hasEnded } = await rawPost(streamed("x"));
    expect(hasEnded).toBe(true);
    const lastChunk = text.slice(text.lastIndexOf("\r\n", text.lastIndexOf("data: ") - 3));
    const [size, part] = lastChunk.trimStart().split("\r\n");
    expect(part?.length).toBeLessThan(Number.parseInt(size ?? "", 16));
  });

  it("cuts a stream after a number of events, at the latest before its end", async () => {
    for (const [cutAfterEvents, eventCount] of [
      [0, 0],
      [2, 2],
      [1_000, 5],
    ] as const) {
      upstream.next(stream({ chunks: ["a", "b", "c"], cutAfterEvents }));
      const { text, error: code } = await post(streamed("x"));
      expect(eventsOf(text)).toHaveLength(eventCount);
      expect(code).toBe("ECONNRESET");
    }
    upstream.next(stream({ cutAfterBytes: 1_000_000 }));
    expect(await post(streamed("x"))).toMatchObject({ text: expect.stringContaining("[DONE]"), error: "ECONNRESET" });
  });

  it("falls silent, for ever or for a while", async () => {
    upstream.next(stream({ chunks: ["a", "b"], stallAfterEvents: 2, stallMs: 50 }));
    const startedAt = performance.now();
    const { text } = await post(streamed("x"));
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(45);
    expect(contentOf(text)).toBe("ab");
    upstream.next(stream({ chunks: ["a", "b"], stallAfterEvents: 2 }));
    const stalled = await rawPost(streamed("x"));
    expect(stalled.text).toContain('"content":"a"');
    expect(stalled.text).not.toContain('"content":"b"');
    expect(stalled.hasEnded).toBe(false);
  });

  it("sends comments while it stalls", async () => {
    upstream.next(stream({ stallAfterEvents: 1, stallMs: 60, pingMs: 20 }));
    const { text } = await post(streamed("x"));
    expect(text.match(/^: ping$/gm)?.length).toBeGreaterThanOrEqual(2);
    expect(eventsOf(text).at(-1)).toBe("[DONE]");
  });

  it("trickles its headers", async () => {
    upstream.next(slowHeaders(80));
    const startedAt = performance.now();
    const { status, text } = await post(chat("x"));
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(75);
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ choices: [{ message: { content: "x" } }] });
    upstream.next(slowHeaders(1_600_000));
    const slow = await rawPost(chat("x"));
    expect("HTTP/1.1 200 OK".startsWith(slow.text.slice(0, 5))).toBe(true);
    expect(slow.text).not.toContain("\r\n\r\n");
  });

  it("sends informational responses, a number of them or without end", async () => {
    upstream.next(informational(3, 1));
    expect(await post(chat("x"))).toMatchObject({ status: 200, informationalCount: 3 });
    upstream.next(informational());
    const controller = new AbortController();
    const answer = post(chat("x"), { signal: controller.signal });
    await new Promise((resolve) => setTimeout(resolve, 100));
    controller.abort();
    const { status, informationalCount } = await answer;
    expect(status).toBe(0);
    expect(informationalCount).toBeGreaterThan(3);
  });

  it("sends a garbage event, invalid JSON, a huge event, and bytes of the test's own, and goes on", async () => {
    upstream.next(stream({ chunks: ["a", "b"], garbageAfterEvents: 2 }));
    const garbage = await post(streamed("x"));
    expect(garbage.bytes.includes(Buffer.from([0xff, 0xfe]))).toBe(true);
    expect(garbage.text.indexOf("\ufffd")).toBeGreaterThan(garbage.text.indexOf('"content":"a"'));
    expect(garbage.text.indexOf("\ufffd")).toBeLessThan(garbage.text.indexOf('"content":"b"'));
    expect(garbage.text.endsWith("data: [DONE]\n\n")).toBe(true);

    upstream.next(stream({ invalidJsonAfterEvents: 1 }));
    expect(() => eventsOf("")).not.toThrow();
    const invalid = await post(streamed("x"));
    expect(() => eventsOf(invalid.text)).toThrow(SyntaxError);
    expect(invalid.error).toBeUndefined();

    upstream.next(stream({ hugeEventBytes: 3_000_000 }));
    const huge = await post(streamed("x"));
    expect(Math.max(...huge.text.split("\n\n").map((event) => event.length))).toBeGreaterThan(3_000_000);
    expect(eventsOf(huge.text).at(-1)).toBe("[DONE]");

    upstream.next(stream({ insert: [{ afterEvents: 0, bytes: "event: odd\ndata: 1\n\n" }] }));
    expect((await post(streamed("x"))).text.startsWith("event: odd\ndata: 1\n\n")).toBe(true);
  });

  it("reports an error inside the stream and ends without [DONE]", async () => {
    upstream.next(
      stream({ chunks: ["a", "b"], errorAfterEvents: 2 }),
      stream({ errorAfterEvents: 0, error: { error: "odd" } }),
    );
    const first = await post(streamed("x"));
    expect(first.error).toBeUndefined();
    expect(contentOf(first.text)).toBe("a");
    expect(eventsOf(first.text).at(-1)).toMatchObject({ error: { type: "server_error" } });
    expect(eventsOf((await post(streamed("x"))).text)).toEqual([{ error: "odd" }]);
  });

  it("R9: leaves out [DONE] or the finish reason, or goes on after [DONE]", async () => {
    upstream.next(stream({ done: false }), stream({ finishReason: null }), stream({ afterDone: ['{"late":1}'] }));
    const withoutDone = await post(streamed("x"));
    expect(withoutDone.error).toBeUndefined();
    expect(withoutDone.text).toContain('"finish_reason":"stop"');
    expect(withoutDone.text).not.toContain("[DONE]");
    const withoutReason = await post(streamed("x"));
    expect(withoutReason.text).not.toContain('"finish_reason":"stop"');
    expect(withoutReason.text).toContain("[DONE]");
    expect(eventsOf((await post(streamed("x"))).text).at(-1)).toEqual({ late: 1 });
  });

  it("R24: cuts its writes into pieces of any size", async () => {
    upstream.next(stream({ text: "héllo wörld", pieceBytes: 1 }));
    const pieces: string[] = [];
    const { text } = await post(streamed("x"), { onData: (piece) => pieces.push(piece) });
    expect(contentOf(text)).toBe("héllo wörld");
    expect(pieces.length).toBeGreaterThan(50);
  });

  it("S36: compresses although nobody asked", async () => {
    upstream.next(gzip(), gzip());
    const whole = await post(chat("zipped"));
    expect(whole.headers["content-encoding"]).toBe("gzip");
    expect(JSON.parse(gunzipSync(whole.bytes).toString())).toMatchObject({
      choices: [{ message: { content: "zipped" } }],
    });
    const streamedWhole = await post(streamed("zipped"));
    expect(contentOf(gunzipSync(streamedWhole.bytes).toString())).toBe("zipped");
  });

  it("S4: redirects", async () => {
    upstream.next(redirect("http://127.0.0.1:1/elsewhere", 307));
    expect(await post(chat("x"))).toMatchObject({ status: 307, headers: { location: "http://127.0.0.1:1/elsewhere" } });
  });

  it("answers with the wrong type, or with JSON that breaks off", async () => {
    upstream.next(wrongType(), wrongType("application/json"), invalidJson(), invalidJson());
    const whole = await post(chat("x"));
    expect(whole.headers["content-type"]).toContain("text/html");
    expect(JSON.parse(whole.text)).toHaveProperty("choices");
    expect((await post(streamed("x"))).headers["content-type"]).toBe("application/json");
    const invalid = await post(chat("x"));
    expect(invalid.error).toBeUndefined();
    expect(() => JSON.parse(invalid.text)).toThrow(SyntaxError);
    expect(() => eventsOf("data: {\n\n")).toThrow(SyntaxError);
    const invalidStream = await post(streamed("x"));
    expect(() => eventsOf(invalidStream.text)).toThrow(SyntaxError);
  });

  it("S32: sends huge bodies, events and headers", async () => {
    upstream.next(hugeBody(5_000_000), hugeBody(5_000_000), hugeHeaders(20_000));
    const whole = await post(chat("x"));
    expect(whole.bytes.length).toBeGreaterThan(5_000_000);
    expect(JSON.parse(whole.text)).toMatchObject({ choices: [{ message: { content: "x" } }] });
    expect((await post(streamed("x"))).bytes.length).toBeGreaterThan(5_000_000);
    // The client's own limit is 16 KiB.
    expect((await post(chat("x"))).error).toBe("HPE_HEADER_OVERFLOW");
  });

  it("S32: waits for a client that does not read", async () => {
    upstream.next(hugeBody(20_000_000));
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const call = httpRequest(`${upstream.url}/chat/completions`, { method: "POST", agent: false }, resolve);
      call.on("error", reject);
      call.end(JSON.stringify(chat("x")));
    });
    const request = await upstream.waitForRequest();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(request.isEnded).toBe(false);
    response.resume();
    await request.ended;
    expect(request.isAborted).toBe(false);
  });

  it.each([
    ["chunk-size", "HPE_INVALID_CHUNK_SIZE"],
    ["content-lengths", "HPE_UNEXPECTED_CONTENT_LENGTH"],
    ["status-line", "HPE_INVALID_CONSTANT"],
  ] as const)("breaks HTTP's framing: %s", async (fault, code) => {
    upstream.next(badFraming(fault));
    expect((await post(chat("x"))).error).toBe(code);
  });

  it.each([0, 10])("S38: sends an answer that nobody asked for, %i ms after the right one", async (afterMs) => {
    upstream.next(surplusBytes(afterMs));
    const { text } = await rawPost(chat("once"));
    expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
    expect(text.indexOf('"content":"once"')).not.toBe(text.lastIndexOf('"content":"once"'));
  });

  it.each([
    ["close", true],
    ["stay", false],
  ] as const)("sends exactly the bytes of a test, with waits between, then: %s", async (end, hasEnded) => {
    const bytes = ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", "\r\n{", "}"] as const;
    upstream.next(raw([bytes[0], { waitMs: 5 }, Buffer.from(bytes[1]), { waitMs: 5 }, bytes[2]], { end }));
    expect(await rawPost(chat("x"))).toEqual({ text: bytes.join(""), hasEnded });
    await upstream.requests[0]?.ended;
    expect(upstream.requests[0]?.isAborted).toBe(false);
  });

  it("ends a response of the test's own with a reset", async () => {
    upstream.next(raw(["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"], { end: "reset" }));
    expect(await post(chat("x"))).toMatchObject({ status: 200, text: "{", error: "ECONNRESET" });
  });

  it.each([400, 401, 403, 404, 408, 413, 425, 429, 500, 502, 503, 529, 599])(
    "answers with status %i in OpenAI's error shape",
    async (status) => {
      upstream.next(error(status, { message: "no", code: "because" }));
      const { headers, text, ...received } = await post(chat("x"));
      expect(received.status).toBe(status);
      expect(headers["retry-after"]).toBeUndefined();
      expect(JSON.parse(text)).toEqual({
        error: { message: "no", type: expect.any(String), param: null, code: "because" },
      });
    },
  );

  it("answers with errors as odd as a test wants them", async () => {
    upstream.next(
      error(429, { retryAfter: 7 }),
      error(503, { retryAfter: "soon", body: "<h1>Busy</h1>", headers: { "content-type": "text/html" } }),
      error(500, { body: { error: "flat" } }),
    );
    expect((await post(chat("x"))).headers["retry-after"]).toBe("7");
    const html = await post(chat("x"));
    expect(html).toMatchObject({
      text: "<h1>Busy</h1>",
      headers: { "retry-after": "soon", "content-type": "text/html" },
    });
    expect(JSON.parse((await post(chat("x"))).text)).toEqual({ error: "flat" });
  });
});

describe("closing", () => {
  it("R8: leaves no socket behind, whatever is under way", async () => {
    upstream.next(silence(), stream({ stallAfterEvents: 1, pingMs: 10 }), slowHeaders(60_000), informational());
    upstream.always(raw(["HTTP/1.1 200 OK\r\n"], { end: "stay" }));
    const answers = [1, 2, 3, 4, 5].map((n) => post(n === 2 ? streamed("x") : chat("x")));
    await upstream.waitForRequest(5);
    await upstream.close();
    for (const answer of await Promise.all(answers)) expect(answer.error).toBe("ECONNRESET");
    expect(upstream.openConnections).toBe(0);
    expect(upstream.inFlight).toBe(0);
    await expect(upstream.listenAgain()).rejects.toThrow("closed");
    await upstream.close();
  });

  it("waits for nothing more once a stream has broken off", async () => {
    for (const fault of [{ errorAfterEvents: 1 }, { cutAfterEvents: 1 }, { cutAfterBytes: 10 }]) {
      const clock = virtualClock();
      await using timed = await startFakeUpstream({ clock });
      timed.next(stream({ firstTokenMs: 60_000, ...fault }));
      await fetch(`${timed.url}/chat/completions`, { method: "POST", body: JSON.stringify(streamed("x")) })
        .then((response) => response.text())
        .catch(() => {});
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it("closes at the end of a scope", async () => {
    let origin: string;
    {
      await using scoped = await startFakeUpstream();
      origin = scoped.origin;
    }
    await new Promise<void>((resolve) => get(origin, () => expect.unreachable()).on("error", () => resolve()));
  });
});
