import { describe, expect, it } from "vitest";
import type { BatchItem, BatchProgress, BatchResult } from "../../src/router/batch.js";
import { error, reply, silence } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

const items = (count: number): BatchItem[] =>
  Array.from({ length: count }, (_, index) => ({
    id: `item-${index}`,
    body: { model: "chat", messages: [{ role: "user", content: `number ${index}` }] },
  }));

const textOf = (result: BatchResult) =>
  "data" in result && "choices" in result.data && "message" in (result.data.choices[0] ?? {})
    ? (result.data.choices[0] as { message: { content: string | null } }).message.content
    : undefined;

async function collect(results: AsyncIterable<BatchResult>): Promise<BatchResult[]> {
  const all: BatchResult[] = [];
  for await (const result of results) all.push(result);
  return all;
}

async function routerOver(...behaviours: Parameters<typeof open.upstream>) {
  const upstream = await open.upstream(...behaviours);
  const deployments = [deploymentOf(upstream, "a")];
  return { upstream, router: open.router({ models: { chat: { deployments, retries: 0, cooldown: false } } }) };
}

describe("a batch", () => {
  it("keeps the order of its requests, and never has more under way than it may", async () => {
    const { upstream, router } = await routerOver();
    let most = 0;
    upstream.when(() => {
      most = Math.max(most, upstream.inFlight);
      return reply({ delayMs: 2 });
    });
    const results = await collect(router.batch(items(50), { concurrency: 7 }));
    expect(results.map(({ id, index }) => [id, index])).toEqual(items(50).map((_, index) => [`item-${index}`, index]));
    expect(results.map(textOf)).toEqual(Array.from({ length: 50 }, (_, index) => `number ${index}`));
    expect(most).toBeLessThanOrEqual(7);
    expect(most).toBeGreaterThan(1);
  });

  it("yields results as they finish, if asked", async () => {
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { upstream, router } = await routerOver();
    upstream.when(({ text }) => (text.includes("number 0") ? reply({ text: "slow", until }) : undefined));
    const seen: number[] = [];
    for await (const { index } of router.batch(items(5), { concurrency: 5, order: "completed" })) {
      seen.push(index);
      if (seen.length === 4) release();
    }
    expect(seen.at(-1)).toBe(0);
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4]);
  });

  it("goes on after errors: each is the result of its own request", async () => {
    const { upstream, router } = await routerOver();
    upstream.when(({ text }) => (/number (3|7)"/.test(text) ? error(400, { message: "no" }) : undefined));
    const mixed: BatchItem[] = [
      ...items(9),
      { model: "nobody", messages: HELLO },
      { body: { model: "chat", messages: HELLO, stream: true } },
    ];
    const results = await collect(router.batch(mixed));
    expect(
      results
        .filter((result) => "error" in result)
        .map((result) => [result.index, "error" in result && result.error.code]),
    ).toEqual([
      [3, "invalid_request"],
      [7, "invalid_request"],
      [9, "model_not_found"],
      [10, "invalid_request"],
    ]);
  });

  it("takes other operations, and async sources of unknown length", async () => {
    const { router } = await routerOver();
    async function* source(): AsyncGenerator<BatchItem> {
      yield { operation: "embeddings", body: { model: "chat", input: "a" } };
      yield { operation: "completions", body: { model: "chat", prompt: "b" } };
    }
    const results = await collect(router.batch(source()));
    expect(results.map((result) => "data" in result && result.data.object)).toEqual(["list", "text_completion"]);
  });

  it("reports progress with counts, rate and time to go", async () => {
    const { upstream, router } = await routerOver();
    upstream.when(({ text }) => (text.includes('number 1"') ? error(400) : undefined));
    const progress: BatchProgress[] = [];
    await collect(router.batch(items(4), { onProgress: (each) => void progress.push(each) }));
    expect(progress.map(({ completed }) => completed)).toEqual([1, 2, 3, 4]);
    expect(progress.at(-1)).toMatchObject({ total: 4, completed: 4, succeeded: 3, failed: 1, inFlight: 0, etaMs: 0 });
    expect(progress.at(-1)?.perSecond).toBeGreaterThan(0);
  });

  it("sends nothing before it is read, and stops sending when the reader does", async () => {
    const { upstream, router } = await routerOver();
    const results = router.batch(items(100), { concurrency: 3 });
    expect(upstream.requestCount).toBe(0);
    await results.next();
    await expect.poll(() => upstream.inFlight).toBe(0);
    // Three under way and three read ahead of the reader, and one that it has read.
    await expect.poll(() => router.status().inFlight).toBe(0);
    expect(upstream.requestCount).toBeLessThanOrEqual(7);
    expect(await collect(results)).toHaveLength(99);
  });

  it("aborts what is under way when the reader leaves", async () => {
    const { upstream, router } = await routerOver();
    upstream.always(silence());
    upstream.next(reply());
    for await (const _ of router.batch(items(10), { concurrency: 4, order: "completed" })) break;
    await expect.poll(() => router.status().inFlight).toBe(0);
    await expect.poll(() => upstream.inFlight).toBe(0);
  });

  it("ends with its signal: nothing more is sent, and the iterator throws", async () => {
    const { upstream, router } = await routerOver();
    upstream.always(silence());
    const stop = new AbortController();
    const reading = rejection(collect(router.batch(items(10), { concurrency: 4, signal: stop.signal })));
    await upstream.waitForRequest(4);
    stop.abort();
    expect(await reading).toMatchObject({ code: "cancelled" });
    await expect.poll(() => router.status().inFlight).toBe(0);
    expect(upstream.requestCount).toBe(4);
  });

  it("ends with a source that throws, or a progress callback that does", async () => {
    const { router } = await routerOver();
    function* broken(): Generator<BatchItem> {
      yield { model: "chat", messages: HELLO };
      throw new Error("source broke");
    }
    expect(await rejection(collect(router.batch(broken())))).toMatchObject({ message: "source broke" });
    const onProgress = () => {
      throw new Error("callback broke");
    };
    expect(await rejection(collect(router.batch(items(3), { onProgress })))).toMatchObject({
      message: "callback broke",
    });
    await expect.poll(() => router.status().inFlight).toBe(0);
  });

  it.each([{ concurrency: 0 }, { concurrency: 1.5 }, { order: "random" }])("refuses %j", async (options) => {
    const { router } = await routerOver();
    expect(await rejection(collect(router.batch(items(1), options as never)))).toMatchObject({
      code: "invalid_request",
      param: Object.keys(options)[0],
    });
  });
});
