/** Most characters of one streamed reply that a guardrail keeps: of all choices, texts, lists and chunks together (S32). */
export const MAX_HELD_LENGTH = 4 * 1024 * 1024;
/** What an entry costs beside its text. */
export const ENTRY_LENGTH = 64;

/** What one guardrail keeps of one stream, in characters. */
export class HeldLength {
  #length = 0;

  constructor(private readonly maxLength = MAX_HELD_LENGTH) {}

  /** @throws {RangeError} it is too much. */
  add(length: number): void {
    this.#length += length;
    if (this.#length > this.maxLength) throw new RangeError("too much to hold back");
  }

  remove(length: number): void {
    this.#length -= length;
  }
}
