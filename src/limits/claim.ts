/**
 * A share of a limit that a request asks for, as data. The claims of all plugins are reserved in one step, all or
 * none, before the first attempt, and given back exactly once.
 */
export interface ParallelClaim {
  readonly kind: "parallel";
  /** Requests with the same key share the limit: `user:42`. */
  readonly key: string;
  /** Most requests at the same time; an integer of at least 1. */
  readonly limit: number;
}
export type Claim = ParallelClaim;
