/**
 * A map from which the oldest entries are dropped. Finding them with a new iterator each time would pass over all that
 * were dropped before, until the engine tidies its table; this one remembers where it was.
 */
export class AgedMap<Value> {
  readonly #entries = new Map<string, Value>();
  #iterator = this.#entries.entries();
  #oldest: [key: string, value: Value] | undefined;

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Value | undefined {
    return this.#entries.get(key);
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** As the newest entry. */
  set(key: string, value: Value): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  values(): IterableIterator<Value> {
    return this.#entries.values();
  }

  oldest(): Value | undefined {
    return this.#find()?.[1];
  }

  deleteOldest(): void {
    const oldest = this.#find();
    if (oldest) this.#entries.delete(oldest[0]);
  }

  #find(): [key: string, value: Value] | undefined {
    while (this.#entries.size > 0) {
      const oldest = this.#oldest;
      // An entry that was set again is another value, and has its turn later.
      if (oldest && this.#entries.get(oldest[0]) === oldest[1]) return oldest;
      const next = this.#iterator.next();
      if (next.done) this.#iterator = this.#entries.entries();
      this.#oldest = next.value;
    }
    return undefined;
  }
}
