import { afterEach, describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../src/errors/router-error.js";
import { ProviderOptionError } from "../../src/providers/provider.js";
import {
  error,
  type SimulatedUpstream,
  type SimulatedUpstreamOptions,
  startSimulatedUpstream,
} from "../../src/testing/index.js";
import { expectNothingLeaks } from "../support/no-leaks.js";

const leaks = expectNothingLeaks();
let upstream: SimulatedUpstream;

const start = async (options: SimulatedUpstreamOptions) => {
  upstream = leaks.upstream(await startSimulatedUpstream(options));
};

afterEach(() => upstream.close());

const post = async (body: object, path = "/chat/completions") => {
  const response = await fetch(`${upstream.url}${path}`, { method: "POST", body: JSON.stringify(body) });
  return { status: response.status, headers: response.headers, text: await response.text() };
};

const chat = (model: string, more: object = {}) => ({ model, messages: [{ role: "user", content: "Hello" }], ...more });

describe("a simulated upstream", () => {
  it("serves its models, lists them, and does not find others", async () => {
    await start({ models: { small: {}, big: { reply: "BIG", embeddingDimensions: 3 } } });
    const list = await fetch(`${upstream.url}/models`).then((response) => response.json());
    expect(list).toMatchObject({ data: [{ id: "small" }, { id: "big" }] });
    expect(JSON.parse((await post(chat("small"))).text)).toMatchObject({
      choices: [{ message: { content: "Hello" } }],
    });
    expect(JSON.parse((await post(chat("big"))).text)).toMatchObject({
      model: "big",
      choices: [{ message: { content: "BIG" } }],
    });
    const vectors = JSON.parse((await post({ model: "big", input: "x" }, "/embeddings")).text);
    expect(vectors.data[0].embedding).toHaveLength(3);
    const unknown = await post(chat("huge"));
    expect(unknown.status).toBe(404);
    expect(JSON.parse(unknown.text)).toMatchObject({ error: { code: "model_not_found" } });
  });

  it("takes its time for each token, streamed or whole, times the latency factor", async () => {
    await start({ models: { slow: { ttftMs: 30, msPerToken: 10, outputTokens: 4 } }, latencyFactor: 2 });
    for (const stream of [false, true]) {
      const startedAt = performance.now();
      await post(chat("slow", { stream }));
      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(118);
    }
    const arrivedAt: number[] = [];
    const startedAt = performance.now();
    const response = await fetch(`${upstream.url}/chat/completions`, {
      method: "POST",
      body: JSON.stringify(chat("slow", { stream: true })),
    });
    for await (const part of response.body ?? []) {
      if (Buffer.from(part).includes('"content":"H')) arrivedAt.push(performance.now() - startedAt);
    }
    expect(arrivedAt[0]).toBeGreaterThanOrEqual(55);
  });

  it("fails as often as its conditions say, from the next request on", async () => {
    await start({ models: { m: { failure: "rate_limit", retryAfterMs: 2_000 } } });
    expect((await post(chat("m"))).status).toBe(200);
    upstream.setConditions({ failureRate: 1 });
    const failed = await post(chat("m"));
    expect(failed.status).toBe(429);
    expect(failed.headers.get("retry-after")).toBe("2");
    expect(JSON.parse(failed.text)).toMatchObject({ error: { type: "rate_limit_error", code: "rate_limit_exceeded" } });
    upstream.setConditions({});
    expect((await post(chat("m"))).status).toBe(200);
  });

  it("keeps the failure rate of a model where no condition replaces it", async () => {
    await start({ models: { m: { failureRate: 1, failure: 502 }, embedder: { failureRate: 1, failure: 503 } } });
    expect((await post(chat("m"))).status).toBe(502);
    expect((await post({ model: "embedder", input: "x" }, "/embeddings")).status).toBe(503);
    upstream.setConditions({ failureRate: 0 });
    expect((await post(chat("m"))).status).toBe(200);
  });

  it("breaks in the middle of an answer", async () => {
    await start({
      models: {
        erring: { failureRate: 1, failAfterTokens: 2, outputTokens: 5 },
        dying: { failureRate: 1, failure: "network", failAfterTokens: 2, outputTokens: 5 },
      },
    });
    const erring = await post(chat("erring", { stream: true }));
    expect(erring.status).toBe(200);
    expect(erring.text.match(/"content":"[^"]/g)).toHaveLength(2);
    expect(erring.text).toContain('data: {"error":{"message":"simulated failure: server"');
    expect(erring.text).not.toContain("[DONE]");
    expect((await post(chat("erring"))).status).toBe(500);
    await expect(post(chat("dying", { stream: true }))).rejects.toThrow("terminated");
    await expect(post(chat("dying"))).rejects.toThrow("fetch failed");
  });

  it("refuses what does not fit the context, and vectors and chats alike where it fails at once", async () => {
    await start({ models: { m: { contextTokens: 4 } } });
    const refused = await post(chat("m", { max_tokens: 100 }));
    expect(refused.status).toBe(400);
    expect(JSON.parse(refused.text)).toMatchObject({ error: { code: "context_length_exceeded", param: "messages" } });
  });

  it("lets a script go first", async () => {
    await start({ models: { m: {} } });
    upstream.next(error(418));
    expect((await post(chat("m"))).status).toBe(418);
    expect((await post(chat("m"))).status).toBe(200);
  });

  it("refuses options that are wrong", async () => {
    await start({ models: {} });
    await expect(startSimulatedUpstream({ models: { m: { jitter: 2 } } })).rejects.toThrow(ProviderOptionError);
    await expect(startSimulatedUpstream({ models: {}, latencyFactor: -1 })).rejects.toThrow(InvalidOptionsError);
    expect(() => upstream.setConditions({ failureRate: 1.5 })).toThrow(
      "setConditions.failureRate: expected at most 1, received 1.5",
    );
  });
});
