import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { catalog, type ErrorCode } from "../../src/errors/catalog.js";
import { routerError } from "../../src/errors/router-error.js";
import { inProcessFetch } from "../../src/http/handler.js";
import { createHandler } from "../../src/http/index.js";
import { type NodeServer, nodeServer } from "../support/node-server.js";
import {
  aChunkText,
  aCompletion,
  aReply,
  aRoutingRecord,
  type ScriptedRouter,
  scriptedRouter,
  scriptedStream,
} from "../support/scripted-router.js";
import { onceUnhandled } from "../support/unhandled.js";

let server: NodeServer | undefined;

/** The official client, in front of a router by each of the ways that there are. */
const ways = [
  {
    way: "in process, as the router's own fetch",
    connect: async (router: ScriptedRouter) => ({
      baseURL: "http://switchyard/v1",
      // The SDK passes strings and URLs only; its type is wider than the DOM's.
      fetch: inProcessFetch(router) as typeof fetch,
    }),
  },
  {
    way: "in process, through the web handler",
    connect: async (router: ScriptedRouter) => {
      const handler = createHandler(router);
      const toHandler: typeof fetch = async (input, init) => {
        const request = new Request(input, init);
        const response = await handler.fetch(request);
        // A connection between the two would be gone by now.
        request.signal.throwIfAborted();
        return response;
      };
      return { baseURL: "http://switchyard/v1", fetch: toHandler };
    },
  },
  {
    way: "over a socket, through the node handler",
    connect: async (router: ScriptedRouter) => {
      server = await nodeServer(createHandler(router).node);
      return { baseURL: `${server.origin}/v1` };
    },
  },
];

const messages = [{ role: "user" as const, content: "Hi" }];

describe.each(ways)("the official client $way", ({ connect }) => {
  const unhandled = onceUnhandled();
  beforeEach(() => unhandled.start());
  afterEach(async () => {
    await server?.[Symbol.asyncDispose]();
    server = undefined;
    expect(await unhandled.stop()).toEqual([]);
  });
  const clientOf = async (router: ScriptedRouter, maxRetries = 0) =>
    new OpenAI({ apiKey: "sk-unused", maxRetries, ...(await connect(router)) });

  it("creates a completion, and sees which request it was", async () => {
    const router = scriptedRouter(() => aReply("Grüße"));
    const openai = await clientOf(router);
    const { data, request_id } = await openai.chat.completions.create({ model: "chat", messages }).withResponse();
    expect(data).toMatchObject(aCompletion("Grüße"));
    expect(request_id).toBe("req_1");
    expect(router.calls[0]?.body).toEqual({ model: "chat", messages });
  });

  it("iterates a stream to its end", async () => {
    const stream = scriptedStream();
    stream.push(aChunkText("Hel"), aChunkText("lo"));
    stream.push(aChunkText(" world"));
    stream.end();
    const openai = await clientOf(scriptedRouter(() => stream.answer));
    let text = "";
    for await (const chunk of await openai.chat.completions.create({ model: "chat", messages, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    expect(text).toBe("Hello world");
    expect(stream.cancelCount).toBe(0);
  });

  it("R5: throws in the middle of a stream that breaks, after what had arrived", async () => {
    const stream = scriptedStream();
    stream.push(aChunkText("Hel"));
    stream.fail(routerError("upstream_error", { message: "The upstream broke off." }));
    const openai = await clientOf(scriptedRouter(() => stream.answer));
    let text = "";
    const read = async () => {
      for await (const chunk of await openai.chat.completions.create({ model: "chat", messages, stream: true })) {
        text += chunk.choices[0]?.delta.content ?? "";
      }
    };
    await expect(read()).rejects.toMatchObject({ code: "upstream_error", type: "server_error" });
    expect(text).toBe("Hel");
  });

  it("R6: cancels the stream by breaking out of the loop", async () => {
    const stream = scriptedStream();
    stream.push(aChunkText("Hel"));
    const openai = await clientOf(scriptedRouter(() => stream.answer));
    for await (const _chunk of await openai.chat.completions.create({ model: "chat", messages, stream: true })) break;
    await stream.cancelled;
  });

  it("R6: aborts a request that it waits for", async () => {
    const controller = new AbortController();
    let isAborted = false;
    const router = scriptedRouter(
      ({ options }) =>
        new Promise((_resolve, reject) => {
          options?.signal?.addEventListener("abort", () => {
            isAborted = true;
            reject(routerError("cancelled"));
          });
          controller.abort();
        }),
    );
    const openai = await clientOf(router, 2);
    const answer = openai.chat.completions.create({ model: "chat", messages }, { signal: controller.signal });
    await expect(answer).rejects.toBeInstanceOf(OpenAI.APIUserAbortError);
    await expect.poll(() => isAborted).toBe(true);
    expect(router.calls).toHaveLength(1);
  });

  it("takes its own timeout for one, and gives up on the request here", async () => {
    const signals: (AbortSignal | undefined)[] = [];
    const router = scriptedRouter(({ options }) => {
      signals.push(options?.signal);
      return new Promise((_resolve, reject) => {
        options?.signal?.addEventListener("abort", () => reject(routerError("cancelled")));
      });
    });
    const openai = await clientOf(router);
    const answer = openai.chat.completions.create({ model: "chat", messages }, { timeout: 300 });
    await expect(answer).rejects.toBeInstanceOf(OpenAI.APIConnectionTimeoutError);
    await expect.poll(() => signals[0]?.aborted).toBe(true);
  });

  it("lists and retrieves models", async () => {
    const openai = await clientOf(scriptedRouter());
    const ids: string[] = [];
    for await (const { id } of openai.models.list()) ids.push(id);
    expect(ids).toEqual(["chat", "openai/gpt-4o:latest"]);
    expect(await openai.models.retrieve("openai/gpt-4o:latest")).toMatchObject({ id: "openai/gpt-4o:latest" });
    await expect(openai.models.retrieve("missing")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it("embeds, also in base64, which it asks for by itself", async () => {
    const router = scriptedRouter(() => ({
      kind: "reply",
      reply: {
        object: "list",
        data: [
          {
            object: "embedding",
            index: 0,
            embedding: Buffer.from(new Float32Array([0.5, -2]).buffer).toString("base64"),
          },
        ],
        model: "embed",
        usage: { prompt_tokens: 1, total_tokens: 1 },
      } as never, // with `encoding_format: "base64"` the numbers are a text
      routing: aRoutingRecord(),
    }));
    const openai = await clientOf(router);
    const { data } = await openai.embeddings.create({ model: "embed", input: "Hi" });
    expect(data[0]?.embedding).toEqual([0.5, -2]);
    expect(router.calls[0]?.body).toMatchObject({ encoding_format: "base64" });
  });

  const errorClasses: Record<number, new (...parameters: never[]) => Error> = {
    400: OpenAI.BadRequestError,
    401: OpenAI.AuthenticationError,
    403: OpenAI.PermissionDeniedError,
    404: OpenAI.NotFoundError,
    409: OpenAI.ConflictError,
    429: OpenAI.RateLimitError,
    500: OpenAI.InternalServerError,
    502: OpenAI.InternalServerError,
    503: OpenAI.InternalServerError,
    504: OpenAI.InternalServerError,
  };
  type Code = Exclude<ErrorCode, "invalid_options">;
  const codes = (Object.keys(catalog) as ErrorCode[]).filter((code): code is Code => code !== "invalid_options");

  it("throws its own class for every code, with code, type and param", async () => {
    let code: Code = "internal_error";
    const openai = await clientOf(
      scriptedRouter(() => {
        throw routerError(code, { param: "messages", requestId: "req_5" });
      }),
    );
    for (code of codes) {
      const { status, type, message } = catalog[code];
      const error: unknown = await openai.chat.completions.create({ model: "chat", messages }).catch((error) => error);
      expect(error).toBeInstanceOf(errorClasses[status] ?? OpenAI.APIError);
      expect(error).toMatchObject({ status, code, type, param: "messages", requestID: "req_5" });
      expect((error as Error).message).toContain(message);
    }
  });

  it("retries exactly where the catalogue says that it may", async () => {
    let code: Code = "internal_error";
    let failures = 0;
    const openai = await clientOf(
      scriptedRouter(() => {
        if (failures-- > 0) throw routerError(code, { retryAfterMs: 1 });
        return aReply();
      }),
      1,
    );
    for (code of codes) {
      failures = 1;
      const answer = openai.chat.completions.create({ model: "chat", messages });
      if (catalog[code].clientRetry) expect(await answer).toMatchObject(aCompletion());
      else await expect(answer).rejects.toMatchObject({ code });
    }
  });
});
