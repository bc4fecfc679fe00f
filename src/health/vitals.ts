/**
 * The numbers of a deployment that every pick looks at, in one cache line: a pick among thousands mostly waits for memory,
 * and numbers in fields are a heap object each.
 */
export interface Vitals {
  /** Shared with the deployments made before and after; each has its own part. */
  readonly numbers: Float64Array;
  /** Where its part begins. */
  readonly start: number;
}

/** Offsets in the part. */
export const STREAMS = 0;
export const WAITING_TOKENS = 1;
export const SAMPLES = 2;
export const SLOWNESS_MS = 3;
export const MS_PER_OUTPUT_TOKEN = 4;
export const AVERAGE_STREAMS = 5;
export const LAST_SAMPLE_AT = 6;
const PART = 8;

/** Parts made at once; they are freed together, when the last of their deployments is gone. */
const PARTS = 64;

let numbers = new Float64Array(0);
let start = 0;

/** A part of its own, all zero. */
export function newVitals(): Vitals {
  if (start === numbers.length) {
    numbers = new Float64Array(PARTS * PART);
    start = 0;
  }
  const vitals = { numbers, start };
  start += PART;
  return vitals;
}
