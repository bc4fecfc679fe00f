import type { BudgetLimit, Denial, LimitState, Store, StoreLimit } from "../stores/store.js";
import type { Amounts, Rule } from "./rule.js";

/** One limit that a request has to pass. */
export interface Asked {
  readonly rule: Rule;
  readonly limit: StoreLimit;
}

/** What is left of the limit that a rule states. */
export interface LimitStateOf {
  readonly rule: Rule;
  readonly state: LimitState;
}

/** Nothing was reserved. */
export interface AccountRefusal {
  readonly isReserved: false;
  readonly rule: Rule;
  readonly cause: "no-room" | "never-fits" | "store-unavailable";
  /** What is left of each limit that was asked, as far as it is known. */
  readonly states: readonly LimitStateOf[];
  /** When everything that refused would have room; `undefined`: time alone does not help. */
  readonly retryAfterMs: number | undefined;
}

/** Slots come free at any moment: when to ask again. */
export const SLOT_RETRY_MS = 1_000;
/** When a store that is away may be back. */
const STORE_RETRY_MS = 1_000;

export const NO_AMOUNTS: Amounts = { tokens: 0, upperNanoUsd: 0, expectedNanoUsd: 0 };

/** Accounts of a tenant's own partition; where nothing is sharded, all of them are in one. */
export const isOwnIn =
  (store: Store) =>
  ({ rule }: Asked): boolean =>
    !store.isSharded || !rule.isShared;

/** Only hard budgets reserve any. */
export const holdsMoney = ({ limit }: Asked): boolean => limit.kind === "budget" && limit.amountNanoUsd > 0;

/** Counts only, and warns. */
export const isSoftBudget = ({ rule }: Asked): boolean => rule.kind === "budget" && !rule.isHard;

/** Limits whose policy lets requests through without their store let them grow, too; hard budgets never do. */
export function growsWithoutStore({ rule }: Asked): boolean {
  if (rule.kind === "budget" && rule.isHard) return false;
  return rule.onStoreFailure === "open" || rule.onStoreFailure === "local-share";
}

/** Budgets that name the same account charge it once, as in a store: the largest amount, within the smallest limit. */
export function byAccount(asked: readonly Asked[]): readonly Asked[] {
  if (asked.length < 2) return asked;
  const merged = new Map<string, Asked>();
  for (const each of asked) {
    const limit = each.limit as BudgetLimit; // called for budgets
    const name = `${limit.key}\n${limit.period}`;
    const known = merged.get(name);
    const other = known?.limit as BudgetLimit | undefined;
    const rule = known && other && other.limitNanoUsd <= limit.limitNanoUsd ? known.rule : each.rule;
    merged.set(name, {
      rule,
      limit: {
        ...limit,
        keepMs: Math.max(limit.keepMs, other?.keepMs ?? 0),
        limitNanoUsd: Math.min(limit.limitNanoUsd, other?.limitNanoUsd ?? Number.POSITIVE_INFINITY),
        amountNanoUsd: Math.max(limit.amountNanoUsd, other?.amountNanoUsd ?? 0),
      },
    });
  }
  return [...merged.values()];
}

/** This process's part of a limit. */
export function shareOf(limit: StoreLimit, processes: number): StoreLimit {
  if (limit.kind === "budget") return limit;
  return { ...limit, limit: Math.max(1, Math.floor(limit.limit / processes)) };
}

/** The states of the limits, in their order, as far as the store told them. */
export function statesOf(asked: readonly Asked[], states: readonly LimitState[]): LimitStateOf[] {
  return asked.flatMap(({ rule }, index) => {
    const state = states[index];
    return state ? [{ rule, state }] : [];
  });
}

/** The limit that keeps the request out the longest; what never fits, before all others. */
export function refusalOf(
  asked: readonly Asked[],
  denials: readonly Denial[],
  states: readonly LimitState[],
): AccountRefusal {
  const refused = { isReserved: false, states: statesOf(asked, states) } as const;
  const ruleOf = ({ index }: Denial) => (asked[index] as Asked).rule; // one of those that were asked for
  const tooLarge = denials.find(({ isTooLarge }) => isTooLarge);
  if (tooLarge) return { ...refused, rule: ruleOf(tooLarge), cause: "never-fits", retryAfterMs: undefined };
  const budget = denials.find((denial) => ruleOf(denial).kind === "budget");
  if (budget) return { ...refused, rule: ruleOf(budget), cause: "no-room", retryAfterMs: undefined };
  const waitOf = (denial: Denial) => denial.retryAfterMs ?? SLOT_RETRY_MS;
  const [first, ...others] = denials as [Denial, ...Denial[]]; // at least one
  const longest = others.reduce((most, denial) => (waitOf(denial) > waitOf(most) ? denial : most), first);
  return { ...refused, rule: ruleOf(longest), cause: "no-room", retryAfterMs: waitOf(longest) };
}

/** The store cannot be asked, and the rule's policy is to refuse then. */
export function unavailable(rule: Rule): AccountRefusal {
  return { isReserved: false, rule, cause: "store-unavailable", retryAfterMs: STORE_RETRY_MS, states: [] };
}
