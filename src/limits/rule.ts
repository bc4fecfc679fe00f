import { type BudgetPeriod, periodAt } from "../stores/budget-period.js";
import type { StoreLimit } from "../stores/store.js";
import type { Claim, StoreFailurePolicy } from "./claim.js";

const MINUTE_MS = 60_000;
/** A period's account outlives it by this much: late settlements and reports still find it. */
const KEEP_AFTER_PERIOD_MS = 40 * 24 * 60 * 60 * 1_000;
const NANO_USD_PER_USD = 1_000_000_000;

interface RuleBase {
  /** The account in the store. */
  readonly key: string;
  /** Whose limit it is, in the words of an error: `team acme`. */
  readonly scope: string;
  readonly onStoreFailure: StoreFailurePolicy;
  /** Its account is not a tenant's: a sharded store keeps it elsewhere. */
  readonly isShared: boolean;
}

/** A limit that applies to a request, whoever stated it: a level of the principal, a deployment, a plugin. */
export type Rule =
  | (RuleBase & { readonly kind: "parallel"; readonly limit: number })
  | (RuleBase & {
      readonly kind: "requests" | "tokens";
      readonly limit: number;
      readonly windowMs: number;
      readonly isStrict: boolean;
    })
  | (RuleBase & {
      readonly kind: "budget";
      readonly limitNanoUsd: number;
      readonly period: BudgetPeriod;
      readonly startsAt: number;
      readonly isHard: boolean;
      readonly reserves: "upper-bound" | "expected";
      readonly cutsStreams: boolean;
    });
export type BudgetRule = Extract<Rule, { kind: "budget" }>;
export type RateRule = Extract<Rule, { kind: "requests" | "tokens" }>;

/**
 * @param scope - Whose limit it is, in the words of an error.
 * @param isShared - See {@link RuleBase.isShared}.
 */
export function ruleOf(claim: Claim, scope: string, isShared: boolean): Rule {
  switch (claim.kind) {
    case "parallel":
      return {
        kind: "parallel",
        key: `parallel:${claim.key}`,
        scope,
        isShared,
        limit: claim.limit,
        onStoreFailure: claim.onStoreFailure ?? "local-share",
      };
    case "requests":
    case "tokens":
      return {
        kind: claim.kind,
        key: `${claim.kind}:${claim.key}`,
        scope,
        isShared,
        limit: claim.limit,
        windowMs: claim.windowMs ?? MINUTE_MS,
        isStrict: claim.isStrict ?? false,
        onStoreFailure: claim.onStoreFailure ?? "local-share",
      };
    case "budget": {
      const isHard = claim.isHard ?? true;
      return {
        kind: "budget",
        key: `budget:${claim.key}`,
        scope,
        isShared,
        limitNanoUsd: Math.round(claim.limitUsd * NANO_USD_PER_USD),
        period: claim.period ?? "total",
        startsAt: claim.startsAt ?? 0,
        isHard,
        reserves: claim.reserve ?? "upper-bound",
        cutsStreams: claim.cutsStreams ?? false,
        onStoreFailure: claim.onStoreFailure ?? (isHard ? "closed" : "open"),
      };
    }
  }
}

/** What a request is expected to use, or may use at most. */
export interface Amounts {
  /** Input and probable output. */
  readonly tokens: number;
  /** The most that it can cost. */
  readonly upperNanoUsd: number;
  /** What it probably costs. */
  readonly expectedNanoUsd: number;
}

/** @param wallNow - Unix milliseconds: which period of a budget it is. */
export function storeLimit(rule: Rule, amounts: Amounts, wallNow: number): StoreLimit {
  switch (rule.kind) {
    case "parallel":
      return { kind: "slots", key: rule.key, limit: rule.limit };
    case "requests":
    case "tokens":
      return {
        kind: "window",
        key: rule.key,
        dimension: rule.kind,
        limit: rule.limit,
        windowMs: rule.windowMs,
        amount: rule.kind === "requests" ? 1 : amounts.tokens,
        isStrict: rule.isStrict,
      };
    case "budget": {
      const { id, endsAt } = periodAt(rule.period, wallNow, rule.startsAt);
      return {
        kind: "budget",
        key: rule.key,
        period: id,
        keepMs: Math.ceil(endsAt - wallNow) + KEEP_AFTER_PERIOD_MS,
        limitNanoUsd: rule.isHard ? rule.limitNanoUsd : Number.POSITIVE_INFINITY,
        amountNanoUsd: reservedCost(rule, amounts),
      };
    }
  }
}

/** What a budget holds for a request: nothing where it only counts. */
export function reservedCost({ isHard, reserves }: BudgetRule, { upperNanoUsd, expectedNanoUsd }: Amounts): number {
  if (!isHard) return 0;
  return reserves === "expected" ? expectedNanoUsd : upperNanoUsd;
}
