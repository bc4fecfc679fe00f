import type { Price } from "./pricing.js";

/** What a source knows of a model. */
export interface ModelPricing {
  /**
   * The price at a time, for some change with the date or the hour; `undefined`: not known, which is not free (R16).
   * @param at - Unix milliseconds.
   */
  readonly priceAt: ((at: number) => Price | undefined) | undefined;
  readonly maxOutputTokens: number | undefined;
  /** Tokens that prompt and answer may have together. */
  readonly contextWindow: number | undefined;
}

/** Where prices come from. A port; synchronous: what has to be loaded is loaded before. */
export interface PriceSource {
  readonly name: string;
  /**
   * @param provider - As deployments name it.
   * @param model - As the provider names it.
   * @returns `undefined`: the source does not know the model.
   */
  find(provider: string, model: string, baseUrl: string | undefined): ModelPricing | undefined;
}
