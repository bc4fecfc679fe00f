import type { ResolvedLevel, ResolvedPrincipal } from "../access/directory.js";
import type { Allowance, Level } from "../access/entries.js";
import type { Claim } from "../limits/claim.js";
import { type BudgetRule, type Rule, ruleOf } from "../limits/rule.js";

/** What becomes of limits and budgets of the directory while their store cannot be asked (R14). */
export interface DirectoryFailurePolicies {
  readonly limits: "closed" | "local-share" | "open";
  readonly budgets: "closed" | "grace" | "open";
}

/** An entry of the directory, as far as its accounts go by it. */
export interface AccountHolder {
  readonly level: Level;
  readonly id: string;
  readonly createdAt: number;
}

/** Models that are remembered for one principal: callers choose the names that they ask for. */
const MAX_MODELS = 128;

/** The rules that the levels of principals state, made once for each principal and model. */
export class PrincipalRules {
  readonly #policies: DirectoryFailurePolicies;
  readonly #known = new WeakMap<ResolvedPrincipal, Map<string, readonly Rule[]>>();

  constructor(policies: DirectoryFailurePolicies) {
    this.#policies = policies;
  }

  /** @param model - The name that the caller asked for. */
  rulesFor(access: ResolvedPrincipal, model: string): readonly Rule[] {
    let byModel = this.#known.get(access);
    if (!byModel) this.#known.set(access, (byModel = new Map()));
    let rules = byModel.get(model);
    if (rules) return rules;
    rules = access.levels.flatMap((level) => this.#rulesOfLevel(level, model));
    if (byModel.size >= MAX_MODELS) byModel.clear();
    byModel.set(model, rules);
    return rules;
  }

  /** @param models - The pattern of `modelLimits` that the allowance is for; `undefined`: of all models. */
  budgetRules(holder: AccountHolder, allowance: Allowance, models: string | undefined): readonly BudgetRule[] {
    return this.#rulesOf(holder, allowance, models).filter((rule) => rule.kind === "budget");
  }

  #rulesOfLevel(level: ResolvedLevel, model: string): Rule[] {
    return [
      ...this.#rulesOf(level, level.allowance, undefined),
      ...level.limitsFor(model).flatMap(({ pattern, allowance }) => this.#rulesOf(level, allowance, pattern)),
    ];
  }

  #rulesOf({ level, id, createdAt }: AccountHolder, allowance: Allowance, models: string | undefined): Rule[] {
    const ofAll = models === undefined;
    const key = ofAll ? `${level}:${id}` : `${level}:${id}/${models}`;
    const scope = `${level} ${JSON.stringify(id)}${ofAll ? "" : ` for the models ${JSON.stringify(models)}`}`;
    const { rpm, tpm, maxParallel, budgetUsd, softBudgetUsd, budgetPeriod: period = "total" } = allowance;
    const { limits, budgets } = this.#policies;
    const claims: Claim[] = [];
    if (maxParallel !== undefined) {
      claims.push({ kind: "parallel", key, limit: maxParallel, onStoreFailure: limits });
    }
    if (rpm !== undefined) claims.push({ kind: "requests", key, limit: rpm, onStoreFailure: limits });
    if (tpm !== undefined) claims.push({ kind: "tokens", key, limit: tpm, onStoreFailure: limits });
    if (budgetUsd !== undefined) {
      claims.push({
        kind: "budget",
        key,
        limitUsd: budgetUsd,
        period,
        startsAt: createdAt,
        onStoreFailure: budgets,
      });
    }
    if (softBudgetUsd !== undefined) {
      // An account of its own: it would otherwise be settled by two rules.
      const soft = { key: `${key}#soft`, limitUsd: softBudgetUsd, period, startsAt: createdAt, isHard: false };
      claims.push({ kind: "budget", ...soft });
    }
    // A principal's accounts are its tenant's.
    return claims.map((claim) => ruleOf(claim, scope, false));
  }
}
