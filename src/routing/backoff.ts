import type { Random } from "../internal/random.js";

const FIRST_MS = 250;
const LONGEST_MS = 8_000;
/** R19: no upstream makes a request wait longer. */
const LONGEST_RETRY_AFTER_MS = 60_000;

/**
 * How long to wait before the same deployment is tried again: full jitter, and never less than it asked for.
 *
 * @param retryNumber - 0 for the first retry.
 * @param retryAfterMs - As the upstream reported it; taken as 0 to 60 s.
 * @returns milliseconds: max(Retry-After, U(0, min(8 s, 250 ms · 2^n))).
 * @see routing §6 · https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("full jitter")
 */
export function backoffMs(retryNumber: number, retryAfterMs: number | undefined, random: Random): number {
  const jitterMs = random.next() * Math.min(LONGEST_MS, FIRST_MS * 2 ** retryNumber);
  // `Math.max` would answer NaN for NaN.
  return retryAfterMs !== undefined && retryAfterMs > jitterMs
    ? Math.min(LONGEST_RETRY_AFTER_MS, retryAfterMs)
    : jitterMs;
}
