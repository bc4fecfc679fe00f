import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LatencyEstimate } from "../../../src/health/latency-estimate.js";

const anEstimate = () => new LatencyEstimate(0);

describe("the latency estimate", () => {
  test("is the ratio of time to work of the first sample", () => {
    const estimate = anEstimate();
    estimate.sampleFirstToken(200, 1_000, 200);
    expect(estimate.samples).toBe(1);
    expect(estimate.slownessMs).toBeCloseTo(0.2);
    expect(estimate.lastSampleAt).toBe(200);
  });

  test("weighs the first samples evenly", () => {
    const estimate = anEstimate();
    for (const ttftMs of [100, 200, 300, 400]) estimate.sampleFirstToken(ttftMs, 1_000, 0);
    expect(estimate.slownessMs).toBeCloseTo(0.25);
  });

  test("weighs a sample by a tenth after ten of them", () => {
    const estimate = anEstimate();
    for (let sample = 0; sample < 20; sample++) estimate.sampleFirstToken(100, 1_000, 0);
    estimate.sampleFirstToken(200, 1_000, 0);
    expect(estimate.slownessMs).toBeCloseTo(0.11);
  });

  test("gives a sample after a pause the weight of the pause", () => {
    const estimate = anEstimate();
    for (let sample = 0; sample < 20; sample++) estimate.sampleFirstToken(100, 1_000, 0);
    estimate.sampleFirstToken(200, 1_000, 10_000);
    expect(estimate.slownessMs).toBeCloseTo(0.1 + 0.1 * (1 - Math.exp(-1)));
  });

  test("averages decode time over tokens with weights of a twentieth and 20 s", () => {
    const estimate = anEstimate();
    estimate.sampleFirstToken(100, 1_000, 0);
    for (let sample = 0; sample < 30; sample++) estimate.sampleDecode(1_000, 100, 0);
    expect(estimate.msPerOutputToken).toBeCloseTo(10);
    estimate.sampleDecode(2_000, 100, 0);
    expect(estimate.msPerOutputToken).toBeCloseTo(10.5);
    estimate.sampleDecode(2_000, 100, 20_000);
    expect(estimate.msPerOutputToken).toBeCloseTo(10.5 + 9.5 * (1 - Math.exp(-1)));
  });

  test("learns nothing of decoding from an answer of one token", () => {
    const estimate = anEstimate();
    estimate.sampleFirstToken(100, 1_000, 0);
    estimate.sampleDecode(0, 0, 0);
    expect(estimate.msPerOutputToken).toBe(0);
  });

  test("shares a whole reply out with 100 prompt tokens per output token before any stream", () => {
    const estimate = anEstimate();
    // 1000 + 100 · 90 = 10,000 prompt tokens of work in 5 s.
    estimate.sampleWhole(5_000, 1_000, 90, 5_000);
    expect(estimate.slownessMs).toBeCloseTo(0.5);
    expect(estimate.msPerOutputToken).toBeCloseTo(50);
  });

  test("shares a whole reply out as streams have shown", () => {
    const estimate = anEstimate();
    estimate.sampleFirstToken(1_000, 1_000, 0);
    estimate.sampleDecode(2_000, 100, 0);
    // One output token takes as long as 20 prompt tokens; 1000 + 20 · 50 = 2000 units in 2 s: as fast as known.
    estimate.sampleWhole(2_000, 1_000, 50, 0);
    expect(estimate.slownessMs).toBeCloseTo(1);
    expect(estimate.msPerOutputToken).toBeCloseTo(20);
  });

  test("does not let whole replies move the share that streams have shown", () => {
    const estimate = anEstimate();
    estimate.sampleFirstToken(1_000, 1_000, 0);
    estimate.sampleDecode(2_000, 100, 0);
    for (let reply = 0; reply < 2_000; reply++)
      estimate.sampleWhole(reply % 2 === 0 ? 1_000 : 3_000, 1_000, 50, reply * 100);
    expect(estimate.msPerOutputToken / estimate.slownessMs).toBeGreaterThan(15);
    expect(estimate.msPerOutputToken / estimate.slownessMs).toBeLessThan(27);
  });

  test("takes embeddings, which have no output, as work of the prompt alone", () => {
    const estimate = anEstimate();
    estimate.sampleWhole(50, 500, 0, 50);
    expect(estimate.slownessMs).toBeCloseTo(0.1);
    expect(estimate.msPerOutputToken).toBe(0);
    expect(estimate.samples).toBe(1);
  });

  test("routing invariant 4: a censored sample never lowers the estimate, and raises it where it shows more", () => {
    const ms = fc.integer({ min: 0, max: 100_000 });
    const work = fc.integer({ min: 101, max: 50_000 });
    fc.assert(
      fc.property(fc.array(fc.tuple(ms, work), { maxLength: 20 }), ms, work, (samples, elapsedMs, ahead) => {
        const estimate = anEstimate();
        for (const [ttftMs, sampleWork] of samples) estimate.sampleFirstToken(ttftMs, sampleWork, 0);
        const before = estimate.slownessMs;
        estimate.sampleCensored(elapsedMs, ahead, 0, 0);
        expect(estimate.slownessMs).toBeGreaterThanOrEqual(before);
        expect(estimate.samples).toBe(samples.length);
        if (samples.length > 0 && elapsedMs / ahead > 1.01 * before)
          expect(estimate.slownessMs).toBeGreaterThan(before);
      }),
    );
  });

  test("reckons the expected output in where a whole reply was cut off", () => {
    const estimate = anEstimate();
    estimate.sampleWhole(10_000, 1_000, 90, 0);
    const before = estimate.slownessMs;
    estimate.sampleCensored(9_000, 1_000, 90, 0);
    expect(estimate.slownessMs).toBe(before);
    estimate.sampleCensored(60_000, 1_000, 90, 0);
    expect(estimate.slownessMs).toBeGreaterThan(before);
  });

  test("averages streams at completion with a weight of a twentieth, the first ones evenly", () => {
    const estimate = anEstimate();
    estimate.sampleStreams(2);
    estimate.sampleStreams(4);
    expect(estimate.averageStreams).toBe(3);
    for (let completion = 0; completion < 30; completion++) estimate.sampleStreams(3);
    estimate.sampleStreams(23);
    expect(estimate.averageStreams).toBeCloseTo(4);
  });

  test("predicts nothing before the first sample, then from both speeds", () => {
    const estimate = anEstimate();
    expect(estimate.predictMs(1_000, 10)).toBeUndefined();
    estimate.sampleFirstToken(100, 1_000, 0);
    expect(estimate.predictMs(2_000, 0)).toBeCloseTo(200);
    // No stream has ended yet: an output token counts as 100 prompt tokens.
    expect(estimate.predictMs(2_000, 10)).toBeCloseTo(300);
    estimate.sampleDecode(500, 100, 0);
    expect(estimate.predictMs(2_000, 10)).toBeCloseTo(250);
  });

  test("stays a positive number for an upstream that answers in no time", () => {
    const estimate = anEstimate();
    estimate.sampleFirstToken(0, 1_000, 0);
    estimate.sampleDecode(0, 10, 0);
    expect(estimate.slownessMs).toBeGreaterThan(0);
    expect(estimate.msPerOutputToken).toBeGreaterThan(0);
  });

  test("scales with all times", () => {
    const sample = fc.tuple(
      fc.integer({ min: 1, max: 60_000 }),
      fc.integer({ min: 101, max: 9_999 }),
      fc.integer({ min: 0, max: 500 }),
    );
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 30 }), (samples) => {
        const estimates = [1, 4].map((factor) => {
          const estimate = anEstimate();
          for (const [ms, work, tokens] of samples) {
            if (tokens % 2 === 0) estimate.sampleWhole(ms * factor, work, tokens, 0);
            else {
              estimate.sampleFirstToken(ms * factor, work, 0);
              estimate.sampleDecode(3 * ms * factor, tokens, 0);
            }
          }
          return estimate;
        });
        expect(estimates[1]!.slownessMs / estimates[0]!.slownessMs).toBeCloseTo(4, 9);
        if (estimates[0]!.msPerOutputToken > 0) {
          expect(estimates[1]!.msPerOutputToken / estimates[0]!.msPerOutputToken).toBeCloseTo(4, 9);
        }
      }),
    );
  });
});
