import fc from "fast-check";
import { seededRandom } from "../../src/internal/random.js";
import type { Candidate, StrategyRequest } from "../../src/routing/candidate.js";
import { aCandidate } from "./candidates.js";

/** The time of every arbitrary request. */
export const NOW = 1_000_000;

/** Candidates in any state, some of them equal. */
export const arbitraryCandidates: fc.Arbitrary<Candidate[]> = fc
  .array(
    fc.record({
      streams: fc.constantFrom(0, 0, 1, 2, 3, 40),
      waitingTokens: fc.constantFrom(0, 0, 1, 800, 20_000),
      matchedTokens: fc.constantFrom(undefined, 0, 0, 128, 1_000),
      samples: fc.constantFrom(0, 1, 4, 100),
      slownessMs: fc.constantFrom(0.05, 0.05, 0.055, 0.1, 2),
      msPerOutputToken: fc.constantFrom(0, 10, 10, 12, 50),
      averageStreams: fc.constantFrom(0, 1, 7.5),
      idleMs: fc.constantFrom(0, 10, 5_000, 40_000, 400_000),
      waitedMs: fc.constantFrom(undefined, 100, 600, 9_000),
      oldestWaitingPredictedMs: fc.constantFrom(0, 50, 2_000),
      success: fc.constantFrom(1, 1, 0.9, 0.3, 0),
      room: fc.constantFrom(1, 1, 0.5, 0.09, 0),
      weight: fc.constantFrom(1, 1, 2, 0.5),
      price: fc.constantFrom(
        undefined,
        { input: 1, output: 4 },
        { input: 1.01, output: 4.04 },
        { input: 9, output: 30 },
      ),
    }),
    { minLength: 1, maxLength: 30 },
  )
  .map((states) =>
    states.map(({ idleMs, waitedMs, success, room, ...state }, index) =>
      aCandidate({
        ...state,
        index,
        id: `d${index}`,
        ...(state.samples === 0 && { slownessMs: 0, msPerOutputToken: 0 }),
        lastSampleAt: NOW - idleMs,
        oldestWaitingSince: waitedMs === undefined ? undefined : NOW - waitedMs,
        successRate: () => success,
        headroom: () => room,
      }),
    ),
  );

export const arbitraryRequest: fc.Arbitrary<StrategyRequest> = fc
  .record({
    promptTokens: fc.constantFrom(0, 1, 1_000, 100_000),
    outputTokens: fc.constantFrom(0, 1, 180, 4_000),
    isStreaming: fc.boolean(),
    seed: fc.nat(),
  })
  .map(({ seed, ...request }) => ({ ...request, now: NOW, random: seededRandom(seed) }));
