/** What an engine said about itself, and when. What it did not say is `undefined`, which is not 0. */
export interface LoadReading {
  /** Requests that the engine works on, whoever sent them. */
  readonly running: number | undefined;
  /** Requests that wait for it to begin. */
  readonly waiting: number | undefined;
  /** Share of its KV cache that is free, 0–1. */
  readonly kvFree: number | undefined;
  /** On the router's clock. */
  readonly readAt: number;
}

/**
 * A deployment with its live snapshot, as strategies see it. Numbers are current when `pick` is called and must not be
 * kept.
 */
export interface Candidate {
  readonly id: string;
  /** Position in its group: below the group's size, for strategies that keep numbers of their own per candidate. */
  readonly index: number;
  readonly provider: string;
  readonly model: string;
  readonly tier: number;
  readonly weight: number;
  readonly tags: ReadonlySet<string>;
  readonly region: string | undefined;
  /** Attempts under way from this process. */
  readonly streams: number;
  /** Prompt tokens of the attempts that wait for their first token. */
  readonly waitingTokens: number;
  /** Most attempts at the same time; `Infinity` without a limit. */
  readonly maxParallel: number;
  /** First tokens that the latency estimate has seen. */
  readonly samples: number;
  /** Milliseconds of TTFT per token of work ahead; meaningful from the first sample on. */
  readonly slownessMs: number;
  /** Milliseconds per output token. */
  readonly msPerOutputToken: number;
  /** Streams under way when attempts completed, on average. */
  readonly averageStreams: number;
  /** Time of the last latency sample, on the router's clock. */
  readonly lastSampleAt: number;
  /** When the oldest attempt that still waits for its first token began; `undefined` without one. */
  readonly oldestWaitingSince: number | undefined;
  /** TTFT that was predicted for that attempt; 0 while there are fewer than 4 samples. */
  readonly oldestWaitingPredictedMs: number;
  /** Share of attempts that succeed lately, 0–1. */
  successRate(now: number): number;
  /**
   * Smallest unused share of the deployment's known limits, 0–1; 1 where none is known. The free share f of an engine's KV
   * cache counts as 10 f for 5 s after it was read.
   */
  headroom(now: number): number;
  /** The engine's latest reading, where the deployment has `loadSignals`; it may be old. */
  readonly load?: LoadReading | undefined;
  /**
   * Tokens of this request's prompt that its prefix cache probably holds: 0 to all of them. Always 0 without affinity.
   */
  readonly matchedTokens?: number | undefined;
  /** USD per million tokens, where known. */
  readonly price: { readonly input: number; readonly output: number } | undefined;
}

/** What a strategy may know of the request. */
export interface StrategyRequest {
  /** Estimated prompt tokens. */
  readonly promptTokens: number;
  /** Average output tokens of the group, or what the request caps it at if that is less. */
  readonly outputTokens: number;
  readonly isStreaming: boolean;
  /**
   * The conversation, as a number from 0 to 2^52 - 1: the same for all its turns, in every process. `undefined` where nobody
   * needed to know: it is there for `chwbl`, with a `sessionId`, and with a store that several processes share.
   */
  readonly fingerprint?: number | undefined;
  /** The router's clock. */
  readonly now: number;
  /** Seeded; the only source of chance that a strategy may use. */
  readonly random: { next(): number };
}

/** Picks one of the eligible candidates: synchronous, without I/O. */
export interface Strategy {
  readonly name: string;
  /** Deployments with a weight other than 1 are refused where this is false. @default false */
  readonly usesWeights?: boolean | undefined;
  /**
   * @param candidates - At least one, all eligible. The array is reused after the call.
   * @returns one of them.
   */
  pick(candidates: readonly Candidate[], request: StrategyRequest): Candidate;
}
