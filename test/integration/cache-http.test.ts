import OpenAI from "openai";
import { expect, it } from "vitest";
import { createHandler } from "../../src/http/index.js";
import { cache } from "../../src/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf } from "../support/router-fixtures.js";

const open = openedForEachTest();

async function served() {
  const upstream = await open.upstream();
  const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] }, plugins: [cache()] });
  const handler = createHandler(router);
  const post = async (body: object, headers: Record<string, string> = {}) => {
    const response = await handler.fetch(
      new Request("http://switchyard/v1/chat/completions", {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: "chat", messages: [{ role: "user", content: "hello" }], ...body }),
      }),
    );
    return { headers: response.headers, text: await response.text() };
  };
  return { upstream, router, post };
}

it("S39: says in a header what the cache did, and lets nobody else store the reply", async () => {
  const { upstream, post } = await served();
  const first = await post({});
  const second = await post({});
  expect([first, second].map(({ headers }) => headers.get("x-switchyard-cache"))).toEqual(["miss", "hit"]);
  expect(second.text).toBe(first.text);
  expect(second.headers.get("cache-control")).toBe("no-store");
  expect(second.headers.get("x-switchyard-cost-usd")).toBe("0");
  expect(second.headers.has("x-switchyard-attempts")).toBe(false);
  expect(second.headers.has("x-switchyard-deployment")).toBe(false);
  const streamed = await post({ stream: true });
  expect(streamed.headers.get("x-switchyard-cache")).toBe("hit");
  expect(streamed.headers.has("x-switchyard-attempts")).toBe(false);
  expect(streamed.text).toMatch(/"content":"hello"[\s\S]*data: \[DONE\]\n\n$/);
  expect(upstream.requestCount).toBe(1);
});

it("goes by the client's cache-control", async () => {
  const { upstream, post } = await served();
  const cached = async (control: string) =>
    (await post({}, { "cache-control": control })).headers.get("x-switchyard-cache");
  expect(await cached("no-store")).toBe("miss");
  expect(await cached("max-age=60")).toBe("miss");
  expect(await cached("max-age=60")).toBe("hit");
  expect(await cached("no-cache")).toBe("miss");
  expect(await cached("max-age=0")).toBe("miss");
  expect(await cached("no-cache, no-store")).toBe(null);
  expect(upstream.requestCount).toBe(5);
});

it("serves OpenAI's client from the cache, whole and streamed", async () => {
  const { upstream, router } = await served();
  const client = new OpenAI({ apiKey: "in-process", baseURL: "http://switchyard/v1", fetch: router.fetch });
  const messages = [{ role: "user" as const, content: "hello" }];
  const whole = await client.chat.completions.create({ model: "chat", messages });
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model: "chat", messages, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  expect(text).toBe(whole.choices[0]?.message.content);
  expect(upstream.requestCount).toBe(1);
});
