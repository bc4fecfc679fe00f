/** Moves `average` towards `sample` by `weight` (0–1): an exponentially weighted moving average. */
export function ewma(average: number, sample: number, weight: number): number {
  return average + weight * (sample - average);
}
