import { onAbort } from "./abort.js";

/** A timer that has been set and can be taken back. */
export interface Timer {
  cancel(): void;
}

/**
 * Time, passed in. `now` is monotonic and is what deadlines and durations use; `wallNow` is for timestamps
 * and calendar windows only.
 */
export interface Clock {
  /** Milliseconds on a monotonic scale with an arbitrary origin. */
  now(): number;
  /** Milliseconds since the Unix epoch. */
  wallNow(): number;
  /**
   * Calls `run` once after `delayMs`.
   * @param background - The timer alone does not keep the process alive: for upkeep that no caller waits for.
   */
  schedule(delayMs: number, run: () => void, background?: boolean): Timer;
  /**
   * Resolves after `delayMs`.
   * @throws the signal's reason, as soon as `signal` aborts; the timer is then gone.
   */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** `sleep` in terms of `schedule`, for every clock alike. */
export function sleepOn(clock: Pick<Clock, "schedule">, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = clock.schedule(delayMs, () => {
      stopListening();
      resolve();
    });
    const stopListening = onAbort(signal, (reason) => {
      timer.cancel();
      reject(reason);
    });
  });
}

/** The longest delay that the platform's timers take before they wrap to 1 ms. */
const MAX_TIMER_MS = 2_147_483_647;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  schedule(delayMs, run, background) {
    const handle = setTimeout(run, Math.min(Math.max(0, Math.ceil(delayMs)), MAX_TIMER_MS));
    // Workers and browsers return a number, which has no `unref`.
    if (background && typeof handle === "object") handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  sleep: (delayMs, signal) => sleepOn(systemClock, delayMs, signal),
};
