import type { RateLimitState, RateLimitStates } from "../errors/router-error.js";
import type { LimitStateOf } from "../limits/asked-limits.js";

/** Of several limits of a kind the one with the smallest share left: what callers are told (product: HTTP). */
export function tightest(states: readonly LimitStateOf[]): RateLimitStates | undefined {
  const requests = tightestOf("requests", states);
  const tokens = tightestOf("tokens", states);
  return requests || tokens ? { requests, tokens } : undefined;
}

function tightestOf(kind: "requests" | "tokens", states: readonly LimitStateOf[]): RateLimitState | undefined {
  let found: RateLimitState | undefined;
  for (const { rule, state } of states) {
    if (rule.kind !== kind) continue;
    const { limit } = rule;
    const remaining = Math.max(0, Math.min(limit, state.remaining));
    if (found && remaining / limit >= found.remaining / found.limit) continue;
    found = { limit, remaining, resetMs: state.resetMs };
  }
  return found;
}
