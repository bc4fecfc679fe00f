import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import type { Job } from "../../../../src/testing/simulator/model.js";
import { type ReplicaOptions, replica } from "../../../../src/testing/simulator/replica.js";
import { saturatedRate } from "../../../../src/testing/simulator/saturated-rate.js";
import { SimulationClock } from "../../../../src/testing/simulator/simulation-clock.js";
import { chatMix } from "../../../../src/testing/simulator/workload.js";

interface Told {
  firstAt?: number;
  endAt?: number;
  cached?: number;
  error?: string;
}

/** A replica, and what it told about each job. */
function atWork(options: ReplicaOptions = {}) {
  const clock = new SimulationClock();
  const model = replica(options).create(clock, seededRandom(1));
  const start = (job: Partial<Job> & Pick<Job, "promptTokens" | "outputTokens">) => {
    const told: Told = {};
    const { blocks = [] } = job;
    const running = model.start({
      blocks,
      promptBlocks: blocks.length,
      onFirstToken(cached) {
        told.firstAt = clock.now();
        told.cached = cached;
      },
      onEnd: () => {
        told.endAt = clock.now();
      },
      onError: ({ errorClass }) => {
        told.error = errorClass;
      },
      ...job,
    });
    return { told, running };
  };
  const run = (untilMs = Number.POSITIVE_INFINITY) => clock.run(() => clock.now() >= untilMs, Number.POSITIVE_INFINITY);
  return { clock, start, run };
}

describe("the reference replica", () => {
  it("reads a prompt that fits a step in one, and writes a token with each further step", async () => {
    const { start, run } = atWork();
    const { told } = start({ promptTokens: 1_000, outputTokens: 3 });
    await run();
    // 2 ms to it, a step of 10 + 100 ms, 2 ms back.
    expect(told.firstAt).toBeCloseTo(2 + 110 + 2, 6);
    // Two steps of one stream: 10 + 0.1 ms, and what its context costs.
    const steps = 2 * 10.1 + 0.00004 * (1_001 + 1_002);
    expect(told.endAt).toBeCloseTo(2 + 110 + steps + 2, 6);
  });

  it("cuts long prompts into chunks of what decoding leaves of a step", async () => {
    const { start, run } = atWork();
    const { told } = start({ promptTokens: 2_500, outputTokens: 1 });
    await run();
    expect(told.firstAt).toBeCloseTo(2 + (10 + 102.4) + (10 + 102.4) + (10 + 45.2) + 2, 6);
  });

  it("serves those who wait in order, and no more at the same time than it has slots", async () => {
    const { start, run } = atWork({ slots: 1 });
    const first = start({ promptTokens: 100, outputTokens: 10 });
    const second = start({ promptTokens: 100, outputTokens: 10 });
    await run();
    expect(second.told.firstAt).toBeGreaterThan(first.told.endAt ?? Number.NaN);
  });

  it("lets nobody in whose tokens do not fit into its memory, for now or ever", async () => {
    const { start, run } = atWork({ kvTokens: 1_000 });
    const first = start({ promptTokens: 600, outputTokens: 50 });
    const second = start({ promptTokens: 600, outputTokens: 50 });
    const tooLarge = start({ promptTokens: 1_000, outputTokens: 1 });
    await run();
    expect(second.told.firstAt).toBeGreaterThan((first.told.endAt ?? Number.NaN) - 2);
    expect(tooLarge.told).toEqual({ error: "context_length" });
  });

  it("does not read again what its prefix cache has, but the last token", async () => {
    const { start, run, clock } = atWork();
    const blocks = [1, 2, 3, 4];
    const first = start({ promptTokens: 512, outputTokens: 2, blocks });
    await run();
    const again = start({ promptTokens: 512, outputTokens: 2, blocks });
    const other = start({ promptTokens: 512, outputTokens: 2, blocks: [1, 2, 9, 4] });
    await run();
    expect(first.told.cached).toBe(0);
    expect(again.told.cached).toBe(511);
    expect(other.told.cached).toBe(256);
    expect(clock.now()).toBeGreaterThan(0);
  });

  it("forgets the least recently used blocks when the free memory is full", async () => {
    const { start, run } = atWork({ kvTokens: 1_024 });
    start({ promptTokens: 384, outputTokens: 1, blocks: [1, 2, 3] });
    await run();
    start({ promptTokens: 640, outputTokens: 1, blocks: [11, 12, 13, 14, 15] });
    await run();
    const late = start({ promptTokens: 640, outputTokens: 1, blocks: [11, 12, 13, 14, 15] });
    const early = start({ promptTokens: 384, outputTokens: 1, blocks: [1, 2, 3] });
    await run();
    expect(late.told.cached).toBeGreaterThan(0);
    expect(early.told.cached).toBeLessThan(383);
  });

  it("frees slot and memory of a call that is aborted, wherever it is", async () => {
    for (const abortAt of [0.5, 5, 60, 113, 140]) {
      const { start, run, clock } = atWork({ slots: 1 });
      const gone = start({ promptTokens: 1_000, outputTokens: 100 });
      await run(abortAt);
      clock.after(Math.max(0, abortAt - clock.now()), () => {
        gone.running.abort();
        return false;
      });
      const next = start({ promptTokens: 10, outputTokens: 5 });
      await run();
      expect(gone.told.endAt, `${abortAt} ms`).toBeUndefined();
      expect(next.told.endAt, `${abortAt} ms`).toBeGreaterThan(0);
    }
  });

  it("takes so many times longer during an incident, and fails the share of calls that it says", async () => {
    const slow = atWork({ incidents: [{ fromMs: 0, untilMs: 10_000, slowdown: 6 }] });
    const { told } = slow.start({ promptTokens: 1_000, outputTokens: 1 });
    await slow.run();
    expect(told.firstAt).toBeCloseTo(2 + 6 * 110 + 2, 6);

    const failing = atWork({ incidents: [{ fromMs: 0, untilMs: 10_000, failureShare: 1, failAfterMs: 5 }] });
    const failed = failing.start({ promptTokens: 1_000, outputTokens: 1 });
    await failing.run();
    expect(failed.told).toEqual({ error: "network" });
    expect(failing.clock.now()).toBe(5);
  });

  it("saturates at the 5.5 requests per second of the chat mix that the routing rows are based on", async () => {
    const rate = await saturatedRate(replica(), chatMix);
    expect(rate).toBeGreaterThan(5.3);
    expect(rate).toBeLessThan(5.8);
  });

  it("breaks off everything under way when it is lost, and comes back with an empty cache", async () => {
    const incidents = [{ fromMs: 1_000, untilMs: 5_000, isLost: true }];
    const { clock, start, run } = atWork({ slots: 2, incidents });
    const all: ReturnType<typeof start>["told"][] = [];
    const startAt = (atMs: number, job: Parameters<typeof start>[0]) =>
      clock.after(atMs, () => {
        all.push(start(job).told);
        return true;
      });
    const blocks = [1, 2, 3, 4];
    startAt(0, { promptTokens: 600, outputTokens: 2, blocks });
    startAt(800, { promptTokens: 100, outputTokens: 500 }); // will be writing,
    startAt(900, { promptTokens: 30_000, outputTokens: 1 }); // reading,
    startAt(950, { promptTokens: 100, outputTokens: 1 }); // waiting for a slot,
    startAt(999, { promptTokens: 100, outputTokens: 1 }); // and on its way
    startAt(4_000, { promptTokens: 100, outputTokens: 1 });
    startAt(5_000, { promptTokens: 600, outputTokens: 2, blocks });
    await run();
    const [before, writing, ...others] = all;
    const after = others.pop();
    expect(before?.endAt).toBeLessThan(800);
    expect(writing?.firstAt).toBeLessThan(1_000);
    expect([writing, ...others].map((told) => told?.error)).toEqual(Array.from({ length: 5 }, () => "network"));
    expect([writing, ...others].map((told) => told?.endAt)).toEqual(Array.from({ length: 5 }, () => undefined));
    expect(after?.cached).toBe(0);
    expect(after?.endAt).toBeGreaterThan(5_000);
  });
});
