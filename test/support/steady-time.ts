import { setTimeout as sleep } from "node:timers/promises";
import type { VirtualClock } from "../../src/testing/index.js";

/** What a step takes at most: a pause of the machine, however long, counts no more than this. */
const MOST_STEP_MS = 10;

/**
 * Lets the time of a clock go by, `speed` times as fast as the machine's own, until the promise settles, and settles alike.
 * For tests of how long things take over real sockets: whatever keeps the process from running (a neighbour's work, a
 * garbage collection) stops this time as well, rather than passing for a slow upstream.
 */
export async function inSteadyTime<T>(clock: VirtualClock, speed: number, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const note = () => {
    isSettled = true;
  };
  promise.then(note, note);
  for (let lastAt = performance.now(); !isSettled; ) {
    await sleep(1);
    const now = performance.now();
    await clock.advance(Math.min((now - lastAt) * speed, MOST_STEP_MS));
    lastAt = now;
  }
  return promise;
}
