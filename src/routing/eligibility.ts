import type { ChoiceRequest } from "./choice-request.js";
import type { PooledCandidate } from "./pooled-candidate.js";

/** Why a deployment cannot be picked now. */
export type Exclusion =
  | "operation-unsupported"
  | "feature-unsupported"
  | "context-window-too-small"
  | "model-not-listed"
  | "models-unknown"
  | "unpriced"
  | "over-budget"
  | "exceeds-rate-limit"
  | "tag-missing"
  | "region-mismatch"
  | "deployment-mismatch"
  | "account-mismatch"
  | "cooling-down"
  | "probing"
  | "rate-limited"
  | "parked"
  | "at-max-parallel"
  | "at-rate-limit"
  | "drops-parameter"
  | "already-tried"
  | "predicted-too-slow"
  | "higher-tier";

/** What the deployment lacks for this request, now and later. */
export function capabilityExclusion(candidate: PooledCandidate, request: ChoiceRequest): Exclusion | undefined {
  const impossibleFeatures = candidate.impossibleFeatures(request.operation);
  if (impossibleFeatures < 0) return "operation-unsupported";
  if ((impossibleFeatures & request.features) !== 0) return "feature-unsupported";
  if (request.promptTokens + request.maxOutputTokens > candidate.contextWindow) return "context-window-too-small";
  if (request.largerWindowThan !== undefined) {
    const window = candidate.deployment.contextWindow;
    if (window === undefined || window <= request.largerWindowThan) return "context-window-too-small";
  }
  if (candidate.models !== undefined && request.captured !== undefined) {
    const isListed = candidate.models.has(request.captured);
    if (isListed === false) return "model-not-listed";
    // Of a deployment that has never said what it has, anything may be asked; but rather one that has the model.
    if (isListed === undefined && request.isModelListed) return "models-unknown";
  }
  if (request.isPriced !== undefined && !request.isPriced(candidate)) return "unpriced";
  if (request.isOverBudget?.(candidate)) return "over-budget";
  if (candidate.limits?.isTooLarge(request.reservedTokens)) return "exceeds-rate-limit";
  // By index: an iterator per candidate would be the choice's only allocation.
  for (let position = 0; position < request.requiredTags.length; position++) {
    if (!candidate.tags.has(request.requiredTags[position]!)) return "tag-missing";
  }
  if (request.requiredRegion !== undefined && candidate.region !== request.requiredRegion) return "region-mismatch";
  if (request.requiredDeployment !== undefined && candidate.id !== request.requiredDeployment) {
    return "deployment-mismatch";
  }
  if (request.requiredAccount !== undefined && candidate.deployment.account !== request.requiredAccount) {
    return "account-mismatch";
  }
  return undefined;
}

/** What keeps the deployment from serving at this moment. */
export function momentaryExclusion(candidate: PooledCandidate, request: ChoiceRequest): Exclusion | undefined {
  const availability = candidate.health.availability(request.now);
  if (availability !== "available") return availability;
  if (candidate.health.isFull) return "at-max-parallel";
  return hasRoom(candidate, request) ? undefined : "at-rate-limit";
}

/** The deployment's own limits, where it has some, have room for the request. */
export function hasRoom({ limits }: PooledCandidate, { reservedTokens, promptTokens, now }: ChoiceRequest): boolean {
  return limits === undefined || limits.hasRoom(reservedTokens, now, Math.min(promptTokens, reservedTokens));
}

/** May the deployment serve at this moment? `momentaryExclusion` without the reason, and without {@link hasRoom}. */
export function isUsable(candidate: PooledCandidate, now: number): boolean {
  // Most of those that are not say so where the numbers are, without a look into the account.
  if (now < candidate.blockedUntil) return false;
  const { health } = candidate;
  return health.isFree || (health.availability(now) === "available" && !health.isFull);
}
