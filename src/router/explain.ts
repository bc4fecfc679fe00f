import type { ErrorCode } from "../errors/catalog.js";
import { routerError } from "../errors/router-error.js";
import type { Random } from "../internal/random.js";
import type { FeatureName } from "../protocol/features.js";
import { featureNames } from "../protocol/features.js";
import type { Operation } from "../protocol/operations.js";
import type { ExperimentAssignment } from "../routing/experiment/assignment.js";
import { admitWithoutReserving } from "./admit.js";
import { hasHardBudget } from "./amounts.js";
import type { Call } from "./call.js";
import { choiceOf, type Resort, resortOf } from "./choose.js";
import { bestOf, type ExplainedDeployment, explainedDeployments } from "./explained-deployment.js";
import { failureOf } from "./failure.js";
import { RequestState } from "./request.js";
import { type GroupInTurn, MAX_WAIT_MS, type Runtime } from "./runtime.js";

export type { CostFactors, ExplainedDeployment } from "./explained-deployment.js";

/** What would become of a request now. */
export type ExplainedDecision =
  /** `deployment`: the best one; `undefined` where chance or a strategy of yours decides. */
  | { readonly action: "serve"; readonly deployment: string | undefined }
  /** Nobody in the group can serve it now; another group is asked. */
  | { readonly action: "fall-back"; readonly group: string; readonly code: ErrorCode }
  /** It waits for a slot, behind or before those who wait already. */
  | { readonly action: "queue"; readonly waiting: number }
  /** It waits until a deployment that is left alone is back. */
  | { readonly action: "wait"; readonly waitMs: number }
  /** `cooldown.panic`: it tries one that is left alone. */
  | { readonly action: "probe"; readonly deployment: string }
  | { readonly action: "refuse"; readonly code: ErrorCode };

/** How a request would be routed now. */
export interface Explanation {
  /** The group that serves: the named one, or the variant of its experiment. */
  readonly group: string;
  /** The variant that the request would get; `undefined`: the group has no experiment, or chance would decide. */
  readonly experiment: ExperimentAssignment | undefined;
  readonly strategy: string;
  /** Estimated. */
  readonly promptTokens: number;
  /** What the request asks for beyond plain text. */
  readonly features: readonly FeatureName[];
  readonly decision: ExplainedDecision;
  /** The eligible deployment with the lowest cost; `undefined` when none is eligible or the strategy compares no costs. */
  readonly best: string | undefined;
  readonly deployments: readonly ExplainedDeployment[];
  /** Groups that follow when this one cannot serve. */
  readonly fallbacks: readonly string[];
}

const OPERATIONS = ["chat.completions", "completions", "embeddings"] as const satisfies readonly Operation[];

/** @throws {RouterError} `invalid_request`: there is no such operation. */
export function expectOperation(operation: unknown): asserts operation is Operation {
  if ((OPERATIONS as readonly unknown[]).includes(operation)) return;
  const received =
    typeof operation === "string" && operation.length <= 64 ? JSON.stringify(operation) : typeof operation;
  throw routerError("invalid_request", {
    param: "options.operation",
    message: `Expected \`options.operation\` to be one of ${OPERATIONS.map((name) => JSON.stringify(name)).join(", ")}; received ${received}.`,
  });
}

/** In the place of the router's chance, of which an explanation takes nothing. */
const NO_CHANCE: Random = { next: () => 0 };

/**
 * Decides without sending, reserving, counting or drawing anything. Limits and budgets of the principal are not asked, and
 * neither is a shared store.
 *
 * @throws {RouterError} the request would be refused before any deployment is looked for.
 */
export async function explain(router: Runtime, call: Call): Promise<Explanation> {
  const runtime: Runtime = { ...router, random: NO_CHANCE };
  const request = new RequestState(runtime, call, "req_explained");
  try {
    await admitWithoutReserving(runtime, request);
    const { group, captured, access } = request;
    // A hard budget rules out what has no price.
    request.isBudgeted =
      access !== undefined && hasHardBudget(request.snapshot.settings.principalRules.rulesFor(access, request.model));
    const turn: GroupInTurn = { group, captured };
    const choice = choiceOf(runtime, request, turn, true);
    const explanations = group.pool.explain(choice);
    const deployments = explainedDeployments(explanations, choice);
    const best = bestOf(deployments);
    request.visited.push(group.name);
    const decision: ExplainedDecision = deployments.some(({ exclusion }) => exclusion === undefined)
      ? { action: "serve", deployment: best }
      : inWords(request, turn, resortOf(request, turn, choice, explanations, choice.now + MAX_WAIT_MS));
    return {
      group: group.name,
      experiment: request.experiment,
      strategy: group.settings.strategy.name,
      promptTokens: request.promptTokens,
      features: featureNames(request.checked.features),
      decision,
      best,
      deployments,
      fallbacks: request.fallbacks ?? group.settings.fallbacks.onError,
    };
  } finally {
    // Stops following the caller's signal; the request was never counted.
    request.end("cancelled");
  }
}

function inWords(request: RequestState, { group }: GroupInTurn, resort: Resort): ExplainedDecision {
  switch (resort.action) {
    case "fall-back":
      return {
        action: "fall-back",
        group: resort.to.group.name,
        code: failureOf(request, resort.refusal.refusal).code,
      };
    case "queue":
      return { action: "queue", waiting: group.queue?.length ?? 0 };
    case "wait":
      return resort;
    case "probe":
      return { action: "probe", deployment: resort.candidate.id };
    case "refuse":
      return { action: "refuse", code: failureOf(request, resort.refusal.refusal).code };
  }
}
