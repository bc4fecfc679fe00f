import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EmbeddingRequest } from "../../src/protocol/embeddings.js";
import type { FakeUpstream } from "../../src/testing/fake-upstream.js";
import { error, reply, respond } from "../../src/testing/index.js";
import type { ReceivedRequest } from "../../src/testing/received-request.js";
import { openedForEachTest } from "../support/opened.js";
import { rejection } from "../support/router-fixtures.js";

const opened = openedForEachTest();
const texts = (count: number) => Array.from({ length: count }, (_, i) => `text ${i}`);

/** A group `embed`, each upstream a tier of its own. */
function routerOf(...upstreams: FakeUpstream[]) {
  return routerWith({ maxEmbeddingInputs: 2 }, ...upstreams);
}
function routerWith(own: object, ...upstreams: FakeUpstream[]) {
  const deployments = upstreams.map((upstream, tier) => ({
    provider: "openai-compatible" as const,
    baseUrl: upstream.url,
    model: "m",
    id: `d${tier}`,
    tier,
    ...own,
  }));
  return opened.router({ models: { embed: { retries: 1, deployments } } });
}

/** What an engine would say of its inputs: each vector tells which one it was. */
function embedded(inputs: readonly (string | number[])[], reversed = false) {
  const data = inputs.map((input, index) => ({
    object: "embedding",
    index,
    embedding: [typeof input === "string" ? Number(input.split(" ")[1]) : (input[0] ?? 0), 0.5],
  }));
  return {
    object: "list",
    model: "m",
    data: reversed ? data.reverse() : data,
    usage: { prompt_tokens: 3 * inputs.length, total_tokens: 3 * inputs.length },
  };
}
const textsIn = ({ body }: ReceivedRequest) => body.input as string[];
const decoded = (base64: unknown) => {
  const bytes = Buffer.from(String(base64), "base64");
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
};

describe("more embeddings than a call may carry", () => {
  it.each<[string, EmbeddingRequest["input"], number[], number]>([
    ["a text", "text 7", [7], 1],
    ["texts", texts(5), [0, 1, 2, 3, 4], 3],
    ["token ids", [9, 8, 7], [9], 1],
    ["lists of token ids", [[5, 1], [6], [7]], [5, 6, 7], 2],
  ])("are several calls of one attempt: %s", async (_, input, vectors, calls) => {
    const upstream = await opened.upstream();
    upstream.when(({ body }) => {
      const isList = Array.isArray(body.input) && typeof body.input[0] !== "number";
      return respond({ body: embedded(isList ? (body.input as string[]) : [body.input as string]) });
    });
    const router = routerOf(upstream);
    for (const encoding_format of ["float", "base64"] as const) {
      const { data, routing } = await router.embeddings
        .create({ model: "embed", input, encoding_format })
        .withRouting();
      const read = data.data.map(({ embedding }) => (encoding_format === "base64" ? decoded(embedding) : embedding)[0]);
      expect(read).toEqual(vectors);
      expect(data.data.map(({ index }) => index)).toEqual(vectors.map((_, i) => i));
      expect(data.usage).toEqual({ prompt_tokens: 3 * vectors.length, total_tokens: 3 * vectors.length });
      expect(upstream.requestCount).toBe(encoding_format === "float" ? calls : 2 * calls);
      expect(routing.attempts).toHaveLength(1);
    }
  });

  it("come in the order of the inputs, whichever call is answered first and in whatever order", async () => {
    const upstream = await opened.upstream();
    const router = routerWith({ maxEmbeddingInputs: 3 }, upstream);
    const delays = fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 4, max: 24 }), delays, async (count, delaysMs) => {
        upstream.reset();
        upstream.when((request) =>
          respond({
            body: embedded(textsIn(request), request.number % 2 === 0),
            delayMs: delaysMs[request.number % delaysMs.length],
          }),
        );
        const { data } = await router.embeddings.create({ model: "embed", input: texts(count) });
        expect(data.map(({ index, embedding }) => [index, embedding[0]])).toEqual(texts(count).map((_, i) => [i, i]));
      }),
      { numRuns: 15 },
    );
  });

  it("are at most four calls at a time", async () => {
    const upstream = await opened.upstream();
    let most = 0;
    upstream.when((request) => {
      most = Math.max(most, upstream.inFlight);
      return respond({ body: embedded(textsIn(request)), delayMs: 2 });
    });
    await routerWith({ maxEmbeddingInputs: 1 }, upstream).embeddings.create({ model: "embed", input: texts(20) });
    expect(upstream.requestCount).toBe(20);
    // How many a busy machine sees at once is chance; that there are never more, is not.
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
  });

  it("fail together: the rest is aborted, the error's class decides, and another deployment begins anew", async () => {
    const [first, second] = [await opened.upstream(), await opened.upstream()];
    first.when((request) => {
      const [text] = textsIn(request);
      if (text === "text 0") return respond({ body: embedded(textsIn(request)) });
      if (text === "text 4") return error(429, { message: "Too many requests", delayMs: 10 });
      return respond({ body: embedded(textsIn(request)), until: new Promise(() => {}) });
    });
    second.when((request) => respond({ body: embedded(textsIn(request)) }));
    const router = routerOf(first, second);
    const { data, routing } = await router.embeddings.create({ model: "embed", input: texts(20) }).withRouting();
    expect(data.data).toHaveLength(20);
    expect(data.usage.total_tokens).toBe(60);
    expect(routing.attempts).toMatchObject([
      { deployment: "d0", outcome: "limited", errorClass: "rate_limit", status: 429 },
      { deployment: "d1", outcome: "ok" },
    ]);
    await Promise.all(first.requests.map(({ ended }) => ended));
    // Answered, refused, and three that nobody waits for any more; of the other five batches none was sent.
    expect(first.requests.map(({ isAborted }) => isAborted).sort()).toEqual([false, false, true, true, true]);
  });

  it("are charged for what was answered before the failure", async () => {
    const upstream = await opened.upstream();
    upstream.when((request) =>
      textsIn(request)[0] === "text 0"
        ? respond({ body: embedded(textsIn(request)) })
        : error(400, { message: "no", delayMs: 20 }),
    );
    const settled: unknown[] = [];
    const router = opened.router({
      models: {
        embed: [{ provider: "openai-compatible", baseUrl: upstream.url, model: "m", maxEmbeddingInputs: 2 }],
      },
      plugins: [{ name: "watch", onSettled: ({ usage }) => void settled.push(usage) }],
    });
    const refused = await rejection(router.embeddings.create({ model: "embed", input: texts(4) }));
    expect(refused).toMatchObject({ code: "invalid_request", status: 400 });
    await router.close();
    expect(settled).toMatchObject([{ promptTokens: 6, isEstimated: false }]);
  });

  it("stop all their calls when the caller leaves", async () => {
    const upstream = await opened.upstream();
    upstream.always(reply({ until: new Promise(() => {}) }));
    const router = routerOf(upstream);
    const caller = new AbortController();
    const answer = rejection(router.embeddings.create({ model: "embed", input: texts(20) }, { signal: caller.signal }));
    await upstream.waitForRequest(4);
    caller.abort();
    expect(await answer).toMatchObject({ code: "cancelled" });
    await Promise.all(upstream.requests.map(({ ended }) => ended));
    expect(upstream.requests.map(({ isAborted }) => isAborted)).toEqual([true, true, true, true]);
  });

  it("have one deadline together", async () => {
    const upstream = await opened.upstream();
    upstream.when((request) => respond({ body: embedded(textsIn(request)), delayMs: 60 }));
    const router = routerWith({ maxEmbeddingInputs: 1, timeouts: { totalMs: 100 } }, upstream);
    const refused = await rejection(router.embeddings.create({ model: "embed", input: texts(40) }));
    expect(refused).toMatchObject({ code: "upstream_timeout" });
    expect(upstream.requestCount).toBeLessThan(17);
  });

  it("get their credential and their signature for each call", async () => {
    const upstream = await opened.upstream();
    upstream.when(({ body }) =>
      respond({ body: { embedding: [Number(String(body.inputText).split(" ")[1])], inputTextTokenCount: 2 } }),
    );
    const model = "amazon.titan-embed-text-v2:0";
    const deployment = { provider: "bedrock" as const, region: "eu-west-1", baseUrl: upstream.origin, model };
    const keys = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "example-secret-key-for-signing-tests" };
    const router = opened.router({ models: { embed: [{ ...deployment, ...keys }] } });
    const { data, usage } = await router.embeddings.create({ model: "embed", input: texts(9) });
    expect(data.map(({ embedding }) => embedding)).toEqual(texts(9).map((_, i) => [i]));
    expect(usage).toEqual({ prompt_tokens: 18, total_tokens: 18 });
    expect(upstream.requestCount).toBe(9);
    expect(new Set(upstream.requests.map(({ headers }) => headers.authorization)).size).toBe(9);
  });

  it.each([
    ["bedrock", "cohere.embed-english-v3", { region: "eu-west-1", apiKey: "k" }, 96],
    ["gemini", "gemini-embedding-001", { apiKey: "k" }, 100],
    ["mistral", "mistral-embed", { apiKey: "k" }, 256],
    ["openai", "text-embedding-3-small", { apiKey: "k" }, 2_048],
    ["azure", "embeddings", { apiKey: "k" }, 2_048],
  ])("of %s are calls of the size that it takes", async (provider, model, own, most) => {
    const upstream = await opened.upstream();
    const sizes: number[] = [];
    upstream.when(({ body }) => {
      const inputs = (body.texts ?? body.requests ?? body.input ?? [body.content]) as unknown[];
      sizes.push(inputs.length);
      const vectors = inputs.map(() => [1, 0]);
      if (provider === "bedrock") return respond({ body: { embeddings: vectors } });
      if (provider !== "gemini") {
        return respond({ body: { data: vectors.map((embedding, index) => ({ index, embedding })) } });
      }
      const embeddings = vectors.map((values) => ({ values }));
      return respond({ body: inputs.length === 1 ? { embedding: embeddings[0] } : { embeddings } });
    });
    const deployment = { provider: provider as "openai", baseUrl: upstream.origin, model, ...own };
    const router = opened.router({ models: { embed: [deployment] }, inputLimits: { inputs: 10_000 } });
    const { data } = await router.embeddings.create({ model: "embed", input: texts(most + 1) });
    expect(data).toHaveLength(most + 1);
    expect(sizes.sort((a, b) => a - b)).toEqual([1, most]);
  });

  it("are refused beyond the router's own limit", async () => {
    const upstream = await opened.upstream();
    const router = routerOf(upstream);
    const refused = await rejection(router.embeddings.create({ model: "embed", input: texts(2_049) }));
    expect(refused).toMatchObject({
      code: "invalid_request",
      param: "input",
      message: expect.stringContaining("2048"),
    });
    expect(upstream.requestCount).toBe(0);
  });
});

describe("an answer that lacks vectors", () => {
  it("is a bad response, and another deployment is asked", async () => {
    const [first, second] = [await opened.upstream(), await opened.upstream()];
    first.always(respond({ body: { data: [{ index: 0, embedding: [1] }] } }));
    second.when((request) => respond({ body: embedded(textsIn(request)) }));
    const router = routerWith({}, first, second);
    const { data, routing } = await router.embeddings.create({ model: "embed", input: texts(2) }).withRouting();
    expect(data.data).toHaveLength(2);
    expect(routing.attempts).toMatchObject([
      { code: "bad_upstream_response", message: "the answer has 1 embeddings for 2 inputs" },
      { outcome: "ok" },
    ]);
  });
});
