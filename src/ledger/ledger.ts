import type { Outcome } from "../errors/classify.js";
import type { Operation } from "../protocol/operations.js";

/** One attempt that used tokens, as it is booked: once, by (request, attempt, kind), and never changed. */
export interface LedgerEntry {
  readonly requestId: string;
  /** 1 for the first attempt; 0 for an entry about the request as a whole. */
  readonly attempt: number;
  /**
   * `usage`: an attempt. `abandoned`: the process died, and the reservation was charged. `correction`: takes an
   * `abandoned` entry back, because the real usage came after all.
   */
  readonly kind: "usage" | "abandoned" | "correction";
  /** Unix milliseconds: when the attempt ended. */
  readonly at: number;
  readonly durationMs: number;
  readonly ttftMs: number | undefined;
  readonly operation: Operation;
  /** The name that the caller asked for. */
  readonly model: string;
  readonly group: string;
  readonly deployment: string;
  readonly provider: string;
  /** What the provider calls the model. */
  readonly upstreamModel: string;
  readonly key: string | undefined;
  readonly user: string | undefined;
  readonly team: string | undefined;
  readonly organization: string | undefined;
  readonly tags: readonly string[];
  readonly outcome: Outcome;
  /** Input tokens, cached ones included. A `correction` has negative counts and cost. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly cacheWriteTokens: number;
  /** Output tokens, reasoning included. */
  readonly completionTokens: number;
  readonly reasoningTokens: number;
  /** Integer; `null`: unpriced, which is not free. */
  readonly costNanoUsd: number | null;
  /** The tokens were counted here, because the upstream did not report them. */
  readonly isEstimated: boolean;
  /** What was odd about the upstream's numbers. */
  readonly flags: readonly LedgerFlag[];
}

/** `usage-implausible`: over four times our count. `usage-malformed`: ignored. `over-reservation`: cost more than was reserved. */
export type LedgerFlag = "usage-implausible" | "usage-malformed" | "over-reservation";

/** What entries can be selected and grouped by. */
export type LedgerDimension =
  | "hour"
  | "day"
  | "key"
  | "user"
  | "team"
  | "organization"
  | "model"
  | "group"
  | "deployment"
  | "provider"
  | "tag";

export interface LedgerFilter {
  /** Unix milliseconds, inclusive. */
  readonly from?: number | undefined;
  /** Unix milliseconds, exclusive. */
  readonly to?: number | undefined;
  readonly key?: string | undefined;
  readonly user?: string | undefined;
  readonly team?: string | undefined;
  readonly organization?: string | undefined;
  readonly model?: string | undefined;
  readonly group?: string | undefined;
  readonly deployment?: string | undefined;
  readonly provider?: string | undefined;
  readonly tag?: string | undefined;
}

export interface LedgerQuery extends LedgerFilter {
  /** At most 4. An entry with several tags counts once under each; `totals` count it once. @default [] */
  readonly by?: readonly LedgerDimension[] | undefined;
  /** Rows, 1–100000; the report says whether there were more. @default 10000 */
  readonly limit?: number | undefined;
}

export interface LedgerTotals {
  /** Distinct requests. */
  readonly requests: number;
  /** Entries of kind `usage` or `abandoned`. */
  readonly attempts: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly cacheWriteTokens: number;
  readonly completionTokens: number;
  readonly reasoningTokens: number;
  /** Exact integer sum of the priced entries; a bigint, for sums may pass 2^53. */
  readonly costNanoUsd: bigint;
  /** Of these, from entries whose tokens were counted here. */
  readonly estimatedNanoUsd: bigint;
  /** Entries without a price. */
  readonly unpricedAttempts: number;
}

export interface LedgerRow extends LedgerTotals {
  /** The values of the dimensions asked for; `hour` and `day` as ISO dates in UTC; `null`: the entry has none. */
  readonly by: Readonly<Partial<Record<LedgerDimension, string | null>>>;
}

export interface LedgerReport {
  /** In ascending order of their dimensions. */
  readonly rows: readonly LedgerRow[];
  /** Over all entries selected, whatever the limit of rows. */
  readonly totals: LedgerTotals;
  readonly isTruncated: boolean;
}

/** The book of what was used: append-only. A port; sums are exact in every implementation. */
export interface Ledger {
  /** `memory`, `postgres`: for people. */
  readonly name: string;
  /** Books entries, all or none; those that are booked already are left as they are. */
  append(entries: readonly LedgerEntry[]): void | Promise<void>;
  report(query?: LedgerQuery): Promise<LedgerReport>;
  /** Entries in the order of their time, then request and attempt; read in bounded pieces. */
  entries(filter?: LedgerFilter): AsyncIterable<LedgerEntry>;
  /** All entries of some requests. */
  entriesOf(requestIds: readonly string[]): readonly LedgerEntry[] | Promise<readonly LedgerEntry[]>;
  /**
   * `abandoned` entries whose request has `usage` entries, too, and that have no `correction` yet; at most `most`, those
   * booked first before others.
   */
  uncorrected(most: number): readonly LedgerEntry[] | Promise<readonly LedgerEntry[]>;
  close?(): void | Promise<void>;
}
