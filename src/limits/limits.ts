import type { Claim } from "./claim.js";
import type { Lease } from "./lease.js";

/** Claims that were reserved together: ended exactly once, later endings do nothing. */
export interface Reservation extends Lease {
  readonly isReserved: true;
}

/** The claim that had no room; nothing was reserved. */
export interface ClaimDenied {
  readonly isReserved: false;
  /** Position in the list that was asked for. */
  readonly index: number;
  readonly kind: Claim["kind"];
  readonly key: string;
  readonly limit: number;
}

/** What is in use, for decisions and for people; a copy. */
export interface LimitsView {
  /** Reservations that have not been ended. */
  readonly openReservations: number;
  /** Requests at this moment, by key of the parallel claims. */
  readonly parallel: ReadonlyMap<string, number>;
}

/**
 * Keeps the accounts of limits. A port: an implementation in memory answers at once, one with a shared store
 * answers with a promise; callers await only what is a promise.
 */
export interface Limits {
  /**
   * Reserves all claims or none.
   *
   * @param claims - Good ones ({@link claimProblem}). Claims of one request with the same key count once, and each
   *   one's limit must hold.
   */
  reserve(claims: readonly Claim[]): Reservation | ClaimDenied | Promise<Reservation | ClaimDenied>;
  view(): LimitsView;
}
