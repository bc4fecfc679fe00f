import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { routerError } from "../../src/errors/router-error.js";
import { createHandler, type HandlerOptions } from "../../src/http/index.js";
import { virtualClock } from "../../src/testing/virtual-clock.js";
import { type NodeServer, nodeServer, until } from "../support/node-server.js";
import { aChunkText, aReply, type ScriptedRouter, scriptedRouter, scriptedStream } from "../support/scripted-router.js";
import { onceUnhandled } from "../support/unhandled.js";

/** The bound holds on a machine that has nothing else to do: give it another chance. */
const ON_TIME = { retry: 3 };
const CHAT = JSON.stringify({ model: "chat", messages: [{ role: "user", content: "Hi" }] });
const KIB = "x".repeat(1_024);

/** Statuses of the responses in `received`, in order. */
const statuses = (received: string) => [...received.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status));

let server: NodeServer | undefined;
const unhandled = onceUnhandled();

async function serve(router: ScriptedRouter = scriptedRouter(), options: HandlerOptions = {}): Promise<NodeServer> {
  server = await nodeServer(createHandler(router, options).node);
  return server;
}
/** A router whose requests end only when they are aborted; it tells how many are under way, and how many were aborted. */
function hangingRouter() {
  const count = { started: 0, aborted: 0 };
  const router = scriptedRouter(
    ({ options }) =>
      new Promise((_resolve, reject) => {
        count.started++;
        options?.signal?.addEventListener("abort", () => {
          count.aborted++;
          reject(routerError("cancelled"));
        });
      }),
  );
  return { router, count };
}

beforeEach(() => unhandled.start());
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  await until(() => (server?.openSockets ?? 0) === 0);
  server = undefined;
  expect(await unhandled.stop()).toEqual([]);
});

describe("a body on its way", () => {
  it("R7: is refused with 408 when it trickles, and the connection is closed", async () => {
    const clock = virtualClock();
    const router = scriptedRouter();
    const client = (await serve(router, { clock })).connect();
    client.send(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${CHAT.length}\r\n\r\n{`);
    await until(() => clock.pendingTimers === 1);
    await clock.advance(9_000);
    client.send('"');
    await clock.advance(999);
    expect(client.received).toBe("");
    await clock.advance(1_000);
    await client.waitFor("request_timeout");
    expect(statuses(client.received)).toEqual([408]);
    expect(client.received).toMatch(/^connection: close\r$/im);
    // Until the client has stopped sending, or a moment has passed.
    await clock.advance(1_000);
    await client.closed();
    expect(router.calls).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("may take its time while its pace is good", async () => {
    const clock = virtualClock();
    const router = scriptedRouter();
    const client = (await serve(router, { clock })).connect();
    const body = JSON.stringify({ model: "chat", padding: KIB.repeat(20) });
    client.send(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`);
    await until(() => clock.pendingTimers === 1);
    for (let sent = 0; sent < body.length; sent += 1_024) {
      client.send(body.slice(sent, sent + 1_024));
      // The bytes take real time to arrive; the clock stands still meanwhile.
      await new Promise((resolve) => setTimeout(resolve, 2));
      await clock.advance(1_000);
    }
    await client.waitFor("chat.completion");
    expect(statuses(client.received)).toEqual([200]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("S22: is refused with 413 by its declared length, before it is sent", async () => {
    const clock = virtualClock();
    const client = (await serve(scriptedRouter(), { maxBodyBytes: 1_000, clock })).connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n{");
    await client.waitFor("request_too_large");
    expect(client.received).toMatch(/^connection: close\r$/im);
    await clock.advance(1_000);
    await client.closed();
    expect(statuses(client.received)).toEqual([413]);
  });

  it("S22: is read away for a moment, so that a client that is still sending sees the refusal", async () => {
    const { origin } = await serve(scriptedRouter(), { maxBodyBytes: 1_000 });
    for (let round = 0; round < 5; round++) {
      const response = await fetch(`${origin}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: KIB.repeat(4_096),
      });
      expect(response.status).toBe(413);
      expect(await response.text()).toContain("larger than 1000 bytes");
    }
  });

  it("closes as soon as a client that was refused has stopped sending, and not before", async () => {
    const clock = virtualClock();
    const client = (await serve(scriptedRouter(), { maxBodyBytes: 1_000, clock })).connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 102400\r\n\r\n").send(KIB);
    await client.waitFor("request_too_large");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(client.isClosed).toBe(false);
    client.send(KIB.repeat(99));
    await client.closed();
    expect(clock.pendingTimers).toBe(0);
  });

  it("S22: is cut at the limit when it comes in chunks without end", async () => {
    const clock = virtualClock();
    const client = (await serve(scriptedRouter(), { maxBodyBytes: 10_000, clock })).connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    const chunk = `400\r\n${KIB}\r\n`;
    while (!client.received.includes("request_too_large")) {
      client.send(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(statuses(client.received)).toEqual([413]);
    await clock.advance(1_000);
    await client.closed();
  });

  it("is asked for where the client waits for 100 Continue", async () => {
    const client = (await serve()).connect();
    client.request("POST", "/v1/chat/completions", "", [
      "expect: 100-continue",
      "content-type: application/json",
      `content-length: ${CHAT.length}`,
    ]);
    await client.waitFor("100 Continue");
    client.send(CHAT);
    await client.waitFor("chat.completion");
    expect(statuses(client.received)).toEqual([100, 200]);
  });

  it("R8: may break off: nothing reaches the router and nothing is left behind", async () => {
    const clock = virtualClock();
    const router = scriptedRouter();
    const { connect } = await serve(router, { clock });
    const client = connect();
    client.send(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${CHAT.length}\r\n\r\n{`);
    await until(() => clock.pendingTimers === 1);
    client.socket.destroy();
    await until(() => clock.pendingTimers === 0 && server?.openSockets === 0);
    expect(router.calls).toEqual([]);
  });

  it("R8: may be framed wrongly: Node refuses it, and the server lives on", async () => {
    const { connect } = await serve();
    const client = connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
    await client.closed();
    const smuggler = connect();
    smuggler.send(
      "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n",
    );
    await smuggler.closed();
    expect(statuses(smuggler.received)).toEqual([400]);
    expect(statuses(await connect().request("GET", "/v1/models").waitFor("list"))).toEqual([200]);
  });
});

describe("a connection", () => {
  it("answers pipelined requests in order", async () => {
    const pending: ((text: string) => void)[] = [];
    const router = scriptedRouter(() => new Promise((resolve) => pending.push((text) => resolve(aReply(text)))));
    const client = (await serve(router)).connect();
    client.request("POST", "/v1/chat/completions", CHAT).request("POST", "/v1/chat/completions", CHAT);
    client.request("GET", "/v1/models");
    await until(() => pending.length === 2);
    pending[1]?.("second");
    pending[0]?.("first");
    const received = await client.waitFor('"list"');
    expect(statuses(received)).toEqual([200, 200, 200]);
    expect(received.indexOf("first")).toBeLessThan(received.indexOf("second"));
    expect(received.indexOf("second")).toBeLessThan(received.indexOf('"list"'));
  });

  it("R6: aborts pipelined requests too when it ends", async () => {
    const { router, count } = hangingRouter();
    const client = (await serve(router)).connect();
    for (let i = 0; i < 20; i++) client.request("POST", "/v1/chat/completions", CHAT);
    await until(() => count.started === 20);
    client.socket.destroy();
    await until(() => count.aborted === 20);
  });

  it.each([
    ["an unknown route", "/v1/responses", 404],
    ["a wrong method", "/v1/models", 405],
    ["a wrong credential", "/v1/chat/completions", 401],
  ])("stays in sync after %s whose body nobody read", async (_what, path, status) => {
    const client = (await serve(scriptedRouter(), { authenticate: () => Promise.reject(new Error("no")) })).connect();
    const smuggled = "GET /v1/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    client.request("POST", path, smuggled);
    await client.waitFor('"error"');
    client.request("GET", "/v1/models");
    await until(() => statuses(client.received).length === 2);
    expect(statuses(client.received)).toEqual([status, 401]);
  });

  it("stays in sync when the body comes after its refusal", async () => {
    const client = (await serve()).connect();
    client.send("POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 29\r\n\r\n");
    await client.waitFor('"not_found"');
    client.send("GET /v1/models HTTP/1.1\r\n\r\n..").request("GET", "/v1/health/live");
    await client.waitFor('{"status":"ok"}');
    expect(statuses(client.received)).toEqual([404, 200]);
  });

  it("closes rather than read on after the refusal of a large body", async () => {
    const clock = virtualClock();
    const { connect } = await serve(scriptedRouter(), {
      authenticate: () => Promise.reject(new Error("no")),
      clock,
    });
    for (const framing of ["content-length: 100000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"]) {
      const client = connect();
      client.send(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n${framing}`);
      await client.waitFor("invalid_api_key");
      expect(client.received).toMatch(/^connection: close\r$/im);
      client.send(KIB.repeat(10));
      await clock.advance(1_000);
      await client.closed();
      expect(statuses(client.received)).toEqual([401]);
    }
  });

  it("S9: is refused when it repeats its credential, which Node alone would not show", async () => {
    const { connect } = await serve(scriptedRouter(), { authenticate: () => ({ user: "u" }) });
    const twice = connect().request("GET", "/v1/models", "", ["authorization: Bearer a", "Authorization: Bearer b"]);
    await twice.waitFor("invalid_api_key");
    const keys = connect().request("GET", "/v1/models", "", ["x-api-key: a", "x-api-key: a"]);
    await keys.waitFor("invalid_api_key");
    const once = connect().request("GET", "/v1/models", "", ["authorization: Bearer a"]);
    expect(statuses(await once.waitFor('"list"'))).toEqual([200]);
  });

  it.each([
    ["//v1/models", 404],
    ["/v1//models", 404],
    ["/v1/../v1/models", 404],
    ["/v1/%2e%2e/models", 404],
    ["/v1/models/%E0%A4%A", 404],
    ["/v1/models?x=/v1/embeddings", 200],
    ["http://evil.example/v1/models", 200],
    ["http://evil.example", 404],
    ["*", 404],
    ["/v1/models;a=b", 404],
  ])("S8: answers the target %j with %i", async (target, status) => {
    const client = (await serve()).connect();
    client.request("GET", target);
    await until(() => statuses(client.received).length === 1);
    expect(statuses(client.received)).toEqual([status]);
    client.request("GET", "/v1/health/live");
    await client.waitFor('{"status":"ok"}');
  });

  it("S8: routes by the target alone, whatever the host header says", async () => {
    const client = (await serve()).connect();
    client.send("GET /v1/health/live HTTP/1.1\r\nhost: x/v1/models?\r\nx-original-url: /v1/models\r\n\r\n");
    await client.waitFor('{"status":"ok"}');
  });
});

describe("a client that reads slowly", () => {
  const batch = () => Array.from({ length: 16 }, () => aChunkText(KIB.repeat(4)));

  it("S32: holds the stream up: nothing is taken from the router ahead of it", async () => {
    const stream = scriptedStream();
    const client = (await serve(scriptedRouter(() => stream.answer))).connect();
    client.socket.pause();
    const batchCount = 600;
    for (let i = 0; i < batchCount; i++) stream.push(...batch());
    stream.end();
    client.request("POST", "/v1/chat/completions", CHAT);
    // What the kernel's buffers hold is taken; then nothing more happens.
    let taken = 0;
    await until(() => {
      const isSettled = taken > 1 && stream.nextCount === taken;
      taken = stream.nextCount;
      return isSettled;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stream.nextCount).toBe(taken);
    expect(taken).toBeLessThan(batchCount);
    client.socket.resume();
    await client.waitFor("data: [DONE]\n\n");
    expect(stream.nextCount).toBe(batchCount + 1);
    expect(client.received.match(/^data: \{/gm)).toHaveLength(16 * batchCount);
    expect(stream.cancelCount).toBe(0);
  });

  it("R7: is taken to have left after 60 s without reading", async () => {
    const clock = virtualClock();
    const stream = scriptedStream();
    const client = (
      await serve(
        scriptedRouter(() => stream.answer),
        { clock },
      )
    ).connect();
    client.socket.pause();
    for (let i = 0; i < 600; i++) stream.push(...batch());
    client.request("POST", "/v1/chat/completions", CHAT);
    await until(() => stream.nextCount > 1 && clock.pendingTimers === 1);
    await clock.advance(59_999);
    expect(stream.cancelCount).toBe(0);
    await clock.advance(1);
    await stream.cancelled;
    await until(() => server?.openSockets === 0);
    expect(clock.pendingTimers).toBe(0);
    client.socket.destroy();
  });

  it("R1: is not an abort when it leaves after the last byte was written, though not read", async () => {
    const clock = virtualClock();
    const stream = scriptedStream();
    const client = (
      await serve(
        scriptedRouter(() => stream.answer),
        { clock },
      )
    ).connect();
    client.socket.pause();
    let pushCount = 1;
    stream.push(...batch());
    client.request("POST", "/v1/chat/completions", CHAT);
    // Fill the connection until it takes no more.
    await until(() => {
      if (stream.nextCount > 0 && clock.pendingTimers === 1) return true;
      stream.push(...batch());
      pushCount++;
      return false;
    });
    stream.end();
    client.socket.resume();
    await until(() => stream.nextCount === pushCount + 1);
    client.socket.destroy();
    await until(() => server?.openSockets === 0);
    expect(stream.cancelCount).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it("R7: cannot hold a connection with a whole reply that it does not read", async () => {
    const clock = virtualClock();
    const router = scriptedRouter(() => aReply(KIB.repeat(20_000)));
    const client = (await serve(router, { clock })).connect();
    client.socket.pause();
    client.request("POST", "/v1/chat/completions", CHAT);
    await until(() => router.calls.length === 1 && clock.pendingTimers === 1);
    await clock.advance(59_999);
    expect(server?.openSockets).toBe(1);
    await clock.advance(1);
    await until(() => server?.openSockets === 0);
    expect(clock.pendingTimers).toBe(0);
    client.socket.destroy();
  });
});

describe("a client that leaves", () => {
  it("R6: ends its request while the router is still working on it", ON_TIME, async () => {
    const { router, count } = hangingRouter();
    const client = (await serve(router)).connect().request("POST", "/v1/chat/completions", CHAT);
    await until(() => count.started === 1);
    const leftAt = performance.now();
    client.socket.destroy();
    await until(() => count.aborted === 1);
    expect(performance.now() - leftAt).toBeLessThan(100);
  });

  it("R6: ends its stream while it waits for the upstream", ON_TIME, async () => {
    const stream = scriptedStream();
    stream.push(aChunkText("Hel"));
    const client = (await serve(scriptedRouter(() => stream.answer))).connect();
    client.request("POST", "/v1/chat/completions", CHAT);
    await client.waitFor("Hel");
    await until(() => stream.nextCount === 2);
    const leftAt = performance.now();
    client.socket.resetAndDestroy();
    await stream.cancelled;
    expect(performance.now() - leftAt).toBeLessThan(100);
    expect(stream.cancelCount).toBe(1);
  });

  it("is told apart from a router that ends the request itself", async () => {
    const router = scriptedRouter(({ cancellation }) => {
      cancellation?.cancel(routerError("draining"));
      throw routerError("draining");
    });
    const client = (await serve(router)).connect().request("POST", "/v1/chat/completions", CHAT);
    await client.waitFor('"draining"');
    expect(statuses(client.received)).toEqual([503]);
  });

  it("R6: gets its stream cancelled also when the stream is ready only afterwards", async () => {
    const stream = scriptedStream();
    stream.push(aChunkText("late"));
    let answer = () => {};
    const router = scriptedRouter(
      () =>
        new Promise((resolve) => {
          answer = () => resolve(stream.answer);
        }),
    );
    const client = (await serve(router)).connect().request("POST", "/v1/chat/completions", CHAT);
    await until(() => router.calls.length === 1);
    client.socket.destroy();
    await until(() => server?.openSockets === 0);
    await until(() => router.calls[0]?.options?.signal?.aborted === true);
    answer();
    await stream.cancelled;
    expect(stream.nextCount).toBe(0);
  });

  it("R8: is not served when it has left before the handler was called", async () => {
    const clock = virtualClock();
    const router = scriptedRouter();
    const { node } = createHandler(router, { clock });
    let isServed = false;
    server = await nodeServer((request, response) => {
      response.once("close", () => {
        node(request, response);
        isServed = true;
      });
    });
    const client = server.connect().request("POST", "/v1/chat/completions", CHAT);
    await until(() => server?.openSockets === 1);
    client.socket.destroy();
    await until(() => isServed);
    expect(router.calls).toEqual([]);
    // Nothing waits for a body that cannot come.
    expect(clock.pendingTimers).toBe(0);
  });
});

it("R8: leaves no socket behind after a mixed load", async () => {
  const router = scriptedRouter(({ body }) => {
    if (!("stream" in (body as object))) return aReply();
    const stream = scriptedStream();
    stream.push(aChunkText("one"), aChunkText("two"));
    stream.end();
    return stream.answer;
  });
  const { origin } = await serve(router);
  const bodies = [CHAT, JSON.stringify({ model: "chat", stream: true }), "{", "[]"];
  await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const response = await fetch(`${origin}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: bodies[i % 4] ?? "",
      });
      expect(response.status).toBe(i % 4 < 2 ? 200 : 400);
      const text = await response.text();
      expect(i % 4 === 1 ? text.endsWith("data: [DONE]\n\n") : JSON.parse(text) !== null).toBe(true);
    }),
  );
});
