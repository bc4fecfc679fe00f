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
  const { account, reserved, charged } = request;
  if (!request.isBudgeted || !account || !reserved) return undefined;
  const amounts = amountsOf(runtime, request, turn);
  // Without any price the choice says what is wrong.
  if (!amounts) return undefined;
  const nanoUsd = charged.nanoUsd + amounts.upperNanoUsd - reserved.upperNanoUsd;
  if (nanoUsd <= 0) return undefined;
  const tokens = Math.max(0, charged.tokens + amounts.tokens - reserved.tokens);
  const grow = async () => {
    if (await account.extend(tokens, nanoUsd)) {
      request.reserved = {
        tokens: reserved.tokens + tokens,
        upperNanoUsd: reserved.upperNanoUsd + nanoUsd,
        expectedNanoUsd: reserved.expectedNanoUsd + nanoUsd,
      };
      return;
    }
    const message = `A budget has no room for what another attempt in ${turn.group.name} can cost.`;
    throw new GroupFailure("onError", routerError("insufficient_quota", { requestId: request.id, message }));
  };
  return grow();
}
