import type { Random } from "../../internal/random.js";

/** Standard normal, by Box and Muller. */
function normal(random: Random): number {
  // 1 - u: the logarithm of 0 is not wanted.
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

/** A lognormal quantity, by its median and the standard deviation of its logarithm, drawn again until within bounds. */
export interface Lognormal {
  readonly median: number;
  readonly sigma: number;
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

export function drawLognormal({ median, sigma, min = 0, max = Number.POSITIVE_INFINITY }: Lognormal, random: Random) {
  for (let draw = 0; draw < 100; draw++) {
    const value = median * Math.exp(sigma * normal(random));
    if (value >= min && value <= max) return value;
  }
  // Bounds that hardly ever hold: the nearest one.
  return Math.min(max, Math.max(min, median));
}

export function drawExponential(mean: number, random: Random): number {
  return -mean * Math.log(1 - random.next());
}

/** 1, 2, …: the trials up to the first success, at most `most`; `mean` is that of the unbounded distribution. */
export function drawGeometric(mean: number, most: number, random: Random): number {
  if (mean <= 1) return 1;
  const trials = Math.ceil(Math.log(1 - random.next()) / Math.log(1 - 1 / mean));
  return Math.min(most, Math.max(1, trials));
}

/** Positions 0 to `count` - 1, the one at `i` with a share in proportion to 1 / (i + 1)^exponent. */
export function zipf(count: number, exponent: number): (random: Random) => number {
  let total = 0;
  const sums = Array.from({ length: count }, (_, position) => {
    total += 1 / (position + 1) ** exponent;
    return total;
  });
  return (random) => {
    const drawn = random.next() * total;
    const position = sums.findIndex((sum) => drawn < sum);
    return position === -1 ? count - 1 : position;
  };
}
