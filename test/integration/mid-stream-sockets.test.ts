import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { createHandler } from "../../src/http/index.js";
import type { Router } from "../../src/router/router.js";
import type { GroupOptions } from "../../src/router/router-options.js";
import { startSimulatedUpstream, stream } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, HELLO } from "../support/router-fixtures.js";

const open = openedForEachTest();
const closing: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of closing.splice(0).reverse()) await each.close();
});

/** 60 tokens of a simulated model: four bytes each, with the space before the word, as models have it. */
const TEXT = Array.from({ length: 60 }, (_, index) => ` t${String(index).padStart(2, "0")}`).join("");
const FORTY = TEXT.slice(0, 4 * 40);

/** A real server cuts its answer after 40 of 60 tokens; another real one knows how the answer goes on. */
async function aRouter(midStream: GroupOptions["midStream"], cut: "reset" | "close" = "close"): Promise<Router> {
  const broken = await open.upstream();
  const tokens = TEXT.match(/.{4}/g) ?? [];
  // The role comes first.
  broken.always(stream({ chunks: tokens, msPerToken: 1, cutAfterEvents: 41, cut }));
  const good = await startSimulatedUpstream({ models: { m: { reply: TEXT, msPerToken: 1 } } });
  closing.push(good);
  const deployments = [broken, good].map(({ url }, tier) => ({
    ...{ id: ["broken", "good"][tier]!, tier, provider: "vllm" as const, model: "m" },
    baseUrl: url,
  }));
  return open.router({ models: { chat: { deployments, midStream, cooldown: false } } });
}

const ask = { model: "chat", messages: HELLO, stream: true as const, stream_options: { include_usage: true } };

describe("a stream cut after 40 of 60 tokens, on real sockets", () => {
  it.each(["close", "reset"] as const)(
    "delivers the exact 60 with `continue`, where the server's end is a %s",
    async (cut) => {
      const router = await aRouter("continue", cut);
      const { data, routing } = await router.chat.completions.create(ask).withRouting();
      const { text, error, finishReason, chunks } = await deliver(data);
      expect([text, error, finishReason]).toEqual([TEXT, undefined, "stop"]);
      expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
      const record = await routing.done;
      expect(record).toMatchObject({ outcome: "succeeded", resumed: true });
      expect(chunks.at(-1)?.usage?.completion_tokens).toBe(record.usage?.completionTokens);
    },
  );

  it("ends without it in a typed error that carries the 40", async () => {
    const router = await aRouter("error");
    const { data, routing } = await router.chat.completions.create(ask).withRouting();
    const { text, error } = await deliver(data);
    expect(text).toBe(FORTY);
    expect(error).toMatchObject({
      code: "upstream_unreachable",
      partial: { text: FORTY, usage: { completionTokens: 40 } },
    });
    expect(await routing.done).toMatchObject({ outcome: "interrupted", resumed: false });
  });
});

const ways: { way: string; connect: (router: Router) => Promise<OpenAI> }[] = [
  {
    way: "in process",
    connect: async (router) =>
      new OpenAI({ apiKey: "in-process", baseURL: "http://switchyard/v1", fetch: router.fetch, maxRetries: 0 }),
  },
  {
    way: "over HTTP",
    connect: async (router) => {
      const server: Server = createServer(createHandler(router).node).listen(0, "127.0.0.1");
      await once(server, "listening");
      closing.push({
        close() {
          server.closeAllConnections();
          server.close();
        },
      });
      const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
      return new OpenAI({ apiKey: "unused", baseURL, maxRetries: 0 });
    },
  },
];

describe.each(ways)("the openai SDK $way, with a stream cut after 40 of 60 tokens", ({ connect }) => {
  it("reads one completion of the exact 60 with `continue`", async () => {
    const openai = await connect(await aRouter("continue"));
    const completion = await openai.chat.completions.stream(ask).finalChatCompletion();
    expect(completion.choices).toMatchObject([
      { finish_reason: "stop", message: { role: "assistant", content: TEXT } },
    ]);
    expect(completion.usage?.completion_tokens).toBe(60);
  });

  it("reads the 40 and an error without it", async () => {
    const openai = await connect(await aRouter("error"));
    let text = "";
    const reading = (async () => {
      for await (const chunk of await openai.chat.completions.create(ask))
        text += chunk.choices[0]?.delta.content ?? "";
    })();
    await expect(reading).rejects.toMatchObject({ code: "upstream_unreachable" });
    expect(text).toBe(FORTY);
  });
});
