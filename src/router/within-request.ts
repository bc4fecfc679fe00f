import { deferred } from "../internal/deferred.js";
import type { RequestState } from "./request.js";
import type { Runtime } from "./runtime.js";

/**
 * Waits for somebody else's work, guards above all, no longer than the request lasts (R7).
 *
 * @param onAbandoned - Gets what the work brings after all, when nobody waits for it any more.
 * @throws {RouterError} `cancelled`, or the deadline's error; else what the work throws.
 */
export async function withinRequest<T>(
  runtime: Runtime,
  request: RequestState,
  work: Promise<T>,
  onAbandoned?: (late: T) => void,
): Promise<T> {
  const over = deferred<never>();
  let isAbandoned = false;
  const stopListening = request.cancellation.onCancel(() => {
    isAbandoned = true;
    over.reject(request.cancelled());
  });
  // Whoever is at work is told as well: a guard that hangs would keep the timer of its own limit (R8).
  const timer = runtime.clock.schedule(Math.max(0, request.remainingMs()), () =>
    request.cancellation.cancel(request.deadlineError()),
  );
  work.then(
    (late) => {
      if (isAbandoned) onAbandoned?.(late);
    },
    // Whoever still waits meets it through the race.
    () => {},
  );
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    stopListening();
    timer.cancel();
  }
}
