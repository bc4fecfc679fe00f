import type { Candidate, StrategyRequest } from "../candidate.js";

/** The part of {@link workAhead} that is the same for all candidates: taken out of the loops, which it would slow down. */
export function ownWork(request: StrategyRequest): number {
  return Math.max(1, request.promptTokens) + 100;
}

/**
 * Work ahead of a request on a deployment, its own included, in prompt tokens: W of routing §3. What its prefix cache holds
 * of the prompt is no work.
 */
export function workAhead(
  candidate: Pick<Candidate, "waitingTokens" | "streams" | "matchedTokens">,
  own: number,
): number {
  const matched = candidate.matchedTokens;
  const uncached = matched === undefined || matched === 0 ? own : Math.max(101, own - matched);
  return candidate.waitingTokens + 100 * candidate.streams + uncached;
}

/** Makes deployments that fail or run out of their limits dearer: `fail * tight` of routing §3, at least 1. */
export function penalty(candidate: Candidate, now: number): number {
  const success = Math.max(0.05, candidate.successRate(now));
  return 1 / (success * success * Math.max(0.05, candidate.headroom(now)));
}

/** The two parts of {@link penalty}, for people: of each, how many times dearer it makes the candidate. */
export function failureFactor(candidate: Candidate, now: number): number {
  return 1 / Math.max(0.05, candidate.successRate(now)) ** 2;
}
export function tightnessFactor(candidate: Candidate, now: number): number {
  return 1 / Math.max(0.05, candidate.headroom(now));
}
