/** Quantiles of the last so many numbers. Adding one costs two small moves of memory; asking costs a look. */
export class SlidingQuantile {
  /** The last numbers in order of arrival, and the same sorted. */
  readonly #recent: Float64Array;
  readonly #sorted: Float64Array;
  #added = 0;

  /** @param size - How many numbers it looks back on, at least 1. */
  constructor(readonly size: number) {
    this.#recent = new Float64Array(size);
    this.#sorted = new Float64Array(size);
  }

  /** How many numbers it goes by now. */
  get count(): number {
    return Math.min(this.#added, this.size);
  }

  add(value: number): void {
    const slot = this.#added % this.size;
    let kept = this.count;
    if (kept === this.size) {
      // In bounds: the slot is below the length.
      const oldest = positionOf(this.#sorted, kept, this.#recent[slot]!);
      this.#sorted.copyWithin(oldest, oldest + 1, kept);
      kept--;
    }
    const position = positionOf(this.#sorted, kept, value);
    this.#sorted.copyWithin(position + 1, position, kept);
    this.#sorted[position] = value;
    this.#recent[slot] = value;
    this.#added++;
  }

  /**
   * The smallest of the numbers that at least this share of them does not exceed.
   *
   * @param share - Above 0, at most 1.
   * @returns `NaN` without any number.
   */
  at(share: number): number {
    const { count } = this;
    if (count === 0) return Number.NaN;
    // In bounds: a share of a count above zero, rounded up, lies within it; at least 1, whatever rounding makes of it.
    return this.#sorted[Math.max(1, Math.ceil(share * count)) - 1]!;
  }

  /** The same numbers, as far as another size keeps them. */
  resized(size: number): SlidingQuantile {
    const other = new SlidingQuantile(size);
    const first = Math.max(0, this.#added - Math.min(this.size, size));
    // In bounds by the remainder.
    for (let index = first; index < this.#added; index++) other.add(this.#recent[index % this.size]!);
    return other;
  }
}

/** First position within `length` ascending numbers whose value is not below `value`. */
function positionOf(sorted: Float64Array, length: number, value: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
