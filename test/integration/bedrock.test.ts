import { describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../src/errors/router-error.js";
import { Router } from "../../src/router/router.js";
import { respond } from "../../src/testing/index.js";
import { anEvent, anException } from "../support/event-stream.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, HELLO, rejection } from "../support/router-fixtures.js";

const opened = openedForEachTest();
const MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const KEYS = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "example-secret-key-for-signing-tests" };
const EVENT_STREAM = { "content-type": "application/vnd.amazon.eventstream" };
const converse = (text: string) => ({
  output: { message: { role: "assistant", content: [{ text }] } },
  stopReason: "end_turn",
  usage: { inputTokens: 3, outputTokens: 2, totalTokens: 5 },
});
const events = [
  anEvent("messageStart", { role: "assistant" }),
  anEvent("contentBlockDelta", { delta: { text: "Hel" }, contentBlockIndex: 0 }),
  anEvent("contentBlockDelta", { delta: { text: "lo" }, contentBlockIndex: 0 }),
  anEvent("messageStop", { stopReason: "end_turn" }),
  anEvent("metadata", { usage: { inputTokens: 3, outputTokens: 2, totalTokens: 5 } }),
];

async function bedrock(own: object = KEYS) {
  const upstream = await opened.upstream();
  const router = opened.router({
    models: {
      chat: [{ id: "aws", provider: "bedrock", model: MODEL, region: "us-east-1", baseUrl: upstream.origin, ...own }],
    },
  });
  return { upstream, router };
}

describe("Bedrock behind the router", () => {
  it("answers a request that was signed for it", async () => {
    const { upstream, router } = await bedrock();
    upstream.next(respond({ body: converse("Hello.") }));
    const { data, routing } = await router.chat.completions.create({ model: "chat", messages: HELLO }).withRouting();
    expect(data).toMatchObject({
      model: MODEL,
      choices: [{ message: { content: "Hello." } }],
      usage: { total_tokens: 5 },
    });
    expect(routing.deployment).toBe("aws");
    const [request] = upstream.requests;
    expect(request?.path).toBe(`/model/${encodeURIComponent(MODEL)}/converse`);
    expect(request?.headers.authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\//);
    expect(request?.headers["x-amz-date"]).toMatch(/^\d{8}T\d{6}Z$/);
    // The host that was signed is the host that was called.
    expect(request?.headers.host).toBe(`127.0.0.1:${upstream.port}`);
    expect(request?.body).toEqual({ messages: [{ role: "user", content: [{ text: "Hello" }] }] });
  });

  it("streams from the first request on, in frames that are cut anywhere", async () => {
    const { upstream, router } = await bedrock({ apiKey: "ABSK-of-tests" });
    const bytes = Buffer.concat(events);
    const pieces = [bytes.subarray(0, 5), { waitMs: 5 }, bytes.subarray(5, 140), { waitMs: 5 }, bytes.subarray(140)];
    upstream.next(respond({ headers: EVENT_STREAM, body: pieces }));
    const stream = await router.chat.completions.create({
      model: "chat",
      messages: HELLO,
      stream: true,
      stream_options: { include_usage: true },
    });
    const { text, finishReason, chunks, error } = await deliver(stream);
    expect({ text, finishReason, error }).toEqual({ text: "Hello", finishReason: "stop", error: undefined });
    expect(chunks.at(-1)?.usage).toMatchObject({ total_tokens: 5 });
    expect(upstream.requests[0]?.headers.authorization).toBe("Bearer ABSK-of-tests");
    expect(upstream.requests[0]?.path).toMatch(/\/converse-stream$/);
  });

  it("signs a retried request anew, with keys that are asked for anew", async () => {
    let count = 0;
    const { upstream, router } = await bedrock({
      credentials: async () => ({ ...KEYS, accessKeyId: `AKID${++count}` }),
    });
    upstream.next(
      respond({ status: 500, headers: { "x-amzn-errortype": "InternalServerException" }, body: { message: "x" } }),
      respond({ body: converse("Again.") }),
    );
    const reply = await router.chat.completions.create({ model: "chat", messages: HELLO });
    expect(reply.choices[0]?.message.content).toBe("Again.");
    expect(upstream.requests.map(({ headers }) => headers.authorization?.split("/")[0])).toEqual([
      "AWS4-HMAC-SHA256 Credential=AKID1",
      "AWS4-HMAC-SHA256 Credential=AKID2",
    ]);
  });

  it("R5: delivers what came before an exception, then the error", async () => {
    const { upstream, router } = await bedrock();
    // What comes together is an attempt that failed: the wait lets the beginning go out first.
    const failure = anException("throttlingException", { message: "Too many tokens." });
    const broken = [...events.slice(0, 2), { waitMs: 20 }, failure];
    upstream.next(respond({ headers: EVENT_STREAM, body: broken }));
    const stream = await router.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
    const { text, finishReason, error } = await deliver(stream);
    expect({ text, finishReason }).toEqual({ text: "Hel", finishReason: undefined });
    expect(error).toMatchObject({ code: "rate_limit_exceeded" });
  });

  it("S21: shows nothing of what AWS says about keys", async () => {
    const { upstream, router } = await bedrock();
    upstream.always(
      respond({
        status: 403,
        headers: { "content-type": "application/json", "x-amzn-errortype": "UnrecognizedClientException" },
        body: { message: `The security token ${KEYS.secretAccessKey} included in the request is invalid.` },
      }),
    );
    const error = await rejection(router.chat.completions.create({ model: "chat", messages: HELLO }));
    expect(error).toMatchObject({ code: "upstream_auth_error" });
    expect(String((error as Error).message)).not.toContain(KEYS.secretAccessKey);
  });

  it("reports what is missing when the router is made", () => {
    const problems = (deployment: object) => {
      try {
        new Router({ models: { chat: [{ provider: "bedrock", model: MODEL, ...deployment }] } });
      } catch (error) {
        if (error instanceof InvalidOptionsError) return error.issues.map(({ path }) => path);
        throw error;
      }
      throw new Error("nothing was thrown");
    };
    expect(problems({ apiKey: "ABSK-1" })).toEqual(["models.chat[0].region"]);
    expect(problems({ region: "us-east-1" })).toEqual(["models.chat[0].apiKey"]);
    expect(problems({ region: "us-east-1", apiKey: "ABSK-1", ...KEYS })).toEqual(["models.chat[0].accessKeyId"]);
    expect(problems({ region: "us-east-1", accessKeyId: "AKIDEXAMPLE" })).toEqual(["models.chat[0].secretAccessKey"]);
  });

  it("embeds several texts one by one where the model takes one at a time, in their order, and together where it takes them", async () => {
    const [titan, cohere] = [await opened.upstream(), await opened.upstream()];
    const deployment = (upstream: { origin: string }, id: string, model: string, tier: number) => ({
      ...{ id, provider: "bedrock" as const, model, tier, region: "us-east-1", baseUrl: upstream.origin, ...KEYS },
    });
    const router = opened.router({
      models: {
        embed: [deployment(titan, "titan", "amazon.titan-embed-text-v2:0", 0)],
        together: [deployment(cohere, "cohere", "cohere.embed-multilingual-v3", 0)],
      },
    });
    titan.always(respond({ body: { embedding: [1, 0], inputTextTokenCount: 2 } }));
    cohere.always(
      respond({
        body: { embeddings: [[1], [2]] },
        headers: { "content-type": "application/json", "x-amzn-bedrock-input-token-count": "4" },
      }),
    );
    const one = await router.embeddings.create({ model: "embed", input: "a" });
    expect(one).toMatchObject({ data: [{ embedding: [1, 0] }], usage: { prompt_tokens: 2 } });
    const two = await router.embeddings.create({ model: "embed", input: ["a", "b"] });
    expect(two.data.map(({ index, embedding }) => [index, embedding])).toEqual([
      [0, [1, 0]],
      [1, [1, 0]],
    ]);
    expect(two.usage.prompt_tokens).toBe(4);
    expect(titan.requestCount).toBe(3);
    const together = await router.embeddings.create({ model: "together", input: ["a", "b"] });
    expect(together.data.map(({ index, embedding }) => [index, embedding])).toEqual([
      [0, [1]],
      [1, [2]],
    ]);
    expect(cohere.requestCount).toBe(1);
  });
});
