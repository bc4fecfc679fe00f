import { describe, expect, it } from "vitest";
import { respond } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, HELLO, rejection } from "../support/router-fixtures.js";

const opened = openedForEachTest();
const NDJSON = { "content-type": "application/x-ndjson" };
const line = (fields: object) =>
  `${JSON.stringify({ model: "llama3.2", created_at: "2026-01-01T00:00:00Z", ...fields })}\n`;
const said = (content: string) => ({ message: { role: "assistant", content } });
const done = { ...said(""), done: true, done_reason: "stop", prompt_eval_count: 3, eval_count: 2 };

async function ollama(own: object = {}) {
  const upstream = await opened.upstream();
  const router = opened.router({
    models: { chat: [{ id: "home", provider: "ollama", model: "llama3.2", baseUrl: upstream.origin, ...own }] },
  });
  return { upstream, router };
}

describe("Ollama behind the router", () => {
  it("answers through its own API, and says what was left out", async () => {
    const { upstream, router } = await ollama({ options: { num_ctx: 8_192 } });
    upstream.next(
      respond({
        body: line({ ...said("Hello."), done: true, done_reason: "stop", prompt_eval_count: 3, eval_count: 2 }),
      }),
    );
    const { data, routing } = await router.chat.completions
      .create({ model: "chat", messages: HELLO, user: "u", max_tokens: 5 })
      .withRouting();
    expect(data).toMatchObject({
      model: "llama3.2",
      choices: [{ message: { content: "Hello." } }],
      usage: { total_tokens: 5 },
    });
    expect(routing.dropped).toEqual(["user"]);
    expect(upstream.requests[0]).toMatchObject({
      path: "/api/chat",
      body: { model: "llama3.2", messages: HELLO, stream: false, options: { num_ctx: 8_192, num_predict: 5 } },
    });
  });

  it("streams lines that are cut anywhere", async () => {
    const { upstream, router } = await ollama();
    const text = line(said("Grü")) + line(said("ße")) + line(done);
    const bytes = Buffer.from(text);
    const half = bytes.indexOf(0xc3) + 1;
    upstream.next(respond({ headers: NDJSON, body: [bytes.subarray(0, half), { waitMs: 5 }, bytes.subarray(half)] }));
    const stream = await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    const { text: read, finishReason, error } = await deliver(stream);
    expect({ read, finishReason, error }).toEqual({ read: "Grüße", finishReason: "stop", error: undefined });
  });

  it("R9: takes a stream without its last line for broken", async () => {
    const { upstream, router } = await ollama();
    upstream.next(respond({ headers: NDJSON, body: line(said("Half")) }));
    const stream = await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    expect(await deliver(stream)).toMatchObject({
      text: "Half",
      finishReason: undefined,
      error: { code: "upstream_unreachable" },
    });
  });

  it("takes an error that comes first for a failed attempt, and tries again", async () => {
    const { upstream, router } = await ollama();
    upstream.next(
      respond({ headers: NDJSON, body: '{"error":"an error was encountered while running the model"}\n' }),
      respond({ headers: NDJSON, body: line(said("Again")) + line(done) }),
    );
    const stream = await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    expect(await deliver(stream)).toMatchObject({ text: "Again", error: undefined });
    expect(upstream.requestCount).toBe(2);
  });

  it("never passes the answer to half a prompt for one to the whole", async () => {
    const { upstream, router } = await ollama({ options: { num_ctx: 4_096 } });
    upstream.next(respond({ body: line({ ...said("?"), done: true, prompt_eval_count: 4_096 }) }));
    const error = await rejection(router.chat.completions.create({ model: "chat", messages: HELLO }));
    expect(error).toMatchObject({ code: "context_length_exceeded", status: 400 });
  });

  it("embeds several texts in one call", async () => {
    const { upstream, router } = await ollama();
    upstream.next(respond({ body: { model: "llama3.2", embeddings: [[1], [2]], prompt_eval_count: 4 } }));
    const { data, usage } = await router.embeddings.create({ model: "chat", input: ["a", "b"] });
    expect(data.map(({ embedding }) => embedding)).toEqual([[1], [2]]);
    expect(usage.prompt_tokens).toBe(4);
    expect(upstream.requests[0]).toMatchObject({ path: "/api/embed", body: { input: ["a", "b"], truncate: false } });
  });

  it("keeps what today's callers of /v1 have, where the deployment says so", async () => {
    const { upstream, router } = await ollama({ dialect: "openai" });
    const reply = await router.chat.completions.create({ model: "chat", messages: HELLO });
    expect(reply.choices[0]?.message.content).toContain("Hello");
    expect(upstream.requests[0]?.path).toBe("/v1/chat/completions");
  });
});
