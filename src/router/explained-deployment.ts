import type { ProviderLimit } from "../limits/provider-limits.js";
import { matchOf } from "../routing/affinity/group-affinity.js";
import type { LoadReading } from "../routing/candidate.js";
import type { ChoiceRequest, Explanation } from "../routing/candidates.js";
import type { Exclusion } from "../routing/eligibility.js";
import { failureFactor, ownWork, tightnessFactor, workAhead } from "../routing/strategies/factors.js";

/** What makes a deployment dear for a request: the numbers of routing that strategies compare it by. */
export interface CostFactors {
  /** Work ahead of the request there, its own included, in prompt tokens. */
  readonly workTokens: number;
  /** How many times dearer its failures make it, 1–400. */
  readonly failure: number;
  /** How many times dearer its limits make it, 1–20: they have little room left. */
  readonly tightness: number;
  /** The smallest unused share of its known limits, 0–1; 1 where none is known. */
  readonly headroom: number;
  readonly weight: number;
  /** Milliseconds of TTFT per token of work, as learned; `undefined` before any sample. */
  readonly slownessMs: number | undefined;
  /** Milliseconds per output token, as learned; `undefined` before any stream has ended. */
  readonly msPerOutputToken: number | undefined;
  /** What prompt and probable answer cost there; `undefined`: no price is known, which is not free. */
  readonly costUsd: number | undefined;
}

/** A deployment as the choice sees it. */
export interface ExplainedDeployment {
  readonly deployment: string;
  readonly provider: string;
  readonly tier: number;
  /**
   * What the strategy compares: the lowest wins, and of equal ones chance. `undefined` where it is excluded, or the strategy
   * compares none. Of groups larger than 256 only some are compared.
   */
  readonly cost: number | undefined;
  /** Why it is not taken; `undefined`: eligible. */
  readonly exclusion: Exclusion | undefined;
  /** It comes before all others, whatever it costs: nobody has tried for 30 s whether it works again. */
  readonly isProbeDue: boolean;
  readonly streams: number;
  /** Prompt tokens of the attempts that wait for their first token there. */
  readonly waitingTokens: number;
  /** Most attempts at the same time; `Infinity` without a limit. */
  readonly maxParallel: number;
  /** Share of attempts that succeed lately, 0–1. */
  readonly successRate: number;
  /** Prompt tokens that it probably has in its cache. */
  readonly matchedTokens: number;
  /** What its engine says about itself, where it is asked. */
  readonly load: LoadReading | undefined;
  /**
   * Milliseconds until the first token; `undefined` before any sample. In a group with `spillMs` the number that its tiers
   * are compared by, for which idle time forgives and an overdue answer counts.
   */
  readonly predictedTtftMs: number | undefined;
  /** What its upstream told of its limits, and what is left of them; empty where it told nothing. */
  readonly providerLimits: readonly ProviderLimit[];
  readonly factors: CostFactors;
}

/** The lines of a pool's explanation as numbers for people, in the same order. */
export function explainedDeployments(
  explanations: readonly Explanation[],
  choice: ChoiceRequest,
): readonly ExplainedDeployment[] {
  return explanations.map(({ candidate, cost, exclusion, predictedTtftMs }): ExplainedDeployment => {
    const { now, promptTokens } = choice;
    const matchedTokens = matchOf(candidate, choice).tokens;
    const { price, samples, msPerOutputToken } = candidate;
    // Of the candidate itself it may be another request's.
    const { streams, waitingTokens } = candidate;
    return {
      deployment: candidate.id,
      provider: candidate.provider,
      tier: candidate.tier,
      cost,
      exclusion,
      isProbeDue: exclusion === undefined && choice.isReplayable && candidate.health.wantsProbe(now),
      streams,
      waitingTokens,
      maxParallel: candidate.maxParallel,
      successRate: candidate.successRate(now),
      matchedTokens,
      load: candidate.load,
      predictedTtftMs: predictedTtftMs ?? candidate.health.predictedTtftMs(promptTokens - matchedTokens),
      providerLimits: candidate.limits?.providerLimits?.(now) ?? [],
      factors: {
        workTokens: workAhead({ streams, waitingTokens, matchedTokens }, ownWork(choice)),
        failure: failureFactor(candidate, now),
        tightness: tightnessFactor(candidate, now),
        headroom: candidate.headroom(now),
        weight: candidate.weight,
        slownessMs: samples === 0 ? undefined : candidate.slownessMs,
        msPerOutputToken: samples === 0 || msPerOutputToken === 0 ? undefined : msPerOutputToken,
        costUsd: price && (promptTokens * price.input + choice.outputTokens * price.output) / 1_000_000,
      },
    };
  });
}

/** Where the request goes by these numbers; `undefined`: nowhere, or the strategy has its own reasons. */
export function bestOf(deployments: readonly ExplainedDeployment[]): string | undefined {
  const due = deployments.find(({ isProbeDue }) => isProbeDue);
  if (due) return due.deployment;
  const eligible = deployments.filter(({ exclusion }) => exclusion === undefined);
  if (eligible.length === 1) return eligible[0]?.deployment;
  let best: ExplainedDeployment | undefined;
  for (const each of eligible) {
    if (each.cost !== undefined && (best?.cost === undefined || each.cost < best.cost)) best = each;
  }
  return best?.deployment;
}
