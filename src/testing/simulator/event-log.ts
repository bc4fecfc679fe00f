/** A running hash of everything that happened: equal runs have equal hashes, and nothing has to be kept. */
export class EventLog {
  readonly #bytes = new DataView(new ArrayBuffer(8));
  #high = 0x811c9dc5;
  #low = 0xcbf29ce4;
  count = 0;

  add(atMs: number, ...facts: readonly (number | string)[]): void {
    this.count += 1;
    this.#addNumber(atMs);
    for (const fact of facts) {
      if (typeof fact === "number") this.#addNumber(fact);
      else for (let position = 0; position < fact.length; position++) this.#mix(fact.charCodeAt(position));
    }
  }

  #addNumber(value: number): void {
    this.#bytes.setFloat64(0, value);
    this.#mix(this.#bytes.getInt32(0));
    this.#mix(this.#bytes.getInt32(4));
  }

  /** Two lanes of FNV-1a over words, with different multipliers. */
  #mix(word: number): void {
    this.#high = Math.imul(this.#high ^ word, 0x01000193);
    this.#low = Math.imul(this.#low ^ word, 0x85ebca6b) ^ (this.#high >>> 13);
  }

  get hash(): string {
    return [this.#high, this.#low].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
