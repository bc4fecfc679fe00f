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
  /** Smallest unused share of the deployment's known limits, 0–1; 1 where none is known. */
  headroom(now: number): number;
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
