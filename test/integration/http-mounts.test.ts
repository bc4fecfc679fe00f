import { once } from "node:events";
import type { RequestListener } from "node:http";
import { connect, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import express from "express";
import { Hono } from "hono";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHandler } from "../../src/http/index.js";
import { type NodeServer, nodeServer, until } from "../support/node-server.js";
import { aChunkText, scriptedRouter, scriptedStream } from "../support/scripted-router.js";
import { onceUnhandled } from "../support/unhandled.js";

const chat = { model: "chat", messages: [{ role: "user", content: "Hi" }] };
const post = (body: unknown = chat): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

let server: NodeServer | undefined;
const unhandled = onceUnhandled();
async function serve(listener: RequestListener): Promise<string> {
  server = await nodeServer(listener);
  return server.origin;
}
const statusOf = async (url: string, init?: RequestInit) => {
  const response = await fetch(url, init);
  await response.arrayBuffer();
  return response.status;
};

beforeEach(() => unhandled.start());
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
  expect(await unhandled.stop()).toEqual([]);
});

describe("in Express", () => {
  it("answers under its base path and leaves the rest to the app", async () => {
    const app = express();
    app.use("/v1", createHandler(scriptedRouter()).node);
    app.get("/other", (_request, response) => {
      response.send("the app's");
    });
    const origin = await serve(app);
    expect(await (await fetch(`${origin}/v1/chat/completions`, post())).json()).toMatchObject({
      object: "chat.completion",
    });
    expect(await (await fetch(`${origin}/v1/models/openai/gpt-4o:latest?x=1`)).json()).toMatchObject({
      id: "openai/gpt-4o:latest",
    });
    const unknown = await fetch(`${origin}/v1/responses`, post());
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ error: { code: "not_found" } });
    expect(await (await fetch(`${origin}/other`)).text()).toBe("the app's");
    expect(await statusOf(`${origin}/v1/v1/models`)).toBe(404);
  });

  it.each([
    ["/api/v1", "/v1", "/api/v1/models"],
    ["/api", "/v1", "/api/v1/models"],
    ["/", "/v1", "/v1/models"],
    ["/llm", "/llm", "/llm/models"],
    ["/llm", "", "/llm/models"],
    ["/deep/api/v1", "/api/v1", "/deep/api/v1/models"],
  ])("answers mounted at %s with the base path %j: %s", async (mount, basePath, path) => {
    const app = express();
    app.use(mount, createHandler(scriptedRouter(), { basePath }).node);
    const origin = await serve(app);
    expect(await statusOf(`${origin}${path}`)).toBe(200);
  });

  it("answers mounted in a router of a router", async () => {
    const app = express();
    const inner = express.Router();
    inner.use("/v1", createHandler(scriptedRouter()).node);
    app.use("/tenant", inner);
    const origin = await serve(app);
    expect(await statusOf(`${origin}/tenant/v1/models`)).toBe(200);
  });

  it("passes on what is outside its base path when mounted at the root", async () => {
    const app = express();
    app.use(createHandler(scriptedRouter()).node);
    app.use((_request, response) => {
      response.status(418).send("the app's");
    });
    const origin = await serve(app);
    expect(await statusOf(`${origin}/v1/models`)).toBe(200);
    expect(await statusOf(`${origin}/v1/nothing`)).toBe(404);
    expect(await statusOf(`${origin}/v1x`)).toBe(418);
    expect(await statusOf(`${origin}/`)).toBe(418);
  });

  it("takes the body from a parser in front of it", async () => {
    for (const parser of [express.json(), express.raw({ type: "*/*" }), express.text({ type: "*/*" })]) {
      const router = scriptedRouter();
      const app = express();
      app.use(parser);
      app.use("/v1", createHandler(router).node);
      const origin = await serve(app);
      expect(await statusOf(`${origin}/v1/chat/completions`, post())).toBe(200);
      expect(router.calls[0]?.body).toEqual(chat);
      await server?.[Symbol.asyncDispose]();
    }
  });

  it("says what is wrong when a body was read and thrown away", async () => {
    const app = express();
    app.use((request, _response, next) => {
      request.resume().once("end", () => next());
    });
    app.use("/v1", createHandler(scriptedRouter()).node);
    const response = await fetch(`${await serve(app)}/v1/chat/completions`, post());
    expect(response.status).toBe(500);
    expect(await response.text()).toContain("mount the handler in front of body parsers");
  });

  it("takes the app's word for who is calling", async () => {
    const router = scriptedRouter();
    const { node } = createHandler(router, { authenticate: () => Promise.reject(new Error("nobody")) });
    const app = express();
    app.use("/session/v1", (request, response, next) => node(request, response, next, { principal: { user: "ann" } }));
    app.use("/v1", node);
    const origin = await serve(app);
    expect(await statusOf(`${origin}/session/v1/chat/completions`, post())).toBe(200);
    expect(router.calls[0]?.options?.principal).toEqual({ user: "ann" });
    expect(await statusOf(`${origin}/v1/chat/completions`, post())).toBe(401);
    // Express takes functions of four parameters for error handlers.
    expect(node.length).toBe(3);
  });

  it("keeps the headers that the app has set, but not over its own", async () => {
    const app = express();
    app.use((_request, response, next) => {
      response.setHeader("access-control-allow-origin", "*");
      response.setHeader("cache-control", "public");
      response.setHeader("content-length", "3");
      next();
    });
    app.use("/v1", createHandler(scriptedRouter()).node);
    const response = await fetch(`${await serve(app)}/v1/models`);
    expect(await response.json()).toMatchObject({ object: "list" });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("cache-control")).toBe("no-store");
  });

  it("closes the connection after refusing a body that is too large", async () => {
    const app = express();
    app.use((_request, response, next) => {
      response.removeHeader("connection");
      next();
    });
    app.use("/v1", createHandler(scriptedRouter(), { maxBodyBytes: 100 }).node);
    await serve(app);
    const client = server?.connect();
    client?.send("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n{");
    await client?.waitFor("request_too_large");
    expect(client?.received).toMatch(/^connection: close\r$/im);
    await client?.closed();
  });

  it("streams", async () => {
    const stream = scriptedStream();
    stream.push(aChunkText("one"));
    stream.end();
    const app = express();
    app.use("/v1", createHandler(scriptedRouter(() => stream.answer)).node);
    const response = await fetch(`${await serve(app)}/v1/chat/completions`, post());
    expect(await response.text()).toBe(`data: ${aChunkText("one")}\n\ndata: [DONE]\n\n`);
  });
});

describe("in Hono", () => {
  it("answers under a wildcard route, and mounted", async () => {
    const handler = createHandler(scriptedRouter());
    const app = new Hono();
    app.all("/v1/*", (context) => handler.fetch(context.req.raw));
    app.mount("/api", (request: Request) => handler.fetch(request));
    app.get("/other", (context) => context.text("the app's"));
    expect(await (await app.request("/v1/chat/completions", post())).json()).toMatchObject({
      object: "chat.completion",
    });
    expect((await app.request("/v1/models/openai/gpt-4o:latest")).status).toBe(200);
    expect((await app.request("/api/v1/models")).status).toBe(200);
    expect(await (await app.request("/other")).text()).toBe("the app's");
    expect((await app.request("/v1/chat/completions", { method: "OPTIONS" })).status).toBe(405);
  });

  it("streams, and hears when the client drops the body", async () => {
    const stream = scriptedStream();
    const handler = createHandler(scriptedRouter(() => stream.answer));
    const app = new Hono().all("/v1/*", (context) => handler.fetch(context.req.raw));
    stream.push(aChunkText("one"));
    const response = await app.request("/v1/chat/completions", post());
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toContain("one");
    await reader?.cancel();
    expect(stream.cancelCount).toBe(1);
  });

  it("takes the app's word for who is calling", async () => {
    const router = scriptedRouter();
    const handler = createHandler(router);
    const app = new Hono().all("/v1/*", (context) => handler.fetch(context.req.raw, { principal: { user: "ann" } }));
    await app.request("/v1/chat/completions", post());
    expect(router.calls[0]?.options?.principal).toEqual({ user: "ann" });
  });
});

describe("in other hosts", () => {
  it("answers mounted in Connect, which takes the mount off and says only the original URL", async () => {
    const { node } = createHandler(scriptedRouter());
    const passedOn: string[] = [];
    const origin = await serve((request, response) => {
      const originalUrl = request.url ?? "";
      const url = originalUrl.replace(/^\/(?:api\/)?v1(?=[/?]|$)/, "");
      Object.assign(request, { originalUrl, url: url.startsWith("/") ? url : `/${url}` });
      node(request, response, () => {
        passedOn.push(originalUrl);
        response.writeHead(418).end();
      });
    });
    expect(await statusOf(`${origin}/v1/models`)).toBe(200);
    expect(await statusOf(`${origin}/api/v1/models/chat`)).toBe(200);
    expect(await statusOf(`${origin}/v1`)).toBe(404);
    expect(await statusOf(`${origin}/v1?x`)).toBe(404);
    expect(await statusOf(`${origin}/models`)).toBe(418);
    expect(passedOn).toEqual(["/models"]);
  });

  it("answers a URL that a rewriting middleware has put in place", async () => {
    const { node } = createHandler(scriptedRouter());
    const origin = await serve((request, response) => {
      Object.assign(request, { originalUrl: request.url, url: "/v1/models" });
      node(request, response);
    });
    expect(await statusOf(`${origin}/anything`)).toBe(200);
  });

  it("answers the raw request and response of Fastify, whose parsers leave the body alone", async () => {
    // What `reply.hijack()` comes to: the framework's objects are set aside, Node's are handed over.
    const { node } = createHandler(scriptedRouter());
    const origin = await serve((request, response) => queueMicrotask(() => node(request, response)));
    expect(await statusOf(`${origin}/v1/chat/completions`, post())).toBe(200);
  });

  it("reads a body that the host has paused", async () => {
    const { node } = createHandler(scriptedRouter());
    const origin = await serve((request, response) => {
      request.pause();
      setImmediate(() => node(request, response));
    });
    expect(await statusOf(`${origin}/v1/chat/completions`, post())).toBe(200);
  });

  it("leaves a response alone that the host has already answered", async () => {
    const router = scriptedRouter();
    const { node } = createHandler(router);
    const origin = await serve((request, response) => {
      response.end("the host's".repeat(100_000));
      node(request, response);
    });
    expect(await (await fetch(`${origin}/v1/models`)).text()).toHaveLength(1_000_000);
    expect(router.listedFor).toEqual([]);
  });

  it("cancels its stream when the host answers meanwhile", async () => {
    const stream = scriptedStream();
    let answerInstead = () => {};
    let endInstead = () => {};
    const { node } = createHandler(
      scriptedRouter(() => {
        answerInstead();
        return stream.answer;
      }),
    );
    const origin = await serve((request, response) => {
      answerInstead = () => response.write("the host's ");
      endInstead = () => response.end("own");
      node(request, response);
    });
    const response = await fetch(`${origin}/v1/chat/completions`, post());
    await stream.cancelled;
    endInstead();
    expect(await response.text()).toBe("the host's own");
    expect(stream.nextCount).toBe(0);
  });

  it("answers over HTTP/2", async () => {
    const warnings: Error[] = [];
    const noteWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", noteWarning);
    const stream = scriptedStream();
    stream.push(aChunkText("one"));
    stream.end();
    const router = scriptedRouter(() => stream.answer);
    const { node } = createHandler(router, { maxBodyBytes: 1_000 });
    // The compatibility API has what the handler uses, but its types are not related.
    const http2 = createServer(node as unknown as Parameters<typeof createServer>[0]);
    http2.listen(0, "127.0.0.1");
    await once(http2, "listening");
    const client = connect(`http://127.0.0.1:${(http2.address() as AddressInfo).port}`);
    const ask = async (path: string, body?: string) => {
      const method = body === undefined ? "GET" : "POST";
      const request = client.request({ ":path": path, ":method": method, "content-type": "application/json" });
      request.end(body);
      const [headers] = (await once(request, "response")) as [Record<string, unknown>];
      let text = "";
      for await (const chunk of request) text += String(chunk);
      return { status: headers[":status"], text };
    };
    expect(await ask("/v1/models")).toMatchObject({ status: 200, text: expect.stringContaining('"list"') });
    expect(await ask("/v1/nothing", "{}")).toMatchObject({ status: 404 });
    expect(await ask("/v1/chat/completions", " ".repeat(2_000))).toMatchObject({ status: 413 });
    expect(await ask("/v1/chat/completions", JSON.stringify(chat))).toEqual({
      status: 200,
      text: `data: ${aChunkText("one")}\n\ndata: [DONE]\n\n`,
    });
    client.close();
    http2.close();
    await until(() => client.closed);
    // HTTP/2 has no `connection` header, and Node warns of those who set it.
    expect(warnings).toEqual([]);
    process.off("warning", noteWarning);
  });
});
