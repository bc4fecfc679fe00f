import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import {
  type ProviderIncident,
  type PublicProviderOptions,
  publicProvider,
} from "../../../../src/testing/simulator/public-provider.js";
import { SimulationClock } from "../../../../src/testing/simulator/simulation-clock.js";

/** Calls a provider at `startMs` for 11 tokens, and tells when what came. */
async function called(options: PublicProviderOptions, startMs = 0) {
  const clock = new SimulationClock();
  // Without spread: each first token after exactly 400 ms.
  const provider = publicProvider({ ttftSigma: 0, ...options }).create(clock, seededRandom(1));
  const told: { firstAt?: number; endAt?: number; failedAt?: number; error?: string } = {};
  clock.after(startMs, () => {
    provider.start({
      promptTokens: 100,
      outputTokens: 11,
      blocks: [],
      promptBlocks: 0,
      onFirstToken: () => {
        told.firstAt = clock.now();
      },
      onEnd: () => {
        told.endAt = clock.now();
      },
      onError: ({ errorClass }) => {
        told.failedAt = clock.now();
        told.error = errorClass;
      },
    });
    return true;
  });
  await clock.run(() => false, Number.POSITIVE_INFINITY);
  return told;
}

describe("the public provider", () => {
  it("begins late in an incident of its first tokens, and writes as fast as ever", async () => {
    const incidents: ProviderIncident[] = [{ fromMs: 0, untilMs: 1_000, ttftSlowdown: 10 }];
    expect(await called({ incidents })).toEqual({ firstAt: 4_000, endAt: 4_140 });
    expect(await called({ incidents }, 1_000)).toEqual({ firstAt: 1_400, endAt: 1_540 });
  });

  it("takes longer for everything while it is slow, and no longer than that", async () => {
    const incidents: ProviderIncident[] = [{ fromMs: 0, untilMs: 1_000, slowdown: 10 }];
    // A second of it brings a tenth of a second's work.
    expect((await called({ incidents })).firstAt).toBeCloseTo(1_000 + 300, 6);
  });

  it("breaks off what is under way when it is lost, and fails whatever comes until it is back", async () => {
    const incidents: ProviderIncident[] = [{ fromMs: 450, untilMs: 2_000, isLost: true }];
    expect(await called({ incidents })).toEqual({ firstAt: 400, failedAt: 450, error: "network" });
    expect(await called({ incidents }, 1_000)).toEqual({ failedAt: 1_005, error: "network" });
    expect(await called({ incidents }, 2_000)).toEqual({ firstAt: 2_400, endAt: 2_540 });
    // What was over by then is not broken off.
    expect(await called({ incidents: [{ fromMs: 541, untilMs: 2_000, isLost: true }] })).toEqual({
      firstAt: 400,
      endAt: 540,
    });
  });
});
