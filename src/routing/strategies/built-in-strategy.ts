import type { Candidate, Strategy, StrategyRequest } from "../candidate.js";

/** Deployments of one tier of a group too large to be listed for each pick. Eligibility is that of the present request. */
export interface CandidateSource {
  readonly size: number;
  /** @param position - 0 to `size` - 1. */
  at(position: number): Candidate;
  isEligible(position: number): boolean;
}

/** What the strategies shipped here offer beyond the public contract. */
export interface BuiltInStrategy extends Strategy {
  readonly isBuiltIn: true;
  /** What it makes of a request's past: work that is saved, a place that stays the same, or nothing. @default "prefix" */
  readonly affinity?: "prefix" | "fingerprint" | "none" | undefined;
  /**
   * The costs that `pick` compares, in the order of the candidates: the lowest wins, and of equal ones chance. Changes
   * nothing that a pick goes by.
   * @returns `undefined` where chance alone decides about this request.
   */
  costs?(candidates: readonly Candidate[], request: StrategyRequest): number[] | undefined;
  /**
   * For strategies that may not look at a random few only: picks among all.
   * @returns `undefined` when nothing is eligible.
   */
  pickAmong?(source: CandidateSource, request: StrategyRequest): Candidate | undefined;
}
