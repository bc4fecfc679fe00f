import type { RouterError } from "../errors/router-error.js";
import type { RequestOutcome } from "../plugins/plugin.js";
import { emitSettled } from "./events.js";
import type { RequestState } from "./request.js";
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
  emitSettled(runtime, request, outcome, error);
  request.announce();
  const { snapshot } = request;
  snapshot.running -= 1;
  if (snapshot.isRetired && snapshot.running === 0) void closeRetired(runtime, snapshot);
  runtime.requests.noteEnded(request, outcome);
}

/** How a request that throws `error` to its caller has ended (R1). */
export function outcomeOf(request: RequestState, error: RouterError): Exclude<RequestOutcome, "succeeded"> {
  if (error.code === "cancelled") return "cancelled";
  if (request.attempts.length === 0) return "rejected";
  const isTimeOver = error.code === "deadline_exceeded" || error.code === "upstream_timeout";
  // Something answered, and it is not given to the caller all the same: a guard's word.
  return request.servedBy !== undefined && !isTimeOver ? "blocked" : "failed";
}
