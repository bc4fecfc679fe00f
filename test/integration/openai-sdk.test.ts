import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { createHandler } from "../../src/http/index.js";
import type { Router } from "../../src/router/router.js";
import { error, reply, resetBeforeHeaders, stream } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, HELLO } from "../support/router-fixtures.js";

const open = openedForEachTest();
let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
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
      server = createServer(createHandler(router).node).listen(0, "127.0.0.1");
      await once(server, "listening");
      const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
      return new OpenAI({ apiKey: "unused", baseURL, maxRetries: 0 });
    },
  },
];

/** Two upstreams, of which one fails in a new way each time. */
async function openaiOver(connect: (router: Router) => Promise<OpenAI>) {
  const [bad, good] = [await open.upstream(), await open.upstream()];
  let turn = 0;
  const faults = [error(500), resetBeforeHeaders(), error(429), error(401), error(503)];
  bad.when(({ operation }) => (operation ? faults[turn++ % faults.length] : undefined));
  const deployments = [deploymentOf(bad, "bad"), deploymentOf(good, "good")];
  const router = open.router({ models: { chat: { deployments, strategy: "round-robin", cooldown: false } } });
  return { openai: await connect(router), good, bad, router };
}

describe.each(ways)("the openai SDK $way, with one of two upstreams failing", ({ connect }) => {
  it("gets every completion", async () => {
    const { openai, good, router } = await openaiOver(connect);
    good.always(reply({ text: "Fine." }));
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => openai.chat.completions.create({ model: "chat", messages: HELLO })),
    );
    expect(answers.map(({ choices }) => choices[0]?.message.content)).toEqual(Array(20).fill("Fine."));
    expect(router.status().outcomes).toMatchObject({ succeeded: 20, failed: 0 });
  });

  it("gets every stream, with usage where it asks", async () => {
    const { openai, good } = await openaiOver(connect);
    good.always(stream({ chunks: ["Fi", "ne", "."] }));
    for (let n = 0; n < 6; n++) {
      const answer = openai.chat.completions.stream({
        model: "chat",
        messages: HELLO,
        stream_options: { include_usage: true },
      });
      const completion = await answer.finalChatCompletion();
      expect(completion.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "Fine." } });
      expect(completion.usage?.completion_tokens).toBeGreaterThan(0);
    }
  });

  it("runs tools", async () => {
    const { openai, good } = await openaiOver(connect);
    good.when(({ text }) =>
      text.includes('"role":"tool"')
        ? reply({ text: "It is 21 °C in Bern." })
        : reply({ toolCalls: [{ name: "weather", arguments: { city: "Bern" } }] }),
    );
    const asked: unknown[] = [];
    for (const isStreaming of [false, true]) {
      const runner = openai.chat.completions.runTools({
        model: "chat",
        messages: HELLO,
        stream: isStreaming as false,
        tools: [
          {
            type: "function",
            function: {
              name: "weather",
              description: "The weather of a city.",
              parameters: { type: "object", properties: { city: { type: "string" } } },
              parse: JSON.parse,
              function: (input: { city: string }) => {
                asked.push(input);
                return "21 °C";
              },
            },
          },
        ],
      });
      expect(await runner.finalContent()).toBe("It is 21 °C in Bern.");
    }
    expect(asked).toEqual([{ city: "Bern" }, { city: "Bern" }]);
  });

  it("gets structured output", async () => {
    const { openai, good } = await openaiOver(connect);
    good.always(reply({ text: '{"city":"Bern","celsius":21}' }));
    const Weather = z.object({ city: z.string(), celsius: z.number() });
    const completion = await openai.chat.completions.parse({
      model: "chat",
      messages: HELLO,
      response_format: zodResponseFormat(Weather, "weather"),
    });
    expect(completion.choices[0]?.message.parsed).toEqual({ city: "Bern", celsius: 21 });
    expect(good.requests[0]?.body).toMatchObject({ response_format: { type: "json_schema" } });
  });

  it("gets embeddings, as floats and as the base64 that it asks for itself", async () => {
    const { openai } = await openaiOver(connect);
    const byDefault = await openai.embeddings.create({ model: "chat", input: ["a", "b"] });
    const floats = await openai.embeddings.create({ model: "chat", input: ["a", "b"], encoding_format: "float" });
    expect(byDefault.data.map(({ index }) => index)).toEqual([0, 1]);
    const [first, second] = [byDefault.data[0]?.embedding ?? [], floats.data[0]?.embedding ?? []];
    expect(first.length).toBeGreaterThan(0);
    for (const [index, value] of first.entries()) expect(value).toBeCloseTo(second[index] ?? Number.NaN, 5);
  });

  it("gets legacy completions and the model list", async () => {
    const { openai } = await openaiOver(connect);
    expect((await openai.completions.create({ model: "chat", prompt: "Once" })).choices[0]?.text).toBeTruthy();
    expect((await openai.models.list()).data.map(({ id }) => id)).toEqual(["chat"]);
    expect(await openai.models.retrieve("chat")).toMatchObject({ id: "chat", object: "model" });
  });

  it("leaves a stream, and the upstream is aborted", async () => {
    const { openai, good, router } = await openaiOver(connect);
    good.always(stream({ tokens: 100_000, text: "word ", msPerToken: 5 }));
    const answer = await openai.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    for await (const _ of answer) break;
    await expect.poll(() => good.inFlight).toBe(0);
    await expect.poll(() => router.status()).toMatchObject({ inFlight: 0, outcomes: { cancelled: 1 } });
  });

  it("gets its own error classes when nothing can be done", async () => {
    const { openai, good } = await openaiOver(connect);
    good.always(error(400, { message: "bad temperature", param: "temperature" }));
    const thrown = await openai.chat.completions
      .create({ model: "chat", messages: HELLO })
      .catch((caught: unknown) => caught);
    expect(thrown).toBeInstanceOf(OpenAI.BadRequestError);
    expect(thrown).toMatchObject({ status: 400, code: "invalid_request", param: "temperature" });
    const unknown = await openai.models.retrieve("nobody").catch((caught: unknown) => caught);
    expect(unknown).toBeInstanceOf(OpenAI.NotFoundError);
  });

  it("R5: meets an error when a stream breaks after it had begun", async () => {
    const { openai, good } = await openaiOver(connect);
    good.always(stream({ chunks: ["Hel", "lo"], cutAfterEvents: 3, msPerToken: 20 }));
    const answer = await openai.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    let text = "";
    const reading = (async () => {
      for await (const chunk of answer) text += chunk.choices[0]?.delta.content ?? "";
    })();
    await expect(reading).rejects.toThrow();
    expect(text).toBe("Hello");
  });
});
