import type { RequestState } from "./request.js";
import type { Runtime } from "./runtime.js";

/**
 * Lets a request wait; ends at once with it.
 *
 * @throws {RouterError} the request was cancelled, or its deadline passed.
 */
export async function pause(runtime: Runtime, request: RequestState, waitMs: number): Promise<void> {
  if (waitMs > 0) {
    try {
      await runtime.clock.sleep(waitMs, request.signal);
    } catch {
      // Only the signal ends a sleep early; the next line says so in our words.
    }
  }
  request.throwIfOver();
}
