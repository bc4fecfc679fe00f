import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { routerError } from "../../src/errors/router-error.js";
import type { HandlerTarget } from "../../src/http/answer-request.js";
import { createHandler, type HandlerOptions } from "../../src/http/index.js";
import type { Principal } from "../../src/plugins/plugin.js";
import { type NodeServer, nodeServer } from "../support/node-server.js";
import { aChunkText, aCompletion, aReply, scriptedRouter, scriptedStream } from "../support/scripted-router.js";
import { onceUnhandled } from "../support/unhandled.js";

type Send = (path: string, init?: RequestInit) => Promise<Response>;
interface Adapter {
  readonly name: string;
  open(router: HandlerTarget, options?: HandlerOptions): Promise<Send>;
  close(): Promise<void>;
}

let servers: NodeServer[] = [];
const adapters: Adapter[] = [
  {
    name: "web",
    async open(router, options) {
      const { fetch: serve } = createHandler(router, options);
      return (path, init) => serve(new Request(`http://switchyard${path}`, init));
    },
    async close() {},
  },
  {
    name: "node",
    async open(router, options) {
      const server = await nodeServer(createHandler(router, options).node);
      servers.push(server);
      return (path, init) => fetch(`${server.origin}${path}`, init);
    },
    async close() {
      for (const server of servers) await server[Symbol.asyncDispose]();
      servers = [];
    },
  },
];

const post = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", ...headers },
  body: typeof body === "string" ? body : JSON.stringify(body),
});
/** The bound holds on a machine that has nothing else to do: give it another chance. */
const ON_TIME = { retry: 3 };
const chat = { model: "chat", messages: [{ role: "user", content: "Hi" }] };

describe.each(adapters)("the $name handler", ({ open, close }) => {
  const unhandled = onceUnhandled();
  beforeEach(() => unhandled.start());
  afterEach(async () => {
    await close();
    // R8: whatever happened, nothing escaped.
    expect(await unhandled.stop()).toEqual([]);
  });

  it("answers a chat completion with the router's reply, field for field", async () => {
    const router = scriptedRouter(() => aReply("Grüße 👋", { costUsd: 0.0000021 }));
    const send = await open(router);
    const response = await send("/v1/chat/completions", post(chat));
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "x-request-id": "req_1",
      "x-switchyard-group": "chat",
      "x-switchyard-deployment": "vllm/llama@gpu-a",
      "x-switchyard-attempts": "1",
      "x-switchyard-cost-usd": "0.0000021",
    });
    const text = await response.text();
    expect(response.headers.get("content-length")).toBe(String(Buffer.byteLength(text)));
    expect(JSON.parse(text)).toEqual(aCompletion("Grüße 👋"));
    expect(router.calls).toMatchObject([
      { operation: "chat.completions", body: chat, form: "text", options: { principal: undefined } },
    ]);
  });

  it.each([
    ["/v1/completions", "completions"],
    ["/v1/embeddings", "embeddings"],
  ])("hands %s to the router as %s", async (path, operation) => {
    const router = scriptedRouter();
    const send = await open(router);
    expect((await send(path, post({ model: "m" }))).status).toBe(200);
    expect(router.calls).toMatchObject([{ operation, body: { model: "m" } }]);
  });

  it("lists models and finds one, its id raw or encoded", async () => {
    const send = await open(scriptedRouter());
    const list = (await (await send("/v1/models")).json()) as { data: { id: string }[] };
    expect(list.data.map(({ id }) => id)).toEqual(["chat", "openai/gpt-4o:latest"]);
    for (const path of ["/v1/models/openai/gpt-4o:latest", "/v1/models/openai%2Fgpt-4o%3Alatest"]) {
      expect(await (await send(path)).json()).toMatchObject({ id: "openai/gpt-4o:latest", object: "model" });
    }
    const missing = await send("/v1/models/missing");
    expect(missing.status).toBe(404);
    expect(await missing.json()).toMatchObject({ error: { code: "model_not_found" } });
  });

  it("answers HEAD like GET, without a body", async () => {
    const send = await open(scriptedRouter());
    const get = await send("/v1/models");
    const head = await send("/v1/models", { method: "HEAD" });
    expect(head.status).toBe(200);
    expect(await head.text()).toBe("");
    expect(head.headers.get("content-length")).toBe(String((await get.text()).length));
    expect((await send("/v1/models/missing", { method: "HEAD" })).status).toBe(404);
  });

  it("is alive always, and ready until it drains", async () => {
    const router = scriptedRouter();
    const send = await open(router, { authenticate: () => Promise.reject(new Error("nobody")) });
    expect((await send("/v1/health/live")).status).toBe(200);
    expect((await send("/v1/health/ready")).status).toBe(200);
    router.isDraining = true;
    expect((await send("/v1/health/live")).status).toBe(200);
    const draining = await send("/v1/health/ready");
    expect(draining.status).toBe(503);
    expect(draining.headers.get("retry-after")).toBe("1");
    expect(await draining.json()).toMatchObject({ error: { code: "draining" } });
  });

  it("answers unknown routes with 404, before asking who is calling", async () => {
    const send = await open(scriptedRouter(), { authenticate: () => Promise.reject(new Error("nobody")) });
    for (const path of ["/", "/v1", "/v1/responses", "/v1/chat/completions/x", "/v1x/models", "/v1/constructor"]) {
      const response = await send(path);
      expect([path, response.status]).toEqual([path, 404]);
      expect(await response.json()).toMatchObject({ error: { code: "not_found", type: "invalid_request_error" } });
    }
  });

  it.each([
    ["GET", "/v1/chat/completions", "POST"],
    ["DELETE", "/v1/models", "GET, HEAD"],
    ["OPTIONS", "/v1/embeddings", "POST"],
    ["POST", "/v1/health/live", "GET, HEAD"],
    ["HEAD", "/v1/completions", "POST"],
  ])("answers %s %s with 405 and what is allowed", async (method, path, allow) => {
    const send = await open(scriptedRouter());
    const response = await send(path, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe(allow);
    expect(response.headers.get("x-should-retry")).toBe("false");
  });

  it.each([
    ["no body", { method: "POST" }, 400, "invalid_request"],
    ["an empty body", post(""), 400, "invalid_request"],
    ["broken JSON", post('{"model":'), 400, "invalid_request"],
    ["an array", post([]), 400, "invalid_request"],
    ["a number that JSON does not have", post('{"n":NaN}'), 400, "invalid_request"],
    ["bytes that are not UTF-8", { ...post(""), body: new Uint8Array([0x7b, 0xff, 0x7d]) }, 400, "invalid_request"],
    ["S37: deep nesting", post(`{"a":${"[".repeat(64)}${"]".repeat(64)}}`), 400, "invalid_request"],
    ["another content type", post(chat, { "content-type": "text/plain" }), 415, "unsupported_media_type"],
    ["a coded body", post(chat, { "content-encoding": "gzip" }), 415, "unsupported_media_type"],
    ["S22: a body over the limit", post({ model: "x".repeat(1_001) }), 413, "request_too_large"],
  ])("refuses %s, and goes on working", async (_what, init, status, code) => {
    const router = scriptedRouter();
    const send = await open(router, { maxBodyBytes: 1_000 });
    const response = await send("/v1/chat/completions", init as RequestInit);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { code, type: "invalid_request_error" } });
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(router.calls).toEqual([]);
    expect((await send("/v1/chat/completions", post(chat))).status).toBe(200);
  });

  it("S22: counts the bytes of a body whose length nobody declared", async () => {
    const router = scriptedRouter();
    const send = await open(router, { maxBodyBytes: 1_000 });
    const chunk = new TextEncoder().encode(" ".repeat(100));
    const chunks = (count: number) =>
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"model":"chat"}'));
          for (let i = 0; i < count; i++) controller.enqueue(chunk);
          controller.close();
        },
      });
    const streamed = (body: ReadableStream) =>
      send("/v1/embeddings", { method: "POST", body, duplex: "half" } as RequestInit); // `duplex` is not in the DOM types
    expect((await streamed(chunks(9))).status).toBe(200);
    expect((await streamed(chunks(10))).status).toBe(413);
    expect(router.calls).toHaveLength(1);
  });

  it("takes the router's limits where it has none of its own", async () => {
    const router = scriptedRouter();
    router.inputLimits = { bodyBytes: 50, bodyTimeMs: 1_000, bodyBytesPerSecond: 1, bodyGraceMs: 1, jsonDepth: 2 };
    const send = await open(router);
    expect((await send("/v1/embeddings", post({ model: "m", a: "x".repeat(50) }))).status).toBe(413);
    expect((await send("/v1/embeddings", post('{"a":[[]]}'))).status).toBe(400);
    const wider = await open(router, { maxBodyBytes: 1_000, maxJsonDepth: 3 });
    expect((await wider("/v1/embeddings", post({ model: "m", a: "x".repeat(50) }))).status).toBe(200);
    expect((await wider("/v1/embeddings", post('{"a":[[]]}'))).status).toBe(200);
  });

  it("says in status, body and headers what the router refused", async () => {
    const send = await open(
      scriptedRouter(() => {
        throw routerError("rate_limit_exceeded", { requestId: "req_7", retryAfterMs: 1_500, message: "Slow down." });
      }),
    );
    const response = await send("/v1/chat/completions", post(chat));
    expect(response.status).toBe(429);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "x-request-id": "req_7",
      "x-should-retry": "true",
      "retry-after": "2",
      "retry-after-ms": "1500",
    });
    expect(await response.json()).toEqual({
      error: { message: "Slow down.", type: "rate_limit_error", param: null, code: "rate_limit_exceeded" },
    });
  });

  it("R8: hides what broke inside", async () => {
    const send = await open(
      scriptedRouter(() => {
        throw new TypeError("secret internals");
      }),
    );
    const response = await send("/v1/chat/completions", post(chat));
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(text).toContain("internal_error");
    expect(text).not.toContain("secret");
  });

  it("S42: cannot be made to send a header of the names' choosing", async () => {
    const send = await open(
      scriptedRouter(() => aReply("x", { group: "a\r\nset-cookie: s=1", deployment: "größe\u0000", requestId: "r\n" })),
    );
    const response = await send("/v1/chat/completions", post(chat));
    expect(response.status).toBe(200);
    expect(response.headers.get("set-cookie")).toBeNull();
    expect(response.headers.get("x-switchyard-group")).toBe("a%0D%0Aset-cookie:%20s=1");
    expect(response.headers.get("x-switchyard-deployment")).toBe("gr%C3%B6%C3%9Fe%00");
  });

  describe("with authentication", () => {
    const authenticate: HandlerOptions["authenticate"] = ({ apiKey, route }) => {
      if (apiKey !== "sk-good") throw new Error(`unknown key ${apiKey}`);
      return { user: "ann", key: route };
    };

    it("charges whoever it says is calling", async () => {
      const router = scriptedRouter();
      const send = await open(router, { authenticate });
      const headers = { authorization: "Bearer sk-good" };
      expect((await send("/v1/chat/completions", post(chat, headers))).status).toBe(200);
      expect((await send("/v1/models", { headers })).status).toBe(200);
      expect(router.calls[0]?.options?.principal).toEqual({ user: "ann", key: "chat.completions" });
      expect(router.listedFor).toEqual([{ user: "ann", key: "models.list" }]);
    });

    it("S6 S11 S15: refuses everybody else alike, and shows the credential to nobody", async () => {
      const router = scriptedRouter();
      const send = await open(router, { authenticate });
      const texts = new Set<string>();
      for (const headers of [
        {},
        { authorization: "Bearer sk-bad" },
        { authorization: "Basic sk-good" },
        { "x-api-key": "sk-bad", "api-key": "sk-good" },
        { authorization: "Bearer sk-good", "x-api-key": "sk-bad" },
      ]) {
        for (const path of ["/v1/models", "/v1/models/chat", "/v1/chat/completions"]) {
          const isGet = path !== "/v1/chat/completions";
          const response = await send(
            path,
            isGet ? { headers: headers as Record<string, string> } : post(chat, headers),
          );
          expect(response.status).toBe(401);
          texts.add(await response.text());
        }
      }
      expect([...texts]).toEqual([
        '{"error":{"message":"The API key is missing or not valid.","type":"authentication_error","param":null,"code":"invalid_api_key"}}',
      ]);
      expect(router.calls).toEqual([]);
      expect(router.listedFor).toEqual([]);
    });

    it.each([
      ["nobody", {}],
      ["a team that is not known", { team: undefined }],
      ["a list", []],
      ["a level that is no text", { team: null }],
      ["something else", { tenant: "acme" }],
    ])("S11: refuses a principal that names %s: only the host itself is nobody", async (_, principal) => {
      const router = scriptedRouter();
      const send = await open(router, { authenticate: () => principal as Principal });
      const headers = { authorization: "Bearer sk-good" };
      expect((await send("/v1/chat/completions", post(chat, headers))).status).toBe(401);
      expect((await send("/v1/models", { headers })).status).toBe(401);
      expect(router.calls).toEqual([]);
    });

    it("S6: lets no credential and no header reach the router", async () => {
      const router = scriptedRouter();
      const send = await open(router, { authenticate });
      await send(
        "/v1/chat/completions",
        post(chat, { authorization: "Bearer sk-good", "openai-organization": "org-x" }),
      );
      expect(JSON.stringify(router.calls)).not.toMatch(/sk-good|org-x/);
    });

    it("S23: refuses before it looks at the body", async () => {
      const send = await open(scriptedRouter(), { authenticate, maxBodyBytes: 10 });
      expect((await send("/v1/chat/completions", post("broken".repeat(1_000)))).status).toBe(401);
      expect((await send("/v1/chat/completions", post("x", { "content-encoding": "gzip" }))).status).toBe(401);
    });

    it("S29: shows as headers only what was sent", async () => {
      const names = ["constructor", "__proto__", "toString", "X-Team"];
      let seen: unknown[] = [];
      const send = await open(scriptedRouter(), {
        authenticate: ({ headers }) => {
          seen = names.map((name) => headers.get(name));
          return {};
        },
      });
      await send("/v1/models", { headers: { "x-team": "a" } });
      expect(seen).toEqual([null, null, null, "a"]);
    });

    it("keeps the code of a RouterError", async () => {
      const send = await open(scriptedRouter(), {
        authenticate: () => {
          throw routerError("accounting_unavailable");
        },
      });
      const response = await send("/v1/models");
      expect(response.status).toBe(503);
      expect(response.headers.get("x-should-retry")).toBe("true");
    });
  });

  describe("streaming", () => {
    it("relays batches as events and ends with [DONE]", async () => {
      const stream = scriptedStream();
      stream.push(aChunkText("Hel"), aChunkText("lo"));
      stream.push(aChunkText(" wörld\n"));
      stream.end();
      const send = await open(scriptedRouter(() => stream.answer));
      const response = await send("/v1/chat/completions", post({ ...chat, stream: true }));
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-accel-buffering": "no",
        "x-request-id": "req_1",
        "x-switchyard-deployment": "vllm/llama@gpu-a",
      });
      expect(response.headers.get("x-switchyard-cost-usd")).toBeNull();
      expect(await response.text()).toBe(
        `data: ${aChunkText("Hel")}\n\ndata: ${aChunkText("lo")}\n\ndata: ${aChunkText(" wörld\n")}\n\ndata: [DONE]\n\n`,
      );
      expect(stream.cancelCount).toBe(0);
    });

    it("sends each batch when it comes, not later", async () => {
      const stream = scriptedStream();
      // A stream is handed over at its commit point: its first batch is there.
      stream.push(aChunkText("one"));
      const send = await open(scriptedRouter(() => stream.answer));
      const response = await send("/v1/chat/completions", post(chat));
      const reader = response.body?.getReader();
      for (const word of ["one", "two", "three"]) {
        if (word !== "one") stream.push(aChunkText(word));
        const { value } = (await reader?.read()) ?? {};
        expect(new TextDecoder().decode(value)).toBe(`data: ${aChunkText(word)}\n\n`);
      }
      stream.end();
      expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("data: [DONE]\n\n");
      expect((await reader?.read())?.done).toBe(true);
    });

    it("R5: reports a break as one error event and leaves [DONE] out", async () => {
      const stream = scriptedStream();
      stream.push(aChunkText("Hel"));
      stream.fail(routerError("upstream_error", { message: "The upstream broke off." }));
      const send = await open(scriptedRouter(() => stream.answer));
      const text = await (await send("/v1/chat/completions", post(chat))).text();
      expect(text).toBe(
        `data: ${aChunkText("Hel")}\n\ndata: {"error":{"message":"The upstream broke off.","type":"server_error","param":null,"code":"upstream_error"}}\n\n`,
      );
    });

    it("R8: hides what broke a stream from inside", async () => {
      const stream = scriptedStream();
      stream.push(aChunkText("Hel"));
      stream.fail(new TypeError("secret internals"));
      const send = await open(scriptedRouter(() => stream.answer));
      const text = await (await send("/v1/chat/completions", post(chat))).text();
      expect(text).toContain('"code":"internal_error"');
      expect(text).not.toMatch(/secret|\[DONE\]/);
    });

    it("R6: cancels the stream when the client leaves in the middle", ON_TIME, async () => {
      const stream = scriptedStream();
      const send = await open(scriptedRouter(() => stream.answer));
      const controller = new AbortController();
      stream.push(aChunkText("Hel"));
      const response = await send("/v1/chat/completions", { ...post(chat), signal: controller.signal });
      const reader = response.body?.getReader();
      await reader?.read();
      const leftAt = performance.now();
      controller.abort();
      await stream.cancelled;
      expect(performance.now() - leftAt).toBeLessThan(100);
      await expect(reader?.read()).rejects.toThrow();
    });

    it("R6: cancels the stream when the client drops the body", async () => {
      const stream = scriptedStream();
      const send = await open(scriptedRouter(() => stream.answer));
      stream.push(aChunkText("Hel"));
      const response = await send("/v1/chat/completions", post(chat));
      await response.body?.cancel();
      await stream.cancelled;
      expect(stream.cancelCount).toBe(1);
    });

    it("R1: takes leaving after the end for no abort", async () => {
      const stream = scriptedStream();
      stream.push(aChunkText("Hel"));
      stream.end();
      const controller = new AbortController();
      const send = await open(scriptedRouter(() => stream.answer));
      const response = await send("/v1/chat/completions", { ...post(chat), signal: controller.signal });
      await response.text();
      controller.abort();
      await close();
      expect(stream.cancelCount).toBe(0);
    });
  });

  it("R6: aborts the request when the client leaves before there is an answer", ON_TIME, async () => {
    let aborted: Promise<unknown> | undefined;
    let isAsked = () => {};
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve;
    });
    const send = await open(
      scriptedRouter(
        ({ options }) =>
          new Promise((_resolve, reject) => {
            aborted = new Promise((resolve) => {
              options?.signal?.addEventListener("abort", () => {
                resolve(performance.now());
                reject(routerError("cancelled"));
              });
            });
            isAsked();
          }),
      ),
    );
    const controller = new AbortController();
    const response = send("/v1/chat/completions", { ...post(chat), signal: controller.signal }).catch(
      (error: Error) => error.name,
    );
    await asked;
    const leftAt = performance.now();
    controller.abort();
    expect(Number(await aborted) - leftAt).toBeLessThan(100);
    // Over a socket `fetch` itself rejects; in process nobody reads the status.
    const seen = await response;
    expect(seen === "AbortError" || (seen as Response).status === 499).toBe(true);
  });
});
