import type { Clock } from "../../src/internal/clock.js";
import { seededRandom } from "../../src/internal/random.js";
import type { AttemptContext } from "../../src/providers/provider.js";

/** 2026-01-01T00:00:00Z. */
export const WALL_NOW_MS = 1_767_225_600_000;

/** A clock that stands still: dialects look at it and never wait. */
export function standingClock(wallNowMs = WALL_NOW_MS): Clock {
  const never = () => {
    throw new Error("dialects do not wait");
  };
  return { now: () => 0, wallNow: () => wallNowMs, schedule: never, sleep: never };
}

/** What a dialect knows of one attempt; a plain chat completion unless told otherwise. */
export function anAttempt(fields: Partial<AttemptContext> = {}): AttemptContext {
  return {
    operation: "chat.completions",
    model: "wire-model",
    isStreaming: false,
    includeUsage: false,
    wantsLogprobs: false,
    wantsBase64: false,
    clock: standingClock(),
    random: seededRandom(1),
    ...fields,
  };
}
