import type { FeatureSet } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import type { RequestAffinity } from "./affinity/group-affinity.js";
import type { StrategyRequest } from "./candidate.js";
import type { PooledCandidate } from "./pooled-candidate.js";

/** What decides who may serve a request, and who does. The strategy sees the part that is in {@link StrategyRequest}. */
export interface ChoiceRequest extends StrategyRequest {
  readonly operation: Operation;
  /** What the body asks for beyond plain text. */
  readonly features: FeatureSet;
  /** What the request limits its answer to, in tokens; 0 where it does not. */
  readonly maxOutputTokens: number;
  /** Prompt and probable answer, in tokens: what it takes of a deployment's limits. */
  readonly reservedTokens: number;
  /** A hard budget applies: only deployments whose price is known (R16), as this tells. */
  readonly isPriced: ((candidate: PooledCandidate) => boolean) | undefined;
  /** Which deployments have no room in a budget of their own for it; `undefined`: none is known to. */
  readonly isOverBudget?: ((candidate: PooledCandidate) => boolean) | undefined;
  /** What the `*` of a wildcard group stands for. */
  readonly captured: string | undefined;
  /** Some deployment of the group is known to have that model. */
  readonly isModelListed: boolean;
  /** Tags that a deployment must have, all of them. */
  readonly requiredTags: readonly string[];
  /** The region that a deployment must be in. */
  readonly requiredRegion: string | undefined;
  /** The one deployment that may serve. @default any */
  readonly requiredDeployment?: string | undefined;
  /** The account that a deployment must be of: what the request refers to exists nowhere else. @default any */
  readonly requiredAccount?: string | undefined;
  /** Only deployments whose context window is known to be larger, after one of this size was too small. */
  readonly largerWindowThan: number | undefined;
  /** Ids of the deployments that this request has tried. */
  readonly tried: readonly string[];
  /** Where no deployment of any tier is untried, take a tried one again. */
  readonly allowTried: boolean;
  /** Ids of tried deployments that must not be tried again. */
  readonly ruledOut: readonly string[];
  /** The request may be sent again: it can serve as the probe of a deployment that nobody else probes. */
  readonly isReplayable: boolean;
  /** What deployments may have read of it before; `undefined`: nobody asks. */
  readonly affinity?: RequestAffinity | undefined;
}
