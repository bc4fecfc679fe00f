import { type BudgetPeriod, isBudgetPeriod } from "../stores/budget-period.js";
import { WINDOW_PARTS } from "../stores/store.js";

/**
 * What happens to a control while its store cannot be asked: requests are refused (`closed`); each process goes by
 * its share of the limit (`local-share`); a budget allows 0.5 % of itself per process (`grace`); nothing is refused (`open`).
 */
export type StoreFailurePolicy = "closed" | "local-share" | "grace" | "open";

interface ClaimBase {
  /** Requests with the same key share the account: `user:42`, 1–480 printable characters. */
  readonly key: string;
  /** Whose limit it is, in the words of an error: `user "42"`, 1–640 characters. @default the key */
  readonly scope?: string | undefined;
}

/** At most `limit` requests at the same time. */
export interface ParallelClaim extends ClaimBase {
  readonly kind: "parallel";
  /** An integer, 1–1000000000000. */
  readonly limit: number;
  /** @default "local-share" */
  readonly onStoreFailure?: "closed" | "local-share" | "open" | undefined;
}

/** At most `limit` requests or tokens (input and output) in any window. */
export interface RateClaim extends ClaimBase {
  readonly kind: "requests" | "tokens";
  /** An integer, 1–1000000000000. */
  readonly limit: number;
  /** A multiple of 12 milliseconds, 1200–86400000. @default 60000 */
  readonly windowMs?: number | undefined;
  /** No window at all exceeds the limit; otherwise none of 11/12 of it does. @default false */
  readonly isStrict?: boolean | undefined;
  /** @default "local-share" */
  readonly onStoreFailure?: "closed" | "local-share" | "open" | undefined;
}

/** Money per period. */
export interface BudgetClaim extends ClaimBase {
  readonly kind: "budget";
  /** USD, 0–9000000. */
  readonly limitUsd: number;
  /** @default "total" */
  readonly period?: BudgetPeriod | undefined;
  /** Where rolling periods begin, in Unix milliseconds. @default 0 */
  readonly startsAt?: number | undefined;
  /** `true`: never exceeded. `false`: only warns, at 80 % and at 100 %. @default true */
  readonly isHard?: boolean | undefined;
  /** What a hard one reserves: the most that the request can cost, or what it probably will. @default "upper-bound" */
  readonly reserve?: "upper-bound" | "expected" | undefined;
  /**
   * With `reserve: "expected"`: a stream that outgrows what the budget has room for ends with an error, rather than
   * exceed the budget. @default false
   */
  readonly cutsStreams?: boolean | undefined;
  /** @default "closed" for hard budgets, "open" for soft ones */
  readonly onStoreFailure?: "closed" | "grace" | "open" | undefined;
}

/**
 * A share of a limit that a request asks for, as data. The claims of all plugins and of the principal's levels are
 * reserved in one step, all or none, before the first attempt, and settled or given back exactly once.
 */
export type Claim = ParallelClaim | RateClaim | BudgetClaim;

/** The longest key, in UTF-16 units: stores take 512, and the kind of the claim stands before it (S27). */
export const MAX_CLAIM_KEY_LENGTH = 480;
/** Control characters, and halves of surrogate pairs, which no database could tell apart. */
const UNPRINTABLE = /[\u0000-\u001f\u007f\p{Cs}]/u;
/** The longest scope: a key in quotes, with what it is a key of. */
const MAX_SCOPE_LENGTH = 640;
export const MAX_LIMIT = 1_000_000_000_000;
export const MAX_BUDGET_USD = 9_000_000;

/**
 * What is wrong with something that should be a claim.
 *
 * @returns the field at fault and what is expected of it, without the value; `undefined` for a good claim.
 */
export function claimProblem(claim: unknown): string | undefined {
  if (typeof claim !== "object" || claim === null || Array.isArray(claim)) return "a claim must be an object";
  const fields = claim as Readonly<Record<string, unknown>>; // an object; its fields are checked here
  const { kind, key, scope } = fields;
  if (kind !== "parallel" && kind !== "requests" && kind !== "tokens" && kind !== "budget") {
    return '`kind` must be "parallel", "requests", "tokens" or "budget"';
  }
  if (typeof key !== "string" || key.length === 0 || key.length > MAX_CLAIM_KEY_LENGTH) {
    return `\`key\` must be a string of 1 to ${MAX_CLAIM_KEY_LENGTH} characters`;
  }
  if (UNPRINTABLE.test(key)) return "`key` must have printable characters only";
  if (scope !== undefined && !(typeof scope === "string" && scope.length > 0 && scope.length <= MAX_SCOPE_LENGTH)) {
    return `\`scope\` must be a string of 1 to ${MAX_SCOPE_LENGTH} characters`;
  }
  const policies = kind === "budget" ? ["closed", "grace", "open"] : ["closed", "local-share", "open"];
  if (fields.onStoreFailure !== undefined && !policies.includes(fields.onStoreFailure as string)) {
    return `\`onStoreFailure\` must be one of ${policies.join(", ")}`;
  }
  return kind === "budget" ? budgetProblem(fields) : limitProblem(kind, fields);
}

function limitProblem(kind: string, { limit, windowMs, isStrict }: Readonly<Record<string, unknown>>) {
  if (!isInteger(limit, 1, MAX_LIMIT)) return `\`limit\` must be an integer of 1 to ${MAX_LIMIT}`;
  if (kind === "parallel") return undefined;
  if (windowMs !== undefined && (!isInteger(windowMs, 1_200, 86_400_000) || windowMs % WINDOW_PARTS !== 0)) {
    return `\`windowMs\` must be a multiple of ${WINDOW_PARTS}, from 1200 to 86400000`;
  }
  return isFlag(isStrict) ? undefined : "`isStrict` must be a boolean";
}

function budgetProblem(fields: Readonly<Record<string, unknown>>) {
  const { limitUsd, period, startsAt, isHard, reserve, cutsStreams } = fields;
  if (typeof limitUsd !== "number" || !(limitUsd >= 0 && limitUsd <= MAX_BUDGET_USD)) {
    return `\`limitUsd\` must be a number of 0 to ${MAX_BUDGET_USD}`;
  }
  if (period !== undefined && !isBudgetPeriod(period)) {
    return '`period` must be "day", "week", "month", "total", or hours or days such as "24h"';
  }
  if (startsAt !== undefined && !isInteger(startsAt, 0, 8_640_000_000_000_000)) {
    return "`startsAt` must be a time in Unix milliseconds";
  }
  if (reserve !== undefined && reserve !== "upper-bound" && reserve !== "expected") {
    return '`reserve` must be "upper-bound" or "expected"';
  }
  if (!isFlag(cutsStreams)) return "`cutsStreams` must be a boolean";
  if (cutsStreams === true && (reserve !== "expected" || isHard === false)) {
    return '`cutsStreams` is for hard budgets with `reserve: "expected"`';
  }
  return isFlag(isHard) ? undefined : "`isHard` must be a boolean";
}

const isInteger = (value: unknown, least: number, most: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most; // an integer: so a number
const isFlag = (value: unknown) => value === undefined || typeof value === "boolean";
