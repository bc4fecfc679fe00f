import type { VirtualClock } from "../../src/testing/index.js";

/** Moves time until the promise settles: also where only upkeep, whose timers are background ones, can settle it. */
export async function advanceUntil<T>(
  clock: VirtualClock,
  promise: PromiseLike<T> | T,
  limitMs = 120_000,
  stepMs = 1,
): Promise<T> {
  let isSettled = false;
  const note = () => {
    isSettled = true;
  };
  const settled = Promise.resolve(promise);
  settled.then(note, note);
  await clock.advance(0);
  for (const endAt = clock.now() + limitMs; !isSettled && clock.now() < endAt; ) await clock.advance(stepMs);
  if (!isSettled) throw new Error(`The promise has not settled within ${limitMs} ms`);
  return settled;
}
