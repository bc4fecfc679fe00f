import { routerError } from "../errors/router-error.js";
import type { Timer } from "../internal/clock.js";
import type { Principal } from "../plugins/plugin.js";
import type { ChoiceRequest } from "../routing/candidates.js";
import type { GroupQueue, WaitingRequest } from "../routing/queue/group-queue.js";
import { reservedTokens } from "./amounts.js";
import { GroupFailure } from "./failure.js";
import type { Lease, RequestState } from "./request.js";
import type { GroupInTurn, Runtime } from "./runtime.js";

export interface SlotWait {
  readonly queue: GroupQueue;
  readonly choice: ChoiceRequest;
  /** Time to the first token of whoever serves, as far as that is known: it has to fit within the deadline. */
  readonly predictedMs: number;
  /** Takes a slot in this turn; `undefined`: there is none for this request. */
  take(): Lease | Promise<Lease | undefined> | undefined;
  /** When a deployment that is left alone may come back; `undefined`: only a slot helps. */
  comesBackAt(): number | undefined;
}

/**
 * Lets a request wait in the queue of its group (routing §9) until a slot is its own. Leaves nothing behind, however it
 * ends.
 *
 * @returns `undefined`: other processes were faster; look again.
 * @throws {GroupFailure} it waited in vain, or the queue is full.
 * @throws {RouterError} the request was cancelled, or its deadline passed.
 */
export function waitForSlot(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  { queue, choice, predictedMs, take, comesBackAt }: SlotWait,
): Promise<Lease | undefined> {
  request.throwIfOver();
  const { clock } = runtime;
  const { group } = turn;
  const { maxWaitMs } = group.settings.queue;
  const priority = request.call.options?.priority ?? "interactive";
  const since = clock.now();
  const patienceMs = priority === "batch" ? Number.POSITIVE_INFINITY : maxWaitMs - request.queuedMs;
  const until = Math.min(since + patienceMs, request.deadlineAt - predictedMs);

  const refusal = (why: string) => {
    const { id: requestId } = request;
    const fields = { requestId, retryAfterMs: queue.retryAfterMs, attempts: request.failedAttempts() };
    const message = `Every deployment of ${group.name} that could serve the request is at its maxParallel, and ${why}.`;
    return new GroupFailure("onError", routerError("overloaded", { ...fields, message }));
  };
  const late = () =>
    until < since + patienceMs
      ? refusal("its deadline leaves no time to wait longer")
      : refusal(`it has waited for ${Math.round(request.queuedMs)} ms`);
  if (until <= since) return Promise.reject(late());

  return new Promise((resolve, reject) => {
    let timer: Timer | undefined;
    let isWaiting = true;
    const leave = () => {
      isWaiting = false;
      timer?.cancel();
      stopListening();
      request.queuedMs += clock.now() - since;
    };
    const end = (error: () => unknown) => {
      leave();
      queue.remove(waiting);
      reject(error());
    };
    const waiting: WaitingRequest = {
      priority,
      tenant: tenantOf(request),
      cost: Math.max(1, reservedTokens(request, group)),
      since,
      until,
      pool: group.pool,
      demands: demandsOf(choice),
      size: choice.promptTokens + choice.maxOutputTokens,
      offer() {
        try {
          const lease = take();
          if (!lease) return false;
          leave();
          resolve(lease);
        } catch (thrown) {
          // A strategy of the user's: its fault is this request's, and not that of whoever made room.
          leave();
          reject(thrown);
        }
        return true;
      },
      drop() {
        leave();
        reject(refusal(`its queue is full: ${queue.length} wait`));
      },
    };
    const stopListening = request.cancellation.onCancel(() => end(() => request.cancelled()));
    const look = () => {
      if (clock.now() >= until) return end(() => (request.remainingMs() <= 0 ? request.deadlineError() : late()));
      queue.dispatch();
      if (isWaiting) arm();
    };
    const arm = () => {
      const at = Math.min(until, comesBackAt() ?? until);
      timer = clock.schedule(Math.max(0, at - clock.now()), look);
    };
    queue.add(waiting);
    // One that time brought back is taken by whoever looks first: those who wait are first.
    queue.dispatch();
    if (isWaiting) arm();
  });
}

/** The outermost level of whoever is charged; the host's own requests are one tenant, too. */
export function tenantOf({ access, principal }: RequestState): string {
  return access?.tenant ?? outermost(principal ?? {});
}

function outermost({ organization, team, user, key }: Principal): string {
  if (organization !== undefined) return `organization:${organization}`;
  if (team !== undefined) return `team:${team}`;
  if (user !== undefined) return `user:${user}`;
  return key === undefined ? "" : `key:${key}`;
}

/** What decides, beside its size, who can serve a request. */
function demandsOf(choice: ChoiceRequest): string | undefined {
  // Few have tried something, and each something else.
  if (choice.tried.length > 0 || choice.isOverBudget) return undefined;
  const { operation, features, isPriced, captured, requiredRegion, requiredTags } = choice;
  const { requiredDeployment, requiredAccount } = choice;
  const place = [requiredRegion, requiredDeployment, requiredAccount];
  return JSON.stringify([operation, features, isPriced !== undefined, captured, place, ...requiredTags]);
}
