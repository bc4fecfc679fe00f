import type { ChoiceRequest } from "./choice-request.js";
import type { PooledCandidate } from "./pooled-candidate.js";

/** Why a deployment cannot be picked now. */
export type Exclusion =
  | "operation-unsupported"
  | "feature-unsupported"
  | "context-window-too-small"
  | "tag-missing"
  | "region-mismatch"
  | "cooling-down"
  | "probing"
  | "rate-limited"
  | "parked"
  | "at-max-parallel"
  | "already-tried"
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
  // By index: an iterator per candidate would be the choice's only allocation.
  for (let position = 0; position < request.requiredTags.length; position++) {
    if (!candidate.tags.has(request.requiredTags[position]!)) return "tag-missing";
  }
  if (request.requiredRegion !== undefined && candidate.region !== request.requiredRegion) return "region-mismatch";
  return undefined;
}

/** What keeps the deployment from serving at this moment. */
export function momentaryExclusion(candidate: PooledCandidate, request: ChoiceRequest): Exclusion | undefined {
  const availability = candidate.health.availability(request.now);
  if (availability !== "available") return availability;
  return candidate.health.isFull ? "at-max-parallel" : undefined;
}

/** May the deployment serve at this moment? `momentaryExclusion` without the reason. */
export function isUsable({ health }: PooledCandidate, now: number): boolean {
  return health.isFree || (!health.isFull && health.availability(now) === "available");
}
