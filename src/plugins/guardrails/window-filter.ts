import type { TextFilter } from "./text-filter.js";

/** Longest window; where no sentence ends, the text is cut here. */
export const MAX_WINDOW_LENGTH = 1_000;
const END = /[.!?…。！？\n]/;

/**
 * Checks a text sentence by sentence. Where the windows begin and end depends on the text alone, not on the pieces in
 * which it comes.
 */
export class WindowFilter implements TextFilter {
  #held = "";

  /** @param check - Returns what is delivered instead of the window, or throws. */
  constructor(private readonly check: (window: string) => Promise<string>) {}

  get heldLength(): number {
    return this.#held.length;
  }

  async push(text: string): Promise<string> {
    this.#held += text;
    let out = "";
    for (let end = windowEnd(this.#held); end !== undefined; end = windowEnd(this.#held)) {
      out += await this.check(this.#held.slice(0, end));
      this.#held = this.#held.slice(end);
    }
    return out;
  }

  async end(): Promise<string> {
    const held = this.#held;
    this.#held = "";
    return held === "" ? "" : this.check(held);
  }
}

/** Holds a text until it is whole. */
export class WholeFilter implements TextFilter {
  #held = "";

  /** @param maxLength - Longer texts throw a `RangeError`. */
  constructor(
    private readonly maxLength: number,
    private readonly check: (text: string) => string | Promise<string>,
  ) {}

  get heldLength(): number {
    return this.#held.length;
  }

  push(text: string): string {
    this.#held += text;
    if (this.#held.length > this.maxLength) throw new RangeError("too much to hold back");
    return "";
  }

  end(): string | Promise<string> {
    return this.check(this.#held);
  }
}

/** Behind a sentence and the space after it, which tells that it has ended. */
function windowEnd(text: string): number | undefined {
  for (let at = 0; at + 1 < text.length && at + 1 < MAX_WINDOW_LENGTH; at++) {
    if (END.test(text[at] ?? "") && /\s/.test(text[at + 1] ?? "")) return at + 2;
  }
  return text.length >= MAX_WINDOW_LENGTH ? MAX_WINDOW_LENGTH : undefined;
}
