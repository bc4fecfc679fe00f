import { backoffMs } from "../routing/backoff.js";
import { choiceOf, choose, chooseUntried } from "./choose.js";
import { coverAttempt } from "./cover.js";
import { GroupFailure, noteFailure } from "./failure.js";
import { pause } from "./pause.js";
import type { AttemptFailure, Lease, RequestState } from "./request.js";
import { type GroupInTurn, MAX_WAIT_MS, type Runtime } from "./runtime.js";
import { withinRequest } from "./within-request.js";

/**
 * Who goes on with a broken stream: a deployment of the same group as for a retry, an untried one at once, else the same
 * one after a wait. Other groups are not asked: their models would go on in other words.
 *
 * @throws {GroupFailure} nobody can, or the group's budgets are spent.
 * @throws {RouterError} the request is over.
 */
export async function leaseForContinuation(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  failure: AttemptFailure,
): Promise<Lease> {
  const { group } = turn;
  const { verdict, retryAfterMs } = failure;
  const giveUp = new GroupFailure(undefined, undefined);
  noteFailure(request, failure);
  request.throwIfOver();
  const covering = coverAttempt(runtime, request, turn);
  if (covering) await withinRequest(runtime, request, covering);
  if (!group.retryBudget.take(runtime.clock.now())) throw giveUp;
  if (group.pool.hasUntried(choiceOf(runtime, request, turn, false))) {
    const untried = await chooseUntried(runtime, request, turn);
    if (untried) return untried;
  }
  if (verdict.sameAgain) {
    const waitMs = backoffMs(0, retryAfterMs, runtime.random);
    // A wait that cannot end in time is not begun.
    if (waitMs > Math.min(MAX_WAIT_MS, request.remainingMs())) throw giveUp;
    await pause(runtime, request, waitMs);
  }
  return choose(runtime, request, turn);
}
