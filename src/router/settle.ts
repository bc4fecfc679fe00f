import type { RouterError } from "../errors/router-error.js";
import type { AccountUse } from "../limits/request-account.js";
import type { RequestOutcome } from "../plugins/plugin.js";
import { emitSettled } from "./events.js";
import { isFromCache, type RequestState } from "./request.js";
import { outcomeNoteOf } from "./reservation-note.js";
import type { Runtime } from "./runtime.js";
import { closeRetired } from "./start.js";

/**
 * Ends a request: fixes its outcome (R1), settles what it reserved if tokens were used and gives it back otherwise,
 * and tells the observers. Only the first call counts, so every path may make it.
 */
export function settle(runtime: Runtime, request: RequestState, outcome: RequestOutcome, error?: RouterError): void {
  if (!request.end(outcome, error)) return;
  const { leases, usage } = request;
  if (leases) {
    if (usage) leases.settle(usage);
    else leases.release();
  }
  settleAccount(runtime, request);
  emitSettled(runtime, request, outcome, error);
  request.announce();
  const { snapshot } = request;
  snapshot.running -= 1;
  if (snapshot.isRetired && snapshot.running === 0) void closeRetired(runtime, snapshot);
  (request.shadow ?? runtime).requests.noteEnded(request, outcome);
}

/**
 * What the attempts used is booked first, then the reservation is ended: whoever finds the one without the other, because
 * this process died in between, ends it with what was booked (R27). Where the ledger takes long, the reservation holds
 * what was used and no more until then (R12), and says itself what is to be booked.
 */
function settleAccount({ ledger }: Runtime, request: RequestState): void {
  const { account, bookings, charged } = request;
  const use = (): AccountUse => ({
    // A cached answer costs no tokens, but it is a request like any other.
    isAttempted: request.attempts.length > 0 || isFromCache(request),
    tokens: charged.tokens,
    costNanoUsd: charged.nanoUsd,
    deployment: request.servedBy?.deployment.id,
  });
  const end = () => account?.end(use());
  const adjust = () => account?.adjust(use(), outcomeNoteOf(bookings, request.isBudgeted));
  if (ledger && bookings.length > 0) ledger.write(bookings, end, adjust);
  else end();
}

/** How a request that throws `error` to its caller has ended (R1). */
export function outcomeOf(request: RequestState, error: RouterError): Exclude<RequestOutcome, "succeeded"> {
  if (error.code === "cancelled") return "cancelled";
  if (request.attempts.length === 0) return "rejected";
  const isTimeOver = error.code === "deadline_exceeded" || error.code === "upstream_timeout";
  // Something answered, and it is not given to the caller all the same: a guard's word, unless the request was ended meanwhile.
  const isEnded = isTimeOver || request.cancellation.isCancelled;
  return request.servedBy !== undefined && !isEnded ? "blocked" : "failed";
}
