/** The longest repetition that is looked for (routing §7). */
const MAX_OVERLAP = 200;
/** Shorter ones happen by chance: half of all words have a double letter, and lists begin their lines alike. */
const MIN_OVERLAP = 12;

/** What is to be known of an answer that is continued. */
export interface SeamOptions {
  /** What the upstream was given to continue. */
  readonly sent: string;
  /** What was delivered after that: white space, or half a character, which no upstream takes well at the end. */
  readonly unsent: string;
  /** The upstream was asked to go on as somebody who talks would be: it may begin its last word anew. */
  readonly isPrompted: boolean;
}

/**
 * Joins a continuation to what was delivered before: takes off its beginning what repeats the end of that, first up to
 * 200 characters of what was sent, then what was not sent and comes all the same. The result is the same however the
 * continuation is cut.
 *
 * A repetition counts from 12 characters on, or from the beginning of a word where a prompt asked for more. It does not
 * count where it repeats itself, or where the delivered text did: "ha ha ha" goes on with " ha", and rows of a table with
 * another row.
 *
 * Text is held back only while it is the beginning of something that may yet be taken off, so for at most 200
 * characters and the white space; usually that is over with the first token.
 */
export class Seam {
  /** Nothing is held back any more: text passes as it comes. */
  isClosed = false;
  readonly #tail: string;
  readonly #unsent: string;
  readonly #isPrompted: boolean;
  #isOverlapKnown = false;
  #held = "";
  /** Characters of `unsent` that have come again. */
  #repeated = 0;

  constructor({ sent, unsent, isPrompted }: SeamOptions) {
    // One more, which tells whether the longest begins a word; and once more the length, which tells a run.
    this.#tail = sent.slice(-2 * MAX_OVERLAP - 1);
    this.#unsent = unsent;
    this.#isPrompted = isPrompted;
    this.#isOverlapKnown = sent === "";
    this.isClosed = sent === "" && unsent === "";
  }

  /** The next text of the continuation. @returns what can be delivered of it and of what was held back. */
  push(text: string): string {
    if (this.isClosed) return text;
    if (text === "") return "";
    if (this.#isOverlapKnown) return this.#afterOverlap(text);
    this.#held += text;
    return this.#mayGrow() ? "" : this.#closeOverlap();
  }

  /** The continuation is complete. @returns what was held back and repeats nothing. */
  end(): string {
    if (this.isClosed) return "";
    const rest = this.#isOverlapKnown ? "" : this.#closeOverlap();
    this.isClosed = true;
    return rest;
  }

  /** Is what is held the beginning of an end of the sent text that is longer? */
  #mayGrow(): boolean {
    const held = this.#held;
    if (held.length >= MAX_OVERLAP) return false;
    const tail = this.#tail.slice(-MAX_OVERLAP);
    const at = tail.indexOf(held);
    return at !== -1 && at < tail.length - held.length;
  }

  #closeOverlap(): string {
    const text = this.#held.slice(this.#overlap());
    this.#held = "";
    this.#isOverlapKnown = true;
    return this.#afterOverlap(text);
  }

  /** How much of the beginning of what is held repeats the end of what was sent. */
  #overlap(): number {
    const held = this.#held;
    const tail = this.#tail;
    for (let length = Math.min(held.length, tail.length, MAX_OVERLAP); length > 0; length--) {
      if (tail.endsWith(held.slice(0, length)) && this.#isRepetition(length)) return length;
    }
    return 0;
  }

  #isRepetition(length: number): boolean {
    const tail = this.#tail;
    const before = tail.slice(0, -length);
    const repeated = tail.slice(-length);
    if (isRun(repeated) || before.endsWith(repeated)) return false;
    if (length >= MIN_OVERLAP) return true;
    return this.#isPrompted && (SPACED_WORD.test(repeated) || (WORD.test(repeated) && !WORD_END.test(before)));
  }

  /** White space that was left off at the end of what was sent comes again, wholly, in part or not at all. */
  #afterOverlap(text: string): string {
    const unsent = this.#unsent;
    let at = 0;
    while (at < text.length && this.#repeated < unsent.length && text[at] === unsent[this.#repeated]) {
      at += 1;
      this.#repeated += 1;
    }
    if (at < text.length || this.#repeated === unsent.length) this.isClosed = true;
    return text.slice(at);
  }
}

const WORD = /^[\p{L}\p{N}]/u;
const SPACED_WORD = /^\s+[\p{L}\p{N}]/u;
const WORD_END = /[\p{L}\p{N}\p{Pd}'’_]$/u;

/** Does it consist of one part, repeated at least twice? */
function isRun(text: string): boolean {
  for (let period = 1; 2 * period <= text.length; period++) {
    if (text.startsWith(text.slice(period))) return true;
  }
  return false;
}
