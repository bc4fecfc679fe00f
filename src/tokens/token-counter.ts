import { estimateTokens, utf8Length } from "./estimate.js";
import type { TokenCounting } from "./options.js";

/** Counts the tokens of a text. A port; synchronous. */
export interface TokenCounter {
  /** How far the counts can be trusted: bytes / 4, or a tokenizer's. */
  readonly kind: TokenCounting;
  count(text: string): number;
}

/** Bytes / 4, rounded up. */
export const estimateCounter: TokenCounter = Object.freeze({
  kind: "estimate",
  count: (text: string) => estimateTokens(utf8Length(text)),
});
