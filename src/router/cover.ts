import { routerError } from "../errors/router-error.js";
import { amountsOf } from "./amounts.js";
import { GroupFailure } from "./failure.js";
import type { RequestState } from "./request.js";
import type { GroupInTurn, Runtime } from "./runtime.js";

/**
 * Sees to it that hard budgets hold what one more attempt in the group can cost: the reservation stays as it is while
 * nothing was charged, and grows after a charge or for a dearer group (routing §11).
 *
 * @returns a promise only if the reservation has to grow.
 * @throws {GroupFailure} the budgets have no room for it: a cheaper group may do.
 */
export function coverAttempt(runtime: Runtime, request: RequestState, turn: GroupInTurn): Promise<void> | undefined {
  return grown(runtime, request, turn, 1)?.then((isCovered) => {
    if (isCovered) return;
    const message = `A budget has no room for what another attempt in ${turn.group.name} can cost.`;
    throw new GroupFailure("onError", routerError("insufficient_quota", { requestId: request.id, message }));
  });
}

/** The same for a second attempt beside the one that runs. @returns false: there is no room for both. */
export function coverHedge(runtime: Runtime, request: RequestState, turn: GroupInTurn): Promise<boolean> | boolean {
  return grown(runtime, request, turn, 2) ?? true;
}

/** @param attempts - So many may cost as much as one can, at the same time. @returns `undefined`: they hold enough. */
function grown(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  attempts: number,
): Promise<boolean> | undefined {
  const { account, reserved, charged } = request;
  if (!request.isBudgeted || !account || !reserved) return undefined;
  const amounts = amountsOf(runtime, request, turn);
  // Without any price the choice says what is wrong.
  if (!amounts) return undefined;
  const nanoUsd = charged.nanoUsd + attempts * amounts.upperNanoUsd - reserved.upperNanoUsd;
  if (nanoUsd <= 0) return undefined;
  const tokens = Math.max(0, charged.tokens + attempts * amounts.tokens - reserved.tokens);
  const grow = async () => {
    if (!(await account.extend(tokens, nanoUsd))) return false;
    // As it is by now: a hedge and a retry may both have asked.
    const held = request.reserved ?? reserved;
    request.reserved = {
      tokens: held.tokens + tokens,
      upperNanoUsd: held.upperNanoUsd + nanoUsd,
      expectedNanoUsd: held.expectedNanoUsd + nanoUsd,
    };
    return true;
  };
  return grow();
}
