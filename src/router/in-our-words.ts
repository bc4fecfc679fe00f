import { RouterError, routerError } from "../errors/router-error.js";
import { withheldCause } from "../internal/withheld-cause.js";
import type { RequestState } from "./request.js";

/** What whoever waits reads of anything that was thrown. */
export function inOurWords(request: RequestState, thrown: unknown): RouterError {
  if (RouterError.isRouterError(thrown)) return thrown.of(request.id);
  // Guards that wait are left with the reason that the caller's signal gave.
  if (request.cancellation.isCancelled) return request.cancelled();
  return routerError("internal_error", { requestId: request.id, cause: withheldCause(thrown) });
}
