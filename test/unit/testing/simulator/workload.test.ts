import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import { drawGeometric, drawLognormal, zipf } from "../../../../src/testing/simulator/distributions.js";
import { SimulationClock } from "../../../../src/testing/simulator/simulation-clock.js";
import {
  conversations,
  poisson,
  replay,
  type SimulatedRequest,
  textOf,
  type Workload,
} from "../../../../src/testing/simulator/workload.js";
import { estimateTokens } from "../../../../src/tokens/estimate.js";

/** What a workload sends when every answer comes after a second. */
async function sent(workload: Workload, endMs: number, seed = 1) {
  const clock = new SimulationClock();
  const requests: (SimulatedRequest & { atMs: number })[] = [];
  workload.start({
    clock,
    random: seededRandom(seed),
    endMs,
    async send(request) {
      requests.push({ ...request, atMs: clock.now() });
      await clock.sleep(1_000);
      return {
        arrivedAt: clock.now() - 1_000,
        isOk: true,
        code: undefined,
        ttftMs: 100,
        durationMs: 1_000,
        promptTokens: request.promptTokens,
        outputTokens: request.outputTokens,
        tenant: undefined,
        deployment: "d",
      };
    },
  });
  await clock.run(() => false, Number.POSITIVE_INFINITY);
  return requests;
}

describe("distributions", () => {
  it("have the medians and means that they are named for, and stay within their bounds", () => {
    const random = seededRandom(3);
    const drawn = Array.from({ length: 20_001 }, () =>
      drawLognormal({ median: 800, sigma: 0.8, min: 20, max: 8_000 }, random),
    ).sort((one, other) => one - other);
    expect(drawn[10_000]).toBeGreaterThan(770);
    expect(drawn[10_000]).toBeLessThan(830);
    expect(drawn[0]).toBeGreaterThanOrEqual(20);
    expect(drawn.at(-1)).toBeLessThanOrEqual(8_000);

    const turns = Array.from({ length: 20_000 }, () => drawGeometric(5, 1_000, random));
    expect(turns.reduce((sum, count) => sum + count, 0) / turns.length).toBeCloseTo(5, 0);
    expect(Math.min(...turns)).toBe(1);

    const drawRank = zipf(40, 1);
    const ranks = Array.from({ length: 20_000 }, () => drawRank(random));
    const count = (rank: number) => ranks.filter((drawnRank) => drawnRank === rank).length;
    expect(count(0) / count(3)).toBeGreaterThan(3.3);
    expect(count(0) / count(3)).toBeLessThan(4.8);
  });
});

describe("workloads", () => {
  it("send as many requests per second as the rate of the moment says", async () => {
    const rate = (nowMs: number) => (nowMs < 100_000 ? 5 : 20);
    const requests = await sent(poisson({ rate, mostRate: 20 }), 200_000);
    const early = requests.filter(({ atMs }) => atMs < 100_000).length;
    expect(early).toBeGreaterThan(430);
    expect(early).toBeLessThan(570);
    expect(requests.length - early).toBeGreaterThan(1_860);
    expect(requests.length - early).toBeLessThan(2_140);
  });

  it("send what was said before with every turn of a conversation", async () => {
    const requests = await sent(conversations({ rate: 1, applications: 3 }), 60_000);
    const second = requests.find(({ messages }) => messages?.length === 4);
    const [system, question, answer] = second?.messages ?? [];
    expect([system?.role, question?.role, answer?.role]).toEqual(["system", "user", "assistant"]);
    const first = requests.find(({ messages }) => messages?.length === 2 && messages[1]?.content === question?.content);
    expect(first?.messages?.[0]).toEqual(system);
    const shared = first?.blocks?.filter((block, position) => second?.blocks?.[position] === block).length;
    // All whole blocks of the first turn, its answer included.
    expect(shared).toBe(first?.blocks?.length);
  });

  it("replay a trace at its own pace, or faster", async () => {
    const trace = [0, 400, 1_000].map((atMs) => ({ atMs, promptTokens: 10, outputTokens: 1 }));
    expect((await sent(replay(trace), 10_000)).map(({ atMs }) => atMs)).toEqual([0, 400, 1_000]);
    expect((await sent(replay(trace, 2), 400)).map(({ atMs }) => atMs)).toEqual([0, 200]);
  });

  it("write texts of the size that the router estimates", () => {
    for (const tokens of [20, 333, 8_000, 30_000]) {
      // A message costs 3 tokens beside its text.
      expect(estimateTokens(textOf(17, tokens).length) + 3, `${tokens} tokens`).toBe(tokens);
      expect(textOf(17, tokens).slice(0, 40)).not.toBe(textOf(18, tokens).slice(0, 40));
    }
  });
});
