import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UpstreamError } from "../../src/errors/upstream-error.js";
import { fetchTransport } from "../../src/transport/fetch.js";
import type { Exchange, Transport, TransportRequest, TransportResponse } from "../../src/transport/transport.js";
import { undiciTransport } from "../../src/transport/undici.js";
import {
  type ByteServer,
  byteServer,
  CHUNKED_HEAD,
  type WireConnection,
  type WireRequest,
  wireChunk,
  wireResponse,
} from "../support/byte-server.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { until } from "../support/node-server.js";

expectNothingLeaks({ resources: "file" });

const MEBIBYTE = 1024 * 1024;

let transport: Transport;
const servers: ByteServer[] = [];

afterEach(async () => {
  await transport.close();
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
});

async function serve(
  onRequest: (connection: WireConnection, request: WireRequest) => void,
  onConnection?: (connection: WireConnection) => void,
): Promise<ByteServer> {
  const server = await byteServer(onRequest, onConnection);
  servers.push(server);
  return server;
}

function requestTo(origin: string, fields: Partial<TransportRequest> = {}): TransportRequest {
  return {
    method: "POST",
    origin,
    path: "/v1/chat/completions",
    headers: { "content-type": "application/json", "accept-encoding": "identity" },
    body: "{}",
    partition: "one",
    isStrict: false,
    ...fields,
  };
}

/** Sends and reads all of the text. */
async function exchangeText(origin: string, fields?: Partial<TransportRequest>): Promise<string> {
  const response = await transport.send(requestTo(origin, fields)).response;
  return response.body.text(MEBIBYTE);
}

async function failureOf(promise: Promise<unknown>): Promise<UpstreamError> {
  const thrown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(UpstreamError);
  return thrown as UpstreamError; // just checked
}

/** The connection broke, as opposed to an answer that cannot be read. */
async function expectUnreachable(promise: Promise<unknown>): Promise<string> {
  const error = await failureOf(promise);
  expect(error).toMatchObject({ errorClass: "network", isBadResponse: false });
  expect(error.cause).toBeUndefined();
  return error.message;
}

async function readAll(response: TransportResponse): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const bytes = await response.body.read();
    if (bytes === undefined) return text;
    text += decoder.decode(bytes, { stream: true });
  }
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // listens on TCP
  server.close();
  await once(server, "close");
  return port;
}

/** Writes for as long as the kernel takes bytes. @returns how many it has taken so far. */
function flood(connection: WireConnection, piece: string): { readonly sent: number } {
  const count = { sent: 0 };
  const more = () => {
    if (connection.socket.destroyed) return;
    do count.sent += Buffer.byteLength(piece);
    while (connection.write(piece) && count.sent < 512 * MEBIBYTE);
  };
  connection.socket.on("drain", more);
  more();
  return count;
}

/** Resolves when `value` has not changed for 50 ms. */
async function settled(value: () => number): Promise<number> {
  for (let last = Number.NaN; ; ) {
    const now = value();
    if (now === last) return now;
    last = now;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** `ownsConnections`: false where the platform has them, with its own ideas about when to close them. */
const implementations = [
  { name: "undici", create: () => undiciTransport(), ownsConnections: true },
  { name: "fetch", create: () => fetchTransport(), ownsConnections: false },
];

describe.each(implementations)("every transport: $name", ({ create, ownsConnections }) => {
  beforeEach(() => {
    transport = create();
  });

  describe("an exchange", () => {
    it("sends method, path, headers and body as given", async () => {
      const server = await serve((connection) => connection.write(wireResponse("ok")));
      await exchangeText(server.origin, {
        path: "/v1/x?y=%2F",
        headers: { "content-type": "application/json", authorization: "Bearer k", "accept-encoding": "identity" },
        body: '{"text":"naïve 🚂"}',
      });
      const [request] = server.requests;
      expect(request?.line).toBe("POST /v1/x?y=%2F HTTP/1.1");
      expect(request?.body).toBe('{"text":"naïve 🚂"}');
      expect(request?.headers.get("authorization")).toBe("Bearer k");
      expect(request?.headers.get("accept-encoding")).toBe("identity");
      expect(request?.headers.get("content-type")).toBe("application/json");
    });

    it("sends bytes, and no body where there is none", async () => {
      const server = await serve((connection) => connection.write(wireResponse("ok")));
      await exchangeText(server.origin, { body: new TextEncoder().encode("bytes") });
      await exchangeText(server.origin, { method: "GET", path: "/models", body: undefined, headers: {} });
      expect(server.requests.map(({ line, body }) => [line, body])).toEqual([
        ["POST /v1/chat/completions HTTP/1.1", "bytes"],
        ["GET /models HTTP/1.1", ""],
      ]);
    });

    it("gives status, headers in lower case with repeated ones joined, and the text", async () => {
      const server = await serve((connection) =>
        connection.write(
          wireResponse("grün", { status: "429 Slow Down", headers: ["X-Tag: a", "x-tag: b", "Retry-After: 3"] }),
        ),
      );
      const response = await transport.send(requestTo(server.origin)).response;
      expect(response.status).toBe(429);
      expect(response.headers.get("x-tag")).toBe("a, b");
      expect(response.headers.get("retry-after")).toBe("3");
      expect(await response.body.text(100)).toBe("grün");
    });

    it("survives being copied: status, headers and body are own fields of the response", async () => {
      const server = await serve((connection) => connection.write(wireResponse("ok")));
      const { status, headers, body } = { ...(await transport.send(requestTo(server.origin)).response) };
      expect(status).toBe(200);
      expect(headers.get("content-length")).toBe("2");
      expect(await body.text(2)).toBe("ok");
    });

    it("collects a text that comes in pieces cut inside a character, and drops a byte order mark", async () => {
      const server = await serve(({ socket }) => {
        const bytes = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n\ufeffgrün🚂`.replace("🚂", "ä"));
        const cut = bytes.length - 1;
        socket.write(bytes.subarray(0, cut));
        setTimeout(() => socket.write(bytes.subarray(cut)), 20);
      });
      expect(await exchangeText(server.origin)).toBe("grünä");
    });

    it("reads a stream to its end, and again only its end", async () => {
      const server = await serve((connection) => {
        connection.write(CHUNKED_HEAD + wireChunk("one ") + wireChunk("two "));
        setTimeout(() => connection.write(wireChunk("three") + wireChunk("")), 10);
      });
      const response = await transport.send(requestTo(server.origin)).response;
      expect(await readAll(response)).toBe("one two three");
      expect(await response.body.read()).toBeUndefined();
      expect(transport.bufferedBytes).toBe(0);
    });

    it("takes an empty body, as text and as bytes", async () => {
      const server = await serve((connection) => connection.write(wireResponse("")));
      expect(await exchangeText(server.origin)).toBe("");
      const response = await transport.send(requestTo(server.origin)).response;
      expect(await response.body.read()).toBeUndefined();
    });

    it("takes a body that ends with the connection", async () => {
      const server = await serve(({ socket }) => socket.end("HTTP/1.1 200 OK\r\n\r\nall of it"));
      expect(await exchangeText(server.origin)).toBe("all of it");
    });

    it("calls onConnected once, before the response", async () => {
      const server = await serve((connection) => connection.write(wireResponse("ok")));
      const order: string[] = [];
      const exchange = transport.send(requestTo(server.origin, { onConnected: () => order.push("connected") }));
      await exchange.response.then(() => order.push("response"));
      expect(order).toEqual(["connected", "response"]);
    });
  });

  describe("a fault of the upstream (R6, fault matrix)", () => {
    it("refused: unreachable, and the message says where", async () => {
      const port = await closedPort();
      const message = await expectUnreachable(exchangeText(`http://127.0.0.1:${port}`));
      expect(message).toBe(`connection refused by 127.0.0.1:${port}`);
    });

    it("a name that does not exist: unreachable", async () => {
      const message = await expectUnreachable(exchangeText("http://no-such-host.invalid"));
      expect(message).toMatch(/^the name of no-such-host\.invalid cannot be resolved/);
    });

    it("TLS with something that does not speak it: unreachable", async () => {
      const server = await serve(
        () => {},
        ({ socket }) => socket.end("this is no TLS at all, but some other protocol\n"),
      );
      expect(await expectUnreachable(exchangeText(server.origin.replace("http:", "https:")))).toMatch(/TLS|connection/);
    });

    it("reset before the headers: unreachable", async () => {
      const server = await serve(({ socket }) => socket.resetAndDestroy());
      const message = await expectUnreachable(exchangeText(server.origin));
      expect(message).toBe(`127.0.0.1:${server.port} closed the connection before it answered`);
    });

    it("closed before the headers: unreachable", async () => {
      const server = await serve(({ socket }) => socket.end());
      await expectUnreachable(exchangeText(server.origin));
    });

    it("closed within the headers: unreachable", async () => {
      const server = await serve(({ socket }) => socket.end("HTTP/1.1 200 OK\r\ncontent-le"));
      await expectUnreachable(exchangeText(server.origin));
    });

    it("reset after the headers: what came is read, then unreachable", async () => {
      const server = await serve((connection) => {
        connection.write(CHUNKED_HEAD + wireChunk("begun"));
        setTimeout(() => connection.socket.resetAndDestroy(), 30);
      });
      const { body } = await transport.send(requestTo(server.origin)).response;
      expect(new TextDecoder().decode(await body.read())).toBe("begun");
      await expectUnreachable(body.read());
      await expectUnreachable(body.read());
      expect(transport.bufferedBytes).toBe(0);
    });

    it("a declared length that the body does not reach: unreachable, as text and as bytes", async () => {
      const server = await serve(({ socket }) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort"));
      await expectUnreachable(exchangeText(server.origin));
      await expectUnreachable(transport.send(requestTo(server.origin)).response.then(readAll));
      expect(transport.bufferedBytes).toBe(0);
    });

    it("a chunked body that is cut: unreachable", async () => {
      const server = await serve(({ socket }) => socket.end(`${CHUNKED_HEAD}${wireChunk("whole")}5\r\nha`));
      await expectUnreachable(exchangeText(server.origin));
      await expectUnreachable(transport.send(requestTo(server.origin)).response.then(readAll));
    });

    it("a chunked body without its last chunk: unreachable", async () => {
      const server = await serve(({ socket }) => socket.end(CHUNKED_HEAD + wireChunk("whole")));
      await expectUnreachable(exchangeText(server.origin));
    });

    it("a chunk size that is no number: unreachable, and the message quotes nothing of it", async () => {
      const server = await serve((connection) => connection.write(`${CHUNKED_HEAD}sk-secret\r\nwhat\r\n`));
      const message = await expectUnreachable(exchangeText(server.origin));
      expect(message).not.toContain("sk-secret");
    });

    it("something that is not HTTP: unreachable", async () => {
      const server = await serve((connection) => connection.write("220 mail.example.com ESMTP ready for you\r\n"));
      const message = await expectUnreachable(exchangeText(server.origin));
      expect(message).toBe(`the answer of 127.0.0.1:${server.port} is not valid HTTP`);
    });

    it("two contradicting lengths: unreachable", async () => {
      const server = await serve((connection) =>
        connection.write(
          "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
      );
      await expectUnreachable(exchangeText(server.origin));
    });

    it("S32: more than 16 KiB of headers: a bad response", async () => {
      const server = await serve((connection) =>
        connection.write(wireResponse("ok", { headers: [`x-large: ${"a".repeat(16_400)}`] })),
      );
      const error = await failureOf(exchangeText(server.origin));
      expect(error).toMatchObject({ errorClass: "network", isBadResponse: true });
      expect(error.message).toContain("16384 bytes of headers");
    });

    it("S32: headers that never end are cut off at 16 KiB", async () => {
      const server = await serve((connection) => {
        connection.write("HTTP/1.1 200 OK\r\n");
        flood(connection, `x-more: ${"a".repeat(1000)}\r\n`);
      });
      const error = await failureOf(exchangeText(server.origin));
      expect(error.isBadResponse).toBe(true);
      await server.connections[0]?.closed();
    });

    it("S32: a text over its limit: a bad response, and the connection ends", async () => {
      let sent: { readonly sent: number } | undefined;
      const server = await serve((connection) => {
        connection.write(CHUNKED_HEAD);
        sent = flood(connection, wireChunk("x".repeat(10_000)));
      });
      const { body } = await transport.send(requestTo(server.origin)).response;
      const error = await failureOf(body.text(100_000));
      expect(error).toMatchObject({ errorClass: "network", isBadResponse: true });
      expect(error.message).toBe("the body is larger than 100000 bytes");
      await server.connections[0]?.closed();
      expect(transport.bufferedBytes).toBe(0);
      expect(sent?.sent).toBeLessThan(64 * MEBIBYTE);
    });

    it("S32: a text of exactly its limit passes, one byte more does not", async () => {
      const server = await serve((connection) => connection.write(wireResponse("x".repeat(1000))));
      const first = await transport.send(requestTo(server.origin)).response;
      expect(await first.body.text(1000)).toHaveLength(1000);
      const second = await transport.send(requestTo(server.origin)).response;
      expect((await failureOf(second.body.text(999))).isBadResponse).toBe(true);
      expect(transport.bufferedBytes).toBe(0);
    });

    it("S4: a redirect is not followed but passed on with its status", async () => {
      const elsewhere = await serve((connection) => connection.write(wireResponse("stolen")));
      const server = await serve((connection) =>
        connection.write(
          wireResponse("", { status: "307 Temporary Redirect", headers: [`location: ${elsewhere.origin}/`] }),
        ),
      );
      const response = await transport.send(requestTo(server.origin)).response;
      expect(response.status).toBe(307);
      await response.body.text(10);
      expect(elsewhere.connections).toHaveLength(0);
    });

    it("R7: interim replies are skipped, however many, until the answer comes", async () => {
      const server = await serve((connection) => {
        let count = 0;
        const timer = setInterval(() => {
          connection.write("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
          if (++count < 10) return;
          clearInterval(timer);
          connection.write(wireResponse("at last"));
        }, 2);
      });
      expect(await exchangeText(server.origin)).toBe("at last");
    });
  });

  describe("cancelling", () => {
    const reason = new Error("the caller left");

    /** The server must know within 100 ms (R6). */
    async function expectClosedSoon(connection: WireConnection | undefined, cancelledAt: number): Promise<void> {
      expect(connection).toBeDefined();
      const closedAt = (await connection?.closed()) ?? Number.NaN;
      expect(closedAt - cancelledAt).toBeLessThan(100);
    }

    it("R6: before there is a connection, ends the attempt to make one within 100 ms", async () => {
      // A TLS handshake that is never answered.
      const server = await serve(() => {});
      const exchange = transport.send(requestTo(server.origin.replace("http:", "https:")));
      await until(() => server.connections.length === 1);
      const cancelledAt = performance.now();
      exchange.cancel(reason);
      await expect(exchange.response).rejects.toBe(reason);
      if (ownsConnections) await expectClosedSoon(server.connections[0], cancelledAt);
    });

    it("R6: at once, before anything happened, sends nothing", async () => {
      const server = await serve((connection) => connection.write(wireResponse("ok")));
      const exchange = transport.send(requestTo(server.origin));
      exchange.cancel(reason);
      await expect(exchange.response).rejects.toBe(reason);
      await exchangeText(server.origin);
      expect(server.requests).toHaveLength(1);
    });

    it("R6: before the headers, reaches the upstream within 100 ms", async () => {
      const server = await serve(() => {});
      const exchange = transport.send(requestTo(server.origin));
      await server.requestCount(1);
      const cancelledAt = performance.now();
      exchange.cancel(reason);
      await expect(exchange.response).rejects.toBe(reason);
      await expectClosedSoon(server.connections[0], cancelledAt);
    });

    it("R6: in the middle of the body, rejects the pending read with the reason and reaches the upstream", async () => {
      const server = await serve((connection) => connection.write(CHUNKED_HEAD + wireChunk("begun")));
      const exchange = transport.send(requestTo(server.origin));
      const { body } = await exchange.response;
      await body.read();
      const pending = body.read();
      const cancelledAt = performance.now();
      exchange.cancel(reason);
      await expect(pending).rejects.toBe(reason);
      await expect(body.read()).rejects.toBe(reason);
      await expectClosedSoon(server.connections[0], cancelledAt);
    });

    it("R6: while the text is collected, rejects it with the reason", async () => {
      const server = await serve((connection) => connection.write(CHUNKED_HEAD + wireChunk("begun")));
      const exchange = transport.send(requestTo(server.origin));
      const { body } = await exchange.response;
      const text = body.text(1000);
      setTimeout(() => exchange.cancel(reason), 10);
      await expect(text).rejects.toBe(reason);
      expect(transport.bufferedBytes).toBe(0);
    });

    it("with unread bytes, lets them go", async () => {
      const server = await serve((connection) => {
        connection.write(CHUNKED_HEAD);
        flood(connection, wireChunk("x".repeat(10_000)));
      });
      const exchange = transport.send(requestTo(server.origin));
      const { body } = await exchange.response;
      await settled(() => transport.bufferedBytes);
      exchange.cancel(reason);
      expect(transport.bufferedBytes).toBe(0);
      await expect(body.read()).rejects.toBe(reason);
    });

    it("after the end, changes nothing", async () => {
      const server = await serve((connection) => connection.write(wireResponse("ok")));
      const exchange = transport.send(requestTo(server.origin));
      const { body } = await exchange.response;
      expect(await readAll(await exchange.response)).toBe("ok");
      exchange.cancel(reason);
      exchange.cancel(reason);
      expect(await body.read()).toBeUndefined();
      expect(await exchangeText(server.origin)).toBe("ok");
      if (ownsConnections) expect(server.connections).toHaveLength(1);
    });

    it("after a failure, and twice, changes nothing", async () => {
      const port = await closedPort();
      const exchange = transport.send(requestTo(`http://127.0.0.1:${port}`));
      await expectUnreachable(exchange.response);
      exchange.cancel(reason);
      exchange.cancel(reason);
      await expectUnreachable(exchange.response);
    });

    it("R8: leaves no unhandled rejection where nobody waits", async () => {
      const server = await serve((connection) => connection.write(CHUNKED_HEAD + wireChunk("begun")));
      transport.send(requestTo(server.origin)).cancel(reason);
      transport.send(requestTo(`http://127.0.0.1:${await closedPort()}`));
      const exchange = transport.send(requestTo(server.origin));
      const { body } = await exchange.response;
      await body.read();
      void body.read();
      exchange.cancel(reason);
      // The file's leak check fails on anything that escapes.
      await new Promise((resolve) => setTimeout(resolve, 20));
    });
  });

  describe("closing", () => {
    it("R8: rejects what is under way, and every server sees its connections closed", async () => {
      const server = await serve((connection, { number }) => {
        if (number === 1) connection.write(CHUNKED_HEAD + wireChunk("begun"));
      });
      const streaming = transport.send(requestTo(server.origin));
      const { body } = await streaming.response;
      await body.read();
      const read = body.read();
      const waiting = transport.send(requestTo(server.origin));
      const connecting = transport.send(requestTo(server.origin.replace("http:", "https:")));
      await until(() => server.connections.length === 3);
      await server.requestCount(2);
      const outcomes = [
        expectUnreachable(read),
        expectUnreachable(waiting.response),
        expectUnreachable(connecting.response),
      ];
      await transport.close();
      await Promise.all(outcomes);
      if (ownsConnections) await until(() => server.openConnections === 0);
      expect(transport.bufferedBytes).toBe(0);
    });

    it("refuses later calls, and closes twice without complaint", async () => {
      const server = await serve((connection) => connection.write(wireResponse("ok")));
      await exchangeText(server.origin);
      await transport.close();
      await transport.close();
      expect(await expectUnreachable(exchangeText(server.origin))).toBe("the transport is closed");
      expect(server.requests).toHaveLength(1);
    });
  });

  it("S32: a reader that stops reading stops the upstream, and loses nothing", async () => {
    let sent: { readonly sent: number } | undefined;
    const piece = "0123456789".repeat(1000);
    const server = await serve((connection) => {
      connection.write(CHUNKED_HEAD);
      sent = flood(connection, wireChunk(piece));
    });
    const exchange = transport.send(requestTo(server.origin));
    const { body } = await exchange.response;
    const stalledAt = await settled(() => sent?.sent ?? 0);
    expect(stalledAt).toBeGreaterThan(0);
    expect(stalledAt).toBeLessThan(64 * MEBIBYTE);
    // The limit and what one read from the socket holds on top of it.
    expect(transport.bufferedBytes).toBeLessThanOrEqual(256 * 1024 + 64 * 1024);
    if (ownsConnections) expect(transport.bufferedBytes).toBeGreaterThan(256 * 1024);
    let received = 0;
    while (received < 2 * stalledAt) {
      const bytes = await body.read();
      for (const byte of bytes ?? []) {
        if (byte !== 0x30 + (received % 10)) throw new Error(`byte ${received} is ${byte}`);
        received++;
      }
    }
    expect(sent?.sent).toBeGreaterThan(stalledAt);
    exchange.cancel(new Error("enough"));
    expect(transport.bufferedBytes).toBe(0);
  });
});

describe("the undici transport", () => {
  beforeEach(() => {
    transport = undiciTransport();
  });

  it("uses a connection again, and several for calls at the same time", async () => {
    const server = await serve((connection) => connection.write(wireResponse("ok")));
    for (let call = 0; call < 5; call++) await exchangeText(server.origin);
    expect(server.connections).toHaveLength(1);
    await Promise.all([1, 2, 3].map(() => exchangeText(server.origin)));
    expect(server.connections).toHaveLength(3);
    expect(server.requests.every(({ headers }) => headers.get("connection") === "keep-alive")).toBe(true);
  });

  it("S38: connections are not shared between partitions", async () => {
    const server = await serve((connection) => connection.write(wireResponse("ok")));
    for (const partition of ["one", "two", "one", "two"]) await exchangeText(server.origin, { partition });
    expect(server.connections.map(({ requests }) => requests.length)).toEqual([2, 2]);
  });

  it("S38: strict isolation gives each call a connection of its own and closes it", async () => {
    const server = await serve((connection) => connection.write(wireResponse("ok")));
    await exchangeText(server.origin);
    await exchangeText(server.origin, { isStrict: true });
    await exchangeText(server.origin, { isStrict: true });
    await exchangeText(server.origin);
    expect(server.connections.map(({ requests }) => requests.length)).toEqual([2, 1, 1]);
    expect(server.requests.map(({ headers }) => headers.get("connection"))).toEqual([
      "keep-alive",
      "close",
      "close",
      "keep-alive",
    ]);
    await until(() => server.openConnections === 1);
  });

  it("S38: of two responses in one write the second is nobody's answer", async () => {
    const server = await serve((connection, { number }) =>
      connection.write(
        number === 1 ? wireResponse("first") + wireResponse("not yours") : wireResponse(`answer ${number}`),
      ),
    );
    expect(await exchangeText(server.origin)).toBe("first");
    expect(await exchangeText(server.origin)).toBe("answer 2");
    expect(server.connections).toHaveLength(2);
    await server.connections[0]?.closed();
  });

  it.each([
    ["a response", wireResponse("not yours")],
    ["the start of one", "HTTP/1.1 200 OK\r\n"],
    ["garbage", "garbage"],
  ])("S38: %s that comes later, while the connection is idle, is nobody's answer", async (_what, surplus) => {
    const server = await serve((connection, { number }) => {
      connection.write(wireResponse(`answer ${number}`));
      if (number === 1) setTimeout(() => connection.write(surplus), 20);
    });
    expect(await exchangeText(server.origin)).toBe("answer 1");
    await server.connections[0]?.closed();
    expect(await exchangeText(server.origin)).toBe("answer 2");
    expect(server.connections).toHaveLength(2);
  });

  it("S38: surplus that is there when the next call comes, but was not read yet, is not its answer", async () => {
    const server = await serve((connection, { number }) => connection.write(wireResponse(`answer ${number}`)));
    expect(await exchangeText(server.origin)).toBe("answer 1");
    // Server and client share a thread: the bytes are in the kernel, and nobody can have read them.
    server.connections[0]?.write(wireResponse("not yours"));
    expect(await exchangeText(server.origin)).toBe("answer 2");
    expect(server.connections).toHaveLength(2);
  });

  it("S38: a connection is not used again after a cancel, an early close or a fault", async () => {
    const server = await serve((connection, { number }) => {
      if (number === 1) connection.write(CHUNKED_HEAD + wireChunk("begun"));
      else if (number === 2) connection.write(`${CHUNKED_HEAD}zz\r\n`);
      else connection.write(wireResponse(`answer ${number}`));
    });
    const exchange = transport.send(requestTo(server.origin));
    await (await exchange.response).body.read();
    exchange.cancel(new Error("left"));
    await expectUnreachable(exchangeText(server.origin));
    expect(await exchangeText(server.origin)).toBe("answer 3");
    expect(server.connections.map(({ requests }) => requests.length)).toEqual([1, 1, 1]);
  });

  it("does not use a connection again that the upstream wants closed", async () => {
    const server = await serve((connection) =>
      connection.write(wireResponse("ok", { headers: ["connection: close"] })),
    );
    expect(await exchangeText(server.origin)).toBe("ok");
    expect(await exchangeText(server.origin)).toBe("ok");
    expect(server.connections).toHaveLength(2);
    await until(() => server.openConnections === 0);
  });

  it("closes an idle connection two seconds before the upstream's own time is over, at once if that is less", async () => {
    const server = await serve((connection) =>
      connection.write(wireResponse("ok", { headers: ["connection: keep-alive", "keep-alive: timeout=1"] })),
    );
    await exchangeText(server.origin);
    await server.connections[0]?.closed();
    await exchangeText(server.origin);
    expect(server.connections).toHaveLength(2);
  });

  it("closes an idle connection after keepAliveMs", async () => {
    transport = undiciTransport({ keepAliveMs: 50 });
    const server = await serve((connection) => connection.write(wireResponse("ok")));
    await exchangeText(server.origin);
    await server.connections[0]?.closed();
    expect(await exchangeText(server.origin)).toBe("ok");
  });

  it("connects anew where the upstream closed the idle connection", async () => {
    const server = await serve((connection, { number }) => {
      connection.write(wireResponse(`answer ${number}`));
      if (number === 1) setTimeout(() => connection.socket.end(), 5);
    });
    await exchangeText(server.origin);
    await server.connections[0]?.closed();
    expect(await exchangeText(server.origin)).toBe("answer 2");
  });

  it("reports a connection that is closed under a call, and sends nothing twice", async () => {
    const server = await serve((connection, { number }) => {
      if (number === 2) connection.socket.destroy();
      else connection.write(wireResponse("ok"));
    });
    await exchangeText(server.origin);
    await expectUnreachable(exchangeText(server.origin));
    expect(server.requests).toHaveLength(2);
    expect(server.connections).toHaveLength(1);
  });

  it("a body that ends with the connection does not end with its reset", async () => {
    const server = await serve((connection) => {
      connection.write("HTTP/1.1 200 OK\r\n\r\nnot all of it");
      setTimeout(() => connection.socket.resetAndDestroy(), 20);
    });
    await expectUnreachable(exchangeText(server.origin));
  });

  describe("100 Continue that nobody asked for", () => {
    it("R7: is skipped, however it is cut, and however often it comes", async () => {
      const answer = `HTTP/1.1 100 Continue\r\nx-y: z\r\n\r\nHTTP/1.0 100 \r\n\r\n${wireResponse("at last")}`;
      for (let cut = 0; cut < answer.length - 1; cut += 3) {
        const server = await serve((connection) => {
          connection.write(answer.slice(0, cut));
          setTimeout(() => connection.write(answer.slice(cut)), 2);
        });
        expect(await exchangeText(server.origin), `cut at ${cut}`).toBe("at last");
      }
    });

    it("is skipped on a connection that is used again", async () => {
      const server = await serve((connection, { number }) =>
        connection.write(`HTTP/1.1 100 Continue\r\n\r\n${wireResponse(`answer ${number}`)}`),
      );
      expect(await exchangeText(server.origin)).toBe("answer 1");
      expect(await exchangeText(server.origin)).toBe("answer 2");
      expect(server.connections).toHaveLength(1);
    });

    it("without end is refused", async () => {
      const server = await serve((connection) => {
        connection.write("HTTP/1.1 100 Continue\r\n");
        flood(connection, `x-more: ${"a".repeat(1000)}\r\n`);
      });
      await failureOf(exchangeText(server.origin));
      await server.connections[0]?.closed();
    });

    it("does not hide a connection that closes after it", async () => {
      const server = await serve(({ socket }) => socket.end("HTTP/1.1 100 Continue\r\n\r\nHTTP"));
      await expectUnreachable(exchangeText(server.origin));
    });
  });

  it("calls onConnected only when there is a connection", async () => {
    let isConnected = false;
    const note = () => {
      isConnected = true;
    };
    // A TLS handshake that is never answered.
    const server = await serve(() => {});
    const exchange = transport.send(requestTo(server.origin.replace("http:", "https:"), { onConnected: note }));
    await until(() => server.connections.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isConnected).toBe(false);
    exchange.cancel(new Error("enough"));
    await expectUnreachable(exchangeText(`http://127.0.0.1:${await closedPort()}`, { onConnected: note }));
    expect(isConnected).toBe(false);
  });

  it("can be cancelled from onConnected", async () => {
    const server = await serve((connection) => connection.write(wireResponse("ok")));
    const reason = new Error("changed my mind");
    const exchange: Exchange = transport.send(
      requestTo(server.origin, { onConnected: () => queueMicrotask(() => exchange.cancel(reason)) }),
    );
    await expect(exchange.response).rejects.toBe(reason);
    const again: Exchange = transport.send(requestTo(server.origin, { onConnected: () => again.cancel(reason) }));
    await expect(again.response).rejects.toBe(reason);
    expect(await exchangeText(server.origin)).toBe("ok");
  });

  it("S2: refuses an address that is not allowed, before anything is sent", async () => {
    const asked: string[] = [];
    transport = undiciTransport({
      allowAddress: (address, origin) => {
        asked.push(`${address} of ${origin}`);
        return false;
      },
    });
    const server = await serve((connection) => connection.write(wireResponse("ok")));
    const origin = `http://localhost:${server.port}`;
    const message = await expectUnreachable(exchangeText(origin));
    expect(message).toBe(`localhost:${server.port} has an address that may not be called`);
    expect(asked).toEqual([`127.0.0.1 of ${origin}`]);
    expect(server.requests).toHaveLength(0);
    await until(() => server.openConnections === 0);
  });

  it("S27, R20: closes the longest unused idle connections when there are too many pools, but none in use", async () => {
    transport = undiciTransport({ maxPools: 2 });
    const server = await serve((connection, { number }) => {
      if (number > 1) connection.write(wireResponse("ok"));
    });
    const busy = transport.send(requestTo(server.origin, { partition: "busy" }));
    await server.requestCount(1);
    await exchangeText(server.origin, { partition: "first" });
    await exchangeText(server.origin, { partition: "second" });
    await server.connections[1]?.closed();
    expect(server.openConnections).toBe(2);
    await exchangeText(server.origin, { partition: "third" });
    await server.connections[2]?.closed();
    server.connections[0]?.write(wireResponse("late"));
    expect(await (await busy.response).body.text(10)).toBe("late");
  });

  it("a request that cannot be written is a mistake of ours, not the upstream's fault", async () => {
    const server = await serve((connection) => connection.write(wireResponse("ok")));
    await expect(exchangeText(server.origin, { path: "no slash" })).rejects.toThrow(TypeError);
    await expect(exchangeText(server.origin, { headers: { "bad name": "x" } })).rejects.toThrow(TypeError);
    await expect(exchangeText("ftp://127.0.0.1")).rejects.not.toBeInstanceOf(UpstreamError);
    expect(await exchangeText(server.origin)).toBe("ok");
  });

  it("P11: serves many calls at once and keeps count", async () => {
    const held: WireConnection[] = [];
    const server = await serve((connection) => void held.push(connection));
    const calls = Array.from({ length: 200 }, () => exchangeText(server.origin));
    await server.requestCount(200);
    for (const connection of held) connection.write(wireResponse("ok"));
    expect(new Set(await Promise.all(calls))).toEqual(new Set(["ok"]));
    const again = Array.from({ length: 200 }, () => exchangeText(server.origin));
    await server.requestCount(400);
    for (const connection of held.slice(200)) connection.write(wireResponse("ok"));
    await Promise.all(again);
    expect(server.connections).toHaveLength(200);
    expect(transport.bufferedBytes).toBe(0);
  });
});
