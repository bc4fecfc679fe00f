import { MAX_WINDOW_AMOUNT, WINDOW_PARTS } from "./store.js";

/**
 * The arithmetic of sliding windows, in integers only, so that every store comes to the same numbers.
 *
 * Time is cut into parts of a twelfth of the window, numbered since the epoch. A window holds the counts of the part
 * that runs now, of the eleven before it, and of the one that is sliding out: {@link KEPT_PARTS} in all.
 */
export interface Window {
  /** The number of the newest part that was ever charged; 0 where none was. It never goes back (R19). */
  latest: number;
  /** Part `n` has its count at `n % KEPT_PARTS`; those that are older than the window may hold anything. */
  readonly counts: number[];
}

export const KEPT_PARTS = WINDOW_PARTS + 1;
/** What is left of the part that is sliding out is measured in such steps, rounded up: against the caller. */
const STEPS = 1_024;

export function emptyWindow(): Window {
  return { latest: 0, counts: new Array<number>(KEPT_PARTS).fill(0) };
}

/** The part that runs at `nowMs`: never one before the newest that was charged, also where the clock stepped back. */
export function partAt(window: Window, nowMs: number, partMs: number): number {
  return Math.max(Math.floor(nowMs / partMs), window.latest);
}

function countOf(window: Window, part: number): number {
  if (part > window.latest || part <= window.latest - KEPT_PARTS || part < 0) return 0;
  return window.counts[part % KEPT_PARTS] as number; // in range: `part` is not negative
}

/** How many steps of the oldest part still count; all of them while the clock is behind a frozen part. */
function stepsLeft(nowMs: number, part: number, partMs: number): number {
  const elapsedMs = Math.max(0, nowMs - part * partMs);
  return Math.ceil(((partMs - elapsedMs) * STEPS) / partMs);
}

/** What counts against the limit now. */
export function usedIn(window: Window, nowMs: number, partMs: number, isStrict: boolean): number {
  const current = partAt(window, nowMs, partMs);
  const oldest = countOf(window, current - WINDOW_PARTS);
  let used = 0;
  if (current === window.latest) {
    // Each count is in the window then: no part has to be looked for.
    for (let at = 0; at < KEPT_PARTS; at++) used += window.counts[at] as number; // in range
    used -= oldest;
  } else {
    for (let part = window.latest; part > current - WINDOW_PARTS; part--) used += countOf(window, part);
  }
  if (oldest === 0) return used;
  return used + (isStrict ? oldest : Math.ceil((oldest * stepsLeft(nowMs, current, partMs)) / STEPS));
}

/**
 * When at most `most` of the window will be used if nothing is added, in milliseconds from now: the first moment.
 *
 * @param most - At least 0.
 */
export function timeUntilUsed(window: Window, nowMs: number, partMs: number, isStrict: boolean, most: number): number {
  if (usedIn(window, nowMs, partMs, isStrict) <= most) return 0;
  const current = partAt(window, nowMs, partMs);
  for (let part = current; ; part++) {
    let newer = 0;
    for (let other = part; other > part - WINDOW_PARTS; other--) newer += countOf(window, other);
    if (newer > most) continue;
    const oldest = countOf(window, part - WINDOW_PARTS);
    const room = most - newer;
    if (oldest <= room) return part * partMs - nowMs;
    // Strictly, the oldest part counts to its end: it is gone when the next part begins.
    if (isStrict) continue;
    // The first moment at which so few steps are left that what they count fits into the room.
    const steps = Math.floor((room * STEPS) / oldest);
    const elapsedMs = partMs - Math.floor((steps * partMs) / STEPS);
    if (elapsedMs < partMs) return part * partMs + elapsedMs - nowMs;
  }
}

/** When nothing of the window is used any more if nothing is added, in milliseconds from now; 0 where nothing is. */
export function timeUntilEmpty(window: Window, nowMs: number, partMs: number): number {
  const current = partAt(window, nowMs, partMs);
  for (let part = current; part >= current - WINDOW_PARTS; part--) {
    if (countOf(window, part) > 0) return (part + KEPT_PARTS) * partMs - nowMs;
  }
  return 0;
}

/** Adds to the part that runs now. @returns its number, for {@link correct}. */
export function charge(window: Window, nowMs: number, partMs: number, amount: number): number {
  const current = partAt(window, nowMs, partMs);
  for (let part = Math.max(window.latest, current - KEPT_PARTS) + 1; part <= current; part++) {
    window.counts[part % KEPT_PARTS] = 0;
  }
  window.latest = current;
  add(window, current, amount);
  return current;
}

/** Changes an earlier charge, as long as its part is still in the window. @returns whether it is. */
export function correct(window: Window, nowMs: number, partMs: number, part: number, difference: number): boolean {
  // A part that is newer than the newest: the account was emptied meanwhile.
  if (part < partAt(window, nowMs, partMs) - WINDOW_PARTS || part > window.latest) return false;
  add(window, part, difference);
  return true;
}

function add(window: Window, part: number, amount: number): void {
  const at = part % KEPT_PARTS;
  const count = (window.counts[at] as number) + amount; // in range
  window.counts[at] = Math.min(Math.max(0, count), MAX_WINDOW_AMOUNT);
}
