import type { ResolvedPrincipal } from "../access/directory.js";
import type { Allowance, BudgetPeriod, Level } from "../access/entries.js";
import { routerError } from "../errors/router-error.js";
import { StoreUnavailable } from "../limits/store-calls.js";
import type { Principal } from "../plugins/plugin.js";
import { periodAt } from "../stores/budget-period.js";
import type { AccountHolder } from "./principal-rules.js";
import type { Runtime } from "./runtime.js";

/** A budget of one level, as it is now. */
export interface BudgetStatus {
  readonly level: Level;
  readonly id: string;
  /** The pattern of `modelLimits` that states it; `undefined`: of all models. */
  readonly models: string | undefined;
  /** `false`: it only warns. */
  readonly isHard: boolean;
  readonly limitUsd: number;
  /** In this period. */
  readonly spentUsd: number;
  /** Held for requests under way, and drawn by processes from a `budgetStore` of its own. */
  readonly reservedUsd: number;
  readonly period: BudgetPeriod;
  /** Unix milliseconds; `undefined`: never. */
  readonly resetsAt: number | undefined;
}

/** An entry with what it states. */
export interface BudgetHolder extends AccountHolder {
  readonly allowances: readonly { readonly models: string | undefined; readonly allowance: Allowance }[];
}

/** The budgets of some entries. Internal: for the management routes, which also show entries that are blocked. */
export const entryBudgets: unique symbol = Symbol.for("llm-switchyard.entryBudgets");

/** What has them. */
export interface BudgetSource {
  [entryBudgets](holders: readonly BudgetHolder[], tenant: string): Promise<readonly BudgetStatus[]>;
}

/**
 * @param tenant - The outermost level of whoever has them: `organization:acme`.
 * @throws {RouterError} `accounting_unavailable`: the store does not say.
 */
export async function budgetsOf(
  { accounts, clock, snapshot }: Runtime,
  holders: readonly BudgetHolder[],
  tenant: string,
): Promise<readonly BudgetStatus[]> {
  const { principalRules } = snapshot.settings;
  const stated = holders.flatMap((holder) =>
    holder.allowances.flatMap(({ models, allowance }) =>
      principalRules.budgetRules(holder, allowance, models).map((rule) => ({ holder, models, rule })),
    ),
  );
  if (stated.length === 0) return [];
  const now = clock.wallNow();
  const states = await accounts
    .budgets(
      stated.map(({ rule }) => rule),
      tenant,
    )
    .catch((error: unknown) => {
      if (!(error instanceof StoreUnavailable)) throw error;
      const message = "The store of the budgets does not answer.";
      throw routerError("accounting_unavailable", { message, retryAfterMs: 1_000 });
    });
  return stated.map(({ holder, models, rule }, index): BudgetStatus => {
    const state = states[index];
    const { endsAt } = periodAt(rule.period, now, rule.startsAt);
    return {
      level: holder.level,
      id: holder.id,
      models,
      isHard: rule.isHard,
      limitUsd: inUsd(rule.limitNanoUsd),
      spentUsd: inUsd(state?.spentNanoUsd ?? 0),
      reservedUsd: inUsd(state?.reservedNanoUsd ?? 0),
      period: rule.period,
      resetsAt: Number.isFinite(endsAt) ? endsAt : undefined,
    };
  });
}

/** @throws {RouterError} `invalid_api_key`: the directory does not know the principal, or refuses it. */
export async function budgetsOfPrincipal(
  runtime: Runtime,
  principal: Principal,
  model: string | undefined,
): Promise<readonly BudgetStatus[]> {
  const { directory } = runtime.snapshot.settings;
  if (!directory) return [];
  const access: ResolvedPrincipal = await directory.resolve(principal);
  const holders = access.levels.map(({ level, id, createdAt, allowance, limitsFor }): BudgetHolder => {
    const ofModel = model === undefined ? [] : limitsFor(model);
    return {
      level,
      id,
      createdAt,
      allowances: [
        { models: undefined, allowance },
        ...ofModel.map((limit) => ({ models: limit.pattern, allowance: limit.allowance })),
      ],
    };
  });
  return budgetsOf(runtime, holders, access.tenant);
}

const inUsd = (nanoUsd: number) => nanoUsd / 1_000_000_000;
