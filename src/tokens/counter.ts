import type { TokenCounting } from "./options.js";
import { loadTiktokenCounter } from "./tiktoken.js";
import { estimateCounter, type TokenCounter } from "./token-counter.js";

export { estimateCounter, type TokenCounter };

/** The option `tokenCounting`: a counter that is there at once, and better once it is loaded. */
export interface CounterLoader {
  /** An estimate until `load` is done; its `kind` tells which. */
  readonly counter: TokenCounter;
  /**
   * @returns `undefined`: nothing is to be loaded. Otherwise a promise that rejects if the tokenizer cannot be; counts are
   * estimates then, and the next call tries again.
   */
  load(): Promise<void> | undefined;
}

export function createCounterLoader(counting: TokenCounting): CounterLoader {
  let counter = estimateCounter;
  let loading: Promise<void> | undefined;
  const loadCounter = async () => {
    try {
      counter = await loadTiktokenCounter();
    } finally {
      loading = undefined;
    }
  };
  return {
    get counter() {
      return counter;
    },
    load() {
      if (counter.kind === counting) return undefined;
      return (loading ??= loadCounter());
    },
  };
}
