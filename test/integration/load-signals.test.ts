import { describe, expect, it } from "vitest";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import type { Candidate } from "../../src/routing/candidate.js";
import { respond } from "../../src/testing/index.js";
import { virtualClock } from "../../src/testing/virtual-clock.js";
import type { TransportRequest } from "../../src/transport/transport.js";
import { type Answering, answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { openedForEachTest } from "../support/opened.js";
import { HELLO } from "../support/router-fixtures.js";

const opened = openedForEachTest();

const metrics = (running: number, waiting: number, kvUsed: number): Answering => ({
  text: `vllm:num_requests_running ${running}\nvllm:num_requests_waiting ${waiting}\nvllm:kv_cache_usage_perc ${kvUsed}\n`,
  headers: { "content-type": "text/plain; version=0.0.4" },
});
const engine = (id: string, more: object = {}) => ({
  id,
  provider: "vllm" as const,
  baseUrl: `http://${id}:8000/v1`,
  model: "m",
  loadSignals: true,
  ...more,
});

function inVirtualTime(scrape: (request: TransportRequest) => Answering, options: Partial<RouterOptions> = {}) {
  const clock = virtualClock();
  const transport = answeringTransport((request) =>
    request.method === "GET" ? scrape(request) : { text: CHAT_ANSWER },
  );
  const models = { chat: [engine("a"), engine("b")] };
  const router = opened.watched(new Router<string>({ models, ...options, clock, transport }));
  const ask = async () =>
    (await router.chat.completions.create({ model: "chat", messages: HELLO }).withRouting()).routing;
  const loadOf = (id: string) => router.status().groups[0]?.deployments.find((each) => each.id === id)?.load;
  return { clock, transport, router, ask, loadOf };
}

describe("loadSignals", () => {
  it("are off unless asked for", async () => {
    const { clock, transport, loadOf } = inVirtualTime(() => metrics(0, 0, 0), {
      models: { chat: [engine("a", { loadSignals: undefined })] },
    });
    await clock.advance(60_000);
    expect(transport.requests).toEqual([]);
    expect(loadOf("a")).toBeUndefined();
  });

  it("are read from the engine over a real socket, with the deployment's credential", { timeout: 20_000 }, async () => {
    const upstream = await opened.upstream();
    upstream.when(({ path }) =>
      path === "/metrics"
        ? respond({ headers: { "content-type": "text/plain" }, body: "vllm:num_requests_running 2\n" })
        : undefined,
    );
    const router = opened.router({ models: { chat: [engine("a", { baseUrl: upstream.url, apiKey: "k-1" })] } });
    await expect
      .poll(() => router.status().groups[0]?.deployments[0]?.load, { timeout: 10_000 })
      .toMatchObject({
        running: 2,
        waiting: undefined,
        kvFree: undefined,
        ageMs: expect.any(Number),
        lastError: undefined,
      });
    expect(upstream.requests[0]?.headers.authorization).toBe("Bearer k-1");
  });

  it("spare an engine whose KV cache is nearly full, for as long as that is news", async () => {
    let isFull = true;
    const { clock, ask, router } = inVirtualTime(({ origin }) =>
      !isFull ? "refused" : metrics(40, 0, origin === "http://a:8000" ? 0.97 : 0.6),
    );
    await clock.advance(0);
    const { deployments } = await router.explain({ model: "chat", messages: HELLO });
    expect(deployments.map(({ cost }) => cost)).toEqual([
      expect.closeTo((deployments[1]?.cost ?? 0) / 0.3, 6),
      expect.anything(),
    ]);
    expect(deployments[0]?.load).toMatchObject({ running: 40, kvFree: expect.closeTo(0.03, 10) });
    for (let request = 0; request < 10; request++) expect((await ask()).deployment).toBe("b");
    isFull = false;
    await clock.advance(7_100);
    const later = await router.explain({ model: "chat", messages: HELLO });
    expect(later.deployments[0]?.load).toMatchObject({ kvFree: expect.closeTo(0.03, 10) });
    const seen = new Set<string | undefined>();
    for (let request = 0; request < 40; request++) seen.add((await ask()).deployment);
    expect(seen).toContain("a");
  });

  it("are offered to strategies of one's own", async () => {
    const strategy = {
      name: "shortest-queue",
      pick: (candidates: readonly Candidate[]) =>
        candidates.reduce((best, each) => ((each.load?.waiting ?? 0) < (best.load?.waiting ?? 0) ? each : best)),
    };
    const { clock, ask } = inVirtualTime(({ origin }) => metrics(1, origin === "http://a:8000" ? 9 : 2, 0), {
      models: { chat: { deployments: [engine("a"), engine("b")], strategy } },
    });
    await clock.advance(0);
    expect((await ask()).deployment).toBe("b");
  });

  it("are read every 2 s while there are requests, and not while there are none", async () => {
    const { clock, transport, ask } = inVirtualTime(() => metrics(0, 0, 0), { models: { chat: [engine("a")] } });
    await clock.advance(20_000);
    expect(transport.gets.length).toBeGreaterThanOrEqual(9);
    expect(transport.gets.length).toBeLessThanOrEqual(12);
    await clock.advance(60_000);
    const whenIdle = transport.gets.length;
    await clock.advance(600_000);
    expect(transport.gets.length).toBe(whenIdle);
    await ask();
    await clock.advance(3_000);
    expect(transport.gets.length).toBeGreaterThan(whenIdle);
  });

  it.each([
    ["nobody answers", "refused" as Answering, "connection refused"],
    [
      "the endpoint is not there",
      { status: 404, text: "" },
      "the request for the metrics was answered with the status 404",
    ],
    ["it answers something else", { text: "<html>" }, "the metrics do not tell the load"],
    ["it answers too much", { text: "x".repeat(5_000_000) }, "the body is too large"],
    ["it redirects", { status: 302, text: "" }, "the request for the metrics was answered with the status 302"],
    ["it is coded", { text: "", headers: { "content-encoding": "gzip" } }, "the answer has a content coding"],
  ])("do no harm where %s, and are asked for ever more seldom", async (_what, met, lastError) => {
    const { clock, transport, ask, loadOf } = inVirtualTime(() => met, { models: { chat: [engine("a")] } });
    for (let minute = 0; minute < 10; minute++) {
      await clock.advance(60_000);
      expect((await ask()).deployment).toBe("a");
    }
    expect(loadOf("a")).toEqual({
      running: undefined,
      waiting: undefined,
      kvFree: undefined,
      ageMs: undefined,
      lastError,
    });
    expect(transport.gets.length).toBeLessThan(18);
  });

  it("give up on an engine that hangs, one look at a time", async () => {
    const { clock, transport, loadOf } = inVirtualTime(() => "silence", { models: { chat: [engine("a")] } });
    await clock.advance(1_999);
    expect(transport.open).toBe(1);
    await clock.advance(10);
    expect(transport.open).toBe(0);
    expect(loadOf("a")).toMatchObject({ lastError: "no answer within 2000 ms" });
  });

  it("of GPUStack come from a worker, which gets no credential", async () => {
    const scraped: TransportRequest[] = [];
    const { clock, loadOf } = inVirtualTime(
      (request) => {
        scraped.push(request);
        return { text: 'gpustack:num_requests_running{model_name="m"} 6\n' };
      },
      {
        models: {
          chat: [
            engine("a", {
              provider: "gpustack",
              apiKey: "gpustack_secret",
              headers: { "x-tenant": "t" },
              loadSignals: { url: "http://worker-1:10151/metrics?x=1", intervalMs: 1_000 },
            }),
          ],
        },
      },
    );
    await clock.advance(0);
    expect(loadOf("a")).toMatchObject({ running: 6 });
    expect(scraped[0]).toMatchObject({ origin: "http://worker-1:10151", path: "/metrics?x=1" });
    expect(Object.keys(scraped[0]?.headers ?? {}).sort()).toEqual(["accept", "accept-encoding"]);
  });

  it("R8, R17: stop with the deployment, and with the router", async () => {
    const { clock, transport, router } = inVirtualTime(() => metrics(0, 0, 0));
    await clock.advance(0);
    expect(clock.pendingTimers).toBe(2);
    router.reload({ models: { chat: [engine("a")] } });
    expect(clock.pendingTimers).toBe(1);
    expect(transport.gets).toHaveLength(2);
    await router.close();
    expect(clock.pendingTimers).toBe(0);
  });
});
