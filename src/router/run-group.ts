import { RouterError } from "../errors/router-error.js";
import { isPoisonRequest } from "../health/poison.js";
import { backoffMs } from "../routing/backoff.js";
import { awaitModels, isAwaitingModels } from "./await-models.js";
import { choiceOf, choose, chooseAgain, chooseUntried } from "./choose.js";
import { coverAttempt } from "./cover.js";
import { errorOfAttempt, GroupFailure, noteFailure } from "./failure.js";
import { hedgeFor } from "./hedge.js";
import { pause } from "./pause.js";
import { type AttemptFailure, type Lease, MAX_ATTEMPTS, type RequestState } from "./request.js";
import { type AttemptAnswer, runAttempt } from "./run-attempt.js";
import { type GroupInTurn, MAX_WAIT_MS, type Runtime } from "./runtime.js";

/**
 * Retries inside one model group: an untried deployment at once, the same one after a wait.
 *
 * Written out instead of through a retry library: the waits are on the injected clock, and an abort that comes after
 * a success must not throw the answer, and what it holds, away.
 *
 * @throws {GroupFailure} the group cannot serve the request; another group may.
 * @throws {RouterError} the request is over.
 */
export async function runGroup(runtime: Runtime, request: RequestState, turn: GroupInTurn): Promise<AttemptAnswer> {
  turn.group.retryBudget.recordRequest(runtime.clock.now());
  if (isAwaitingModels(turn)) await awaitModels(runtime, request, turn);
  // Guards may have made the request a dearer one than was reserved for.
  if (turn !== request.firstTurn || request.guarded?.isPatched) await coverAttempt(runtime, request, turn);
  const first = choose(runtime, request, turn);
  let lease = first instanceof Promise ? await first : first;
  const hedge = hedgeFor(runtime, request, turn);
  for (let retry = 0; ; retry++) {
    try {
      return await (hedge ? hedge.run(lease) : runAttempt(runtime, request, lease));
    } catch (thrown) {
      if (RouterError.isRouterError(thrown)) throw thrown;
      // `runAttempt` throws nothing else. Of a hedged attempt and its hedge, it may be either's.
      const failure = thrown as AttemptFailure;
      lease = await leaseForRetry(runtime, request, turn, failure.lease, failure, retry);
    }
  }
}

/**
 * What is tried after a failed attempt, once its time has come.
 *
 * @param retry - How many retries the group has made.
 */
async function leaseForRetry(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  lease: Lease,
  failure: AttemptFailure,
  retry: number,
): Promise<Lease> {
  const { group } = turn;
  const { verdict, isCredentialStale } = failure;
  const { deployment } = lease.candidate;
  const giveUp = new GroupFailure(verdict.chain, undefined);
  if (isPoison(runtime, request, failure)) throw poisonError(request, failure);
  noteFailure(request, failure);
  request.pin?.noteFailed(group, deployment.id);
  if (request.pin?.mayRepeat(isCredentialStale || verdict.outcome === "limited") === false) throw giveUp;
  if (retry >= group.settings.retries || request.attempts.length >= MAX_ATTEMPTS) throw giveUp;
  request.throwIfOver();

  await coverAttempt(runtime, request, turn);
  const spend = () => {
    if (!group.retryBudget.take(runtime.clock.now())) throw giveUp;
  };
  if (isCredentialStale) {
    spend();
    return chooseAgain(runtime, request, turn, lease);
  }
  if (verdict.another === "larger-window") {
    request.needsLargerWindowThan = deployment.contextWindow ?? request.promptTokens;
  }
  if (verdict.another !== false && group.pool.hasUntried(choiceOf(runtime, request, turn, false))) {
    spend();
    const untried = await chooseUntried(runtime, request, turn);
    if (untried) return untried;
  }
  if (!verdict.sameAgain) {
    if (verdict.another === false || !isOtherBusy(runtime, request, turn)) throw giveUp;
    spend();
    return choose(runtime, request, turn);
  }

  // Whoever is busy or silent for now is not waited for while another group may serve at once.
  const isForNow = verdict.outcome === "limited" || failure.error.errorClass === "timeout";
  if (isForNow && verdict.chain && request.nextTurn(turn, verdict.chain)) throw giveUp;
  const waitMs = backoffMs(retry, failure.retryAfterMs, runtime.random);
  // A wait that cannot end in time is not begun.
  if (waitMs > Math.min(MAX_WAIT_MS, request.remainingMs())) throw giveUp;
  spend();
  await pause(runtime, request, waitMs);
  return choose(runtime, request, turn);
}

/** Somebody else of the group may serve the request as soon as a slot is free. */
function isOtherBusy(runtime: Runtime, request: RequestState, turn: GroupInTurn): boolean {
  const { queue, pool } = turn.group;
  if (!queue) return false;
  return pool
    .explain(choiceOf(runtime, request, turn, false))
    .some(({ candidate, exclusion }) => exclusion === "at-max-parallel" && !request.tried.includes(candidate.id));
}

/** A second deployment failed in the same words, and both serve others: the request is at fault, not they (routing §5). */
function isPoison(runtime: Runtime, request: RequestState, failure: AttemptFailure): boolean {
  const answerOf = ({ lease, error }: AttemptFailure) => ({ health: lease.candidate.health, error });
  const now = runtime.clock.now();
  const earlier = request.failures.find(
    (candidate) => candidate !== failure && isPoisonRequest(answerOf(candidate), answerOf(failure), now),
  );
  if (!earlier) return false;
  earlier.lease.flight.reclassifyAsCaller();
  failure.lease.flight.reclassifyAsCaller();
  return true;
}

function poisonError(request: RequestState, failure: AttemptFailure): RouterError {
  return errorOfAttempt(request, { ...failure, verdict: { ...failure.verdict, code: "invalid_request" } });
}
