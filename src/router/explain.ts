import type { FeatureName } from "../protocol/features.js";
import { featureNames } from "../protocol/features.js";
import { matchOf } from "../routing/affinity/group-affinity.js";
import type { LoadReading } from "../routing/candidate.js";
import type { ChoiceRequest, PooledCandidate } from "../routing/candidates.js";
import type { Exclusion } from "../routing/eligibility.js";
import { admitWithoutReserving } from "./admit.js";
import type { Call } from "./call.js";
import { choiceOf } from "./choose.js";
import { RequestState } from "./request.js";
import type { Runtime } from "./runtime.js";

/** A deployment as the choice sees it. */
export interface ExplainedDeployment {
  readonly deployment: string;
  readonly provider: string;
  readonly tier: number;
  /** What the strategy compares: the lowest wins. `undefined` where it is excluded, or the strategy compares none. */
  readonly cost: number | undefined;
  /** Why it is not taken; `undefined`: eligible. */
  readonly exclusion: Exclusion | undefined;
  readonly streams: number;
  /** Share of attempts that succeed lately, 0–1. */
  readonly successRate: number;
  /** Prompt tokens that it probably has in its cache. */
  readonly matchedTokens: number;
  /** What its engine says about itself, where it is asked. */
  readonly load: LoadReading | undefined;
  /** `undefined` before any sample. */
  readonly predictedTtftMs: number | undefined;
}

/** How a request would be routed now. */
export interface Explanation {
  readonly group: string;
  readonly strategy: string;
  /** Estimated. */
  readonly promptTokens: number;
  /** What the request asks for beyond plain text. */
  readonly features: readonly FeatureName[];
  /** The eligible deployment with the lowest cost; `undefined` when none is eligible or the strategy compares no costs. */
  readonly best: string | undefined;
  readonly deployments: readonly ExplainedDeployment[];
  /** Groups that follow when this one cannot serve. */
  readonly fallbacks: readonly string[];
}

/** Decides without sending, reserving or counting anything. @throws {RouterError} the request would be refused. */
export async function explain(runtime: Runtime, call: Call): Promise<Explanation> {
  const request = new RequestState(runtime, call);
  try {
    await admitWithoutReserving(runtime, request);
    const { group } = request;
    const choice = choiceOf(runtime, request, { group, captured: request.captured }, true);
    const deployments = group.pool.explain(choice).map(({ candidate, cost, exclusion }) => ({
      deployment: candidate.id,
      provider: candidate.provider,
      tier: candidate.tier,
      cost,
      exclusion,
      streams: candidate.streams,
      successRate: candidate.successRate(choice.now),
      load: candidate.load,
      ...ofPrompt(candidate, choice),
    }));
    const compared = deployments.filter(({ cost }) => cost !== undefined);
    const best = compared.reduce<ExplainedDeployment | undefined>(
      (lowest, each) => (lowest?.cost === undefined || (each.cost ?? 0) < lowest.cost ? each : lowest),
      undefined,
    );
    return {
      group: group.name,
      strategy: group.settings.strategy.name,
      promptTokens: request.promptTokens,
      features: featureNames(request.checked.features),
      best: best?.deployment,
      deployments,
      fallbacks: request.fallbacks ?? group.settings.fallbacks.onError,
    };
  } finally {
    // Stops following the caller's signal; the request was never counted.
    request.end("cancelled");
  }
}

function ofPrompt(candidate: PooledCandidate, choice: ChoiceRequest) {
  const { tokens } = matchOf(candidate, choice);
  const predictedTtftMs = candidate.health.predictedTtftMs(choice.promptTokens - tokens);
  return { matchedTokens: tokens, predictedTtftMs };
}
