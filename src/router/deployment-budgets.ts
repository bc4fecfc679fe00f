import type { AccountRefusal } from "../limits/asked-limits.js";
import type { RequestAccount } from "../limits/request-account.js";
import { hasHardBudget, mostOf } from "./amounts.js";
import type { Lease, RequestState } from "./request.js";
import type { GroupInTurn, Runtime } from "./runtime.js";
import { withinRequest } from "./within-request.js";

type Taken = Lease | Promise<Lease | undefined> | undefined;

/**
 * Sees to it that the budgets of whoever was chosen hold what the attempt can cost; where they have no room, the next one
 * is chosen, for the request's budgets say nothing of those.
 *
 * @param takeNext - Chooses among the others, once `request.overBudget` has the one that is out.
 * @returns a promise only if a store has to be asked; `undefined`: nobody is left.
 */
export function withinBudgets(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  taken: Taken,
  takeNext: () => Taken,
): Taken {
  for (let lease = taken; ; lease = takeNext()) {
    if (lease === undefined) return undefined;
    if (lease instanceof Promise) {
      return lease.then((found) => withinBudgets(runtime, request, turn, found, takeNext));
    }
    const held = hold(runtime, request, turn, lease);
    if (held instanceof Promise) {
      return held.then((found) => found ?? withinBudgets(runtime, request, turn, takeNext(), takeNext));
    }
    if (held) return held;
  }
}

function hold(runtime: Runtime, request: RequestState, turn: GroupInTurn, lease: Lease): Taken {
  const { candidate } = lease;
  const rules = request.snapshot.deploymentBudgets?.get(candidate.id);
  if (!rules) return lease;
  const isBounded = hasHardBudget(rules);
  const upperNanoUsd = isBounded ? mostOf(runtime, request, turn, candidate.deployment) : 0;
  // Whoever has a hard budget and no price is not chosen (R16).
  if (upperNanoUsd === undefined) return giveUp(lease);
  const take = (answer: RequestAccount | AccountRefusal): Lease | undefined => {
    if (answer.isReserved) return { ...lease, budget: answer, isBounded };
    request.overBudget ??= new Map();
    request.overBudget.set(candidate.id, answer);
    return giveUp(lease);
  };
  const answer = runtime.accounts.reserve({
    id: `${request.id}#${request.nextShare++}`,
    tenant: undefined,
    rules,
    amounts: { tokens: 0, upperNanoUsd, expectedNanoUsd: upperNanoUsd },
    lifetimeMs: Math.max(0, request.remainingMs()),
  });
  if (!(answer instanceof Promise)) return take(answer);
  const nothing = { isAttempted: false, tokens: 0, costNanoUsd: 0 };
  return withinRequest(runtime, request, answer, (late) => late.isReserved && late.end(nothing)).then(take, (over) => {
    giveUp(lease);
    throw over;
  });
}

/** It stays among those that were tried: this request does not come back to it. */
function giveUp({ share, flight }: Lease): undefined {
  share?.end(false, 0);
  flight.end({ outcome: "cancelled", outputTokens: 0 });
  return undefined;
}
