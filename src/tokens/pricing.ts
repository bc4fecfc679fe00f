import type { Usage } from "../protocol/usage.js";

/** What tokens cost, in USD per million. */
export interface Price {
  readonly input: number;
  readonly output: number;
  /** Prompt tokens read from the provider's cache. @default input */
  readonly cachedInput?: number | undefined;
  /** Prompt tokens written to the provider's cache. @default input */
  readonly cacheWrite?: number | undefined;
}

/** One USD in the unit that money is counted in (R18). */
export const NANO_USD_PER_USD = 1_000_000_000;

/**
 * Cost of one answer in integer nano-USD, rounded once, half up.
 *
 * @returns `undefined` without a price: unpriced is never zero (R16).
 */
export function costNanoUsd(price: Price | undefined, usage: Usage): number | undefined {
  if (!price) return undefined;
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const written = usage.prompt_tokens_details?.cache_write_tokens ?? 0;
  const plain = Math.max(0, usage.prompt_tokens - cached - written);
  // USD per million tokens is 1,000 nano-USD per token.
  const nanoUsd =
    1_000 *
    (plain * price.input +
      cached * (price.cachedInput ?? price.input) +
      written * (price.cacheWrite ?? price.input) +
      usage.completion_tokens * price.output);
  return Math.round(nanoUsd);
}
