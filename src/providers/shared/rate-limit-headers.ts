import type { RateLimitHeader } from "../provider.js";

/** Names with what they count in the middle: `x-ratelimit-remaining-requests`. */
function named(counts: "requests" | "tokens", refill: RateLimitHeader["refill"]): RateLimitHeader {
  return {
    counts,
    limit: `x-ratelimit-limit-${counts}`,
    remaining: `x-ratelimit-remaining-${counts}`,
    reset: `x-ratelimit-reset-${counts}`,
    refill,
  };
}

/** Room comes back evenly, and is whole at the reset. @see https://platform.openai.com/docs/guides/rate-limits */
export const EVEN_LIMITS: readonly RateLimitHeader[] = [named("requests", "evenly"), named("tokens", "evenly")];

/** OpenAI's names at a server of which nobody knows what it means by a reset: nothing is expected before it. */
export const OPENAI_NAMED_LIMITS: readonly RateLimitHeader[] = [
  named("requests", "at-reset"),
  named("tokens", "at-reset"),
];

/** Bare names; the bucket's own time is told in seconds. @see https://docs.together.ai/docs/rate-limits */
export const TOGETHER_LIMITS: readonly RateLimitHeader[] = [
  ...OPENAI_NAMED_LIMITS,
  {
    counts: "requests",
    limit: "x-ratelimit-limit",
    remaining: "x-ratelimit-remaining",
    reset: "x-ratelimit-reset",
    refill: "at-reset",
  },
  { counts: "tokens", limit: "x-tokenlimit-limit", remaining: "x-tokenlimit-remaining", refill: "at-reset" },
];

/** The reset is a Unix time in milliseconds. @see https://openrouter.ai/docs/api-reference/limits */
export const OPENROUTER_LIMITS: readonly RateLimitHeader[] = [
  {
    counts: "requests",
    limit: "x-ratelimit-limit",
    remaining: "x-ratelimit-remaining",
    reset: "x-ratelimit-reset",
    refill: "at-reset",
  },
];

/** Versions differ in their names; none tells when. */
export const MISTRAL_LIMITS: readonly RateLimitHeader[] = [
  {
    counts: "requests",
    limit: "x-ratelimit-limit-req-minute",
    remaining: "x-ratelimit-remaining-req-minute",
    refill: "at-reset",
  },
  {
    counts: "tokens",
    limit: "x-ratelimit-limit-tokens-minute",
    remaining: "x-ratelimit-remaining-tokens-minute",
    refill: "at-reset",
  },
  {
    counts: "tokens",
    limit: "x-ratelimitbysize-limit-minute",
    remaining: "x-ratelimitbysize-remaining-minute",
    refill: "at-reset",
  },
  {
    counts: "tokens",
    limit: "ratelimitbysize-limit",
    remaining: "ratelimitbysize-remaining",
    reset: "ratelimitbysize-reset",
    refill: "at-reset",
  },
];

/** A token bucket that is refilled continuously; resets are dates. @see https://docs.claude.com/en/api/rate-limits */
export const ANTHROPIC_LIMITS: readonly RateLimitHeader[] = (
  ["requests", "tokens", "input-tokens", "output-tokens"] as const
).map((counts) => ({
  counts,
  limit: `anthropic-ratelimit-${counts}-limit`,
  remaining: `anthropic-ratelimit-${counts}-remaining`,
  reset: `anthropic-ratelimit-${counts}-reset`,
  refill: "evenly",
}));
