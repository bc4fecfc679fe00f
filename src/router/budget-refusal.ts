import type { AccountRefusal } from "../limits/asked-limits.js";
import type { Amounts } from "../limits/rule.js";
import type { RequestState } from "./request.js";

export interface RefusedBudget {
  /** The budget and whose it is, in words. */
  readonly what: string;
  readonly refusal: AccountRefusal;
  /** What the request asked for. */
  readonly amounts: Amounts | undefined;
}

/**
 * What a caller reads where a budget has no room: what the request would hold, what is left, and what to do. How much of the
 * rest is spent and how much only held, the store does not say; both together it does.
 */
export function budgetRefusalMessage(request: RequestState, { what, refusal, amounts }: RefusedBudget): string {
  const { rule, cause, states } = refusal;
  if (rule.kind !== "budget") return `The ${what} has no room for what this request can cost.`;
  const needed = rule.reserves === "expected" ? amounts?.expectedNanoUsd : amounts?.upperNanoUsd;
  const needs = needed ? `: ${rule.reserves === "expected" ? "about" : "up to"} ${usd(needed)}` : "";
  const hint = hintOf(request);
  if (cause === "never-fits") return `The request could cost more than the whole ${what}${needs}.${hint}`;
  const known = states.find((each) => each.rule === rule)?.state.remaining;
  if (known === undefined || !Number.isFinite(known)) {
    return `The ${what} has no room for what this request can cost${needs}.${hint}`;
  }
  const left = Math.min(Math.max(0, known), rule.limitNanoUsd);
  const taken = `${usd(rule.limitNanoUsd - left)} are spent, or held by running requests, which give back what they do not use`;
  return `The ${what} has no room for what this request can cost${needs}. ${usd(left)} are left; ${taken}.${hint}`;
}

function hintOf({ operation, checked }: RequestState): string {
  if (operation === "embeddings") return "";
  return checked.maxOutputTokens === undefined
    ? " Without `max_tokens`, that is the longest answer that the model may give: a smaller `max_tokens` holds less."
    : " A smaller `max_tokens` holds less.";
}

/** Whole nano-USD: nine digits hold them, without exponent. */
function usd(nanoUsd: number): string {
  return `${(nanoUsd / 1_000_000_000).toFixed(9).replace(/\.?0+$/, "")} USD`;
}
