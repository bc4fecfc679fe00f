import { describe, expect, it } from "vitest";
import { RouterError } from "../../src/errors/router-error.js";
import { type FakeUpstream, respond } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

/** Claude first, then Gemini, each behind a socket of its own. */
function routerOver(anthropic: FakeUpstream, gemini: FakeUpstream) {
  return open.router({
    models: {
      chat: {
        deployments: [
          {
            id: "claude",
            provider: "anthropic",
            model: "claude-sonnet-4-5",
            apiKey: "sk-ant-1",
            baseUrl: anthropic.origin,
          },
          {
            id: "gemini",
            provider: "gemini",
            model: "gemini-2.5-flash",
            apiKey: "AIza-1",
            baseUrl: `${gemini.origin}/v1beta`,
            tier: 1,
          },
        ],
        retries: 1,
      },
      embed: [{ provider: "gemini", model: "gemini-embedding-001", apiKey: "AIza-1", baseUrl: gemini.origin }],
    },
  });
}

const json = (body: unknown, status = 200) => respond({ status, body });
const events = (...list: object[]) =>
  respond({
    headers: { "content-type": "text/event-stream; charset=utf-8" },
    body: list.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""),
  });
const overloaded = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } };
const said = { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "From Claude." } };
const stopped = [
  { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 3 } },
  { type: "message_stop" },
];
const candidate = (text: string) => ({
  candidates: [{ content: { parts: [{ text }] }, finishReason: "STOP" }],
  usageMetadata: { promptTokenCount: 2, candidatesTokenCount: 3 },
});

describe("translating dialects over sockets", () => {
  it("answer and stream in OpenAI's format, and tell what was dropped", async () => {
    const anthropic = await open.upstream(
      json({
        content: [{ type: "text", text: "From Claude." }],
        stop_reason: "end_turn",
        usage: { input_tokens: 2, output_tokens: 3 },
      }),
      events({ type: "message_start", message: { usage: { input_tokens: 2, output_tokens: 0 } } }, said, ...stopped),
    );
    const router = routerOver(anthropic, await open.upstream());
    const { data, routing } = await router.chat.completions
      .create({ model: "chat", messages: HELLO, seed: 1 })
      .withRouting();
    expect(data.choices[0]?.message.content).toBe("From Claude.");
    expect(routing).toMatchObject({
      deployment: "claude",
      dropped: ["seed"],
      usage: { promptTokens: 2, completionTokens: 3, isEstimated: false },
    });
    expect(anthropic.requests[0]).toMatchObject({
      method: "POST",
      path: "/v1/messages",
      headers: { "x-api-key": "sk-ant-1" },
    });

    const stream = await router.chat.completions.create({
      model: "chat",
      messages: HELLO,
      stream: true,
      stream_options: { include_usage: true },
    });
    const delivered = await deliver(stream);
    expect(delivered).toMatchObject({ text: "From Claude.", finishReason: "stop", error: undefined });
    expect(delivered.chunks.at(-1)?.usage).toEqual({ prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 });
  });

  it("stand in for each other: what one cannot serve goes to the other", async () => {
    const anthropic = await open.upstream(json(overloaded, 529));
    const gemini = await open.upstream(
      json(candidate("From Gemini.")),
      json({
        ...candidate("A"),
        candidates: [...candidate("A").candidates, { ...candidate("B").candidates[0], index: 1 }],
      }),
    );
    const router = routerOver(anthropic, gemini);
    const { data, routing } = await router.chat.completions.create({ model: "chat", messages: HELLO }).withRouting();
    expect(data.choices[0]?.message.content).toBe("From Gemini.");
    expect(routing.attempts.map(({ deployment, errorClass }) => [deployment, errorClass])).toEqual([
      ["claude", "overloaded"],
      ["gemini", undefined],
    ]);
    expect(gemini.requests[0]).toMatchObject({
      path: "/v1beta/models/gemini-2.5-flash:generateContent",
      headers: { "x-goog-api-key": "AIza-1" },
    });
    // Claude makes one choice only.
    const two = await router.chat.completions.create({ model: "chat", messages: HELLO, n: 2 }).withRouting();
    expect(two.data.choices.map(({ message }) => message.content)).toEqual(["A", "B"]);
    expect(two.routing.excluded).toContainEqual(expect.objectContaining({ deployment: "claude" }));
  });

  it("R4: an error in the first event of a stream is nobody's answer yet", async () => {
    const anthropic = await open.upstream(events(overloaded));
    const gemini = await open.upstream(events(candidate("From Gemini.")));
    const stream = await routerOver(anthropic, gemini).chat.completions.create({
      model: "chat",
      messages: HELLO,
      stream: true,
    });
    expect(await deliver(stream)).toMatchObject({ text: "From Gemini.", finishReason: "stop", error: undefined });
    expect(gemini.requests[0]?.query.get("alt")).toBe("sse");
  });

  it("R5: a stream that is cut after its beginning is interrupted, with what came", async () => {
    const router = routerOver(await open.upstream(events(said)), await open.upstream());
    const delivered = await deliver(
      await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true }),
    );
    expect(delivered).toMatchObject({ text: "From Claude.", finishReason: undefined });
    expect(RouterError.isRouterError(delivered.error) && delivered.error.code).toBe("upstream_unreachable");
  });

  it("serve legacy completions and embeddings", async () => {
    const anthropic = await open.upstream(events(said, ...stopped));
    const gemini = await open.upstream(json({ embeddings: [{ values: [1, 0] }, { values: [0, 1] }] }));
    const router = routerOver(anthropic, gemini);
    const texts: string[] = [];
    for await (const chunk of await router.completions.create({ model: "chat", prompt: "Hi", stream: true })) {
      texts.push(...chunk.choices.map(({ text }) => text));
    }
    expect(texts).toEqual(["From Claude.", ""]);
    const { data } = await router.embeddings.create({ model: "embed", input: ["a", "b"] });
    expect(data.map(({ embedding }) => embedding)).toEqual([
      [1, 0],
      [0, 1],
    ]);
    const refused = await rejection(router.completions.create({ model: "chat", prompt: "Hi", echo: true }));
    expect(refused).toMatchObject({ code: "invalid_request", status: 400, param: "echo" });
    expect(await rejection(router.embeddings.create({ model: "embed", input: [[1, 2]] }))).toMatchObject({
      code: "invalid_request",
      param: "input",
    });
  });
});
