/** Called for each match; `end` is exclusive. */
export type ReportMatch = (start: number, end: number, category: string) => void;

/**
 * Finds things in a text that may not have come whole yet.
 *
 * What counts as a match must be a local property: whether `[start, end)` is one depends on these characters, on at
 * most {@link LEFT_CONTEXT} characters before them and on what follows them directly, never on other matches. That is what makes a
 * stream give the same matches as the whole text, however it is cut.
 */
export interface Scanner {
  /**
   * @param text - What is not decided yet, from `from` on, after {@link LEFT_CONTEXT} characters that are (fewer at
   *   the text's begin).
   * @param isEnd - Nothing follows.
   * @param report - To be called for the matches that begin before the returned index, in any order; more do no harm.
   * @returns up to where all is decided: no match, now or later, begins in `[from, returned)` unless reported. Everything
   *   from there on is scanned again when more has come. `text.length` at the end.
   */
  scan(text: string, from: number, isEnd: boolean, report: ReportMatch): number;
  /**
   * A scanner for one text that comes in pieces, which may remember how far it has read: `from` is the place that it
   * returned last, whatever it is then. Without it everything that is undecided is read anew with each piece.
   */
  forOneText?(): Scanner;
}

/** How many decided characters stay visible to scanners. */
export const LEFT_CONTEXT = 2;

/** A match in a whole text. */
export interface Match {
  readonly start: number;
  readonly end: number;
  readonly category: string;
}

/**
 * What becomes of the next `length` characters: they pass, a placeholder takes their place, or, where a match overlaps
 * the one before it, they belong to the placeholder that has been put already.
 */
export interface Piece {
  readonly kind: "pass" | "match" | "covered";
  readonly length: number;
  /** Of a match. */
  readonly category?: string | undefined;
}

/**
 * Decides about a text in the order in which it comes, and holds back only what could still become a match.
 *
 * Where matches overlap, all their characters are taken, and the first one's category names them.
 */
export class SpanFeed {
  readonly #readers: readonly Reader[];
  /** Decided context, then what is undecided. */
  #buffer = "";
  #from = 0;
  /** Up to here the characters belong to a match that has been put out. */
  #coveredTo = 0;
  /** Matches behind what all scanners have decided. */
  #matches: Match[] = [];

  constructor(scanners: readonly Scanner[]) {
    this.#readers = scanners.map((scanner) => ({ scanner: scanner.forOneText?.() ?? scanner, at: 0 }));
  }

  /** How many characters are held back. */
  get heldLength(): number {
    return this.#buffer.length - this.#from;
  }

  /** Begins another text; the one before has ended. */
  reset(): void {
    this.#buffer = "";
    this.#from = 0;
    this.#coveredTo = 0;
    for (const reader of this.#readers) reader.at = 0;
  }

  /** @returns the pieces that are decided now; all that was pushed, at the end. */
  push(text: string, isEnd: boolean): Piece[] {
    const buffer = (this.#buffer += text);
    let decided = buffer.length;
    // Each scanner goes on where it stopped: what one of them waits for is not read again by the others.
    for (const reader of this.#readers) {
      if (reader.at < buffer.length) this.#read(reader, buffer, isEnd);
      decided = Math.min(decided, reader.at);
    }
    return this.#decide(Math.max(this.#from, decided));
  }

  #read(reader: Reader, buffer: string, isEnd: boolean): void {
    const { scanner, at } = reader;
    const matches = this.#matches;
    const known = matches.length;
    const decided = scanner.scan(buffer, at, isEnd, (start, end, category) => {
      if (start >= at && end > start) matches.push({ start, end, category });
    });
    reader.at = isEnd ? buffer.length : Math.max(at, decided);
    // What begins behind that will be reported once more.
    let kept = known;
    for (let place = known; place < matches.length; place++) {
      const match = matches[place];
      if (match && match.start < reader.at) matches[kept++] = match;
    }
    matches.length = kept;
  }

  #decide(to: number): Piece[] {
    const pieces: Piece[] = [];
    if (to === this.#from) return pieces;
    let at = this.#from;
    const put = (kind: Piece["kind"], end: number, category?: string) => {
      if (end > at) pieces.push({ kind, length: end - at, category });
      at = Math.max(at, end);
    };
    // Text that a match covers is put out with it, even where later starts in it are undecided: they only extend it.
    at = Math.max(at, this.#coveredTo);
    const matches = this.#matches.sort(inOrder);
    let count = 0;
    for (const { start, end, category } of matches) {
      if (start >= to) break;
      count++;
      if (start < at) put("covered", end);
      else {
        put("pass", start);
        put("match", end, category);
      }
      this.#coveredTo = Math.max(this.#coveredTo, end);
    }
    put("pass", to);
    const cut = Math.max(0, to - LEFT_CONTEXT);
    this.#buffer = this.#buffer.slice(cut);
    this.#from = to - cut;
    this.#coveredTo = Math.max(0, this.#coveredTo - cut);
    for (const reader of this.#readers) reader.at -= cut;
    const later = matches.slice(count);
    this.#matches =
      cut === 0 ? later : later.map(({ start, end, category }) => ({ start: start - cut, end: end - cut, category }));
    return pieces;
  }
}

/** A scanner, and where in the buffer it goes on. */
interface Reader {
  readonly scanner: Scanner;
  at: number;
}

/** By start; at one place the longest first, then by name, so that the order in which scanners run says nothing. */
function inOrder(a: Match, b: Match): number {
  return a.start - b.start || b.end - a.end || (a.category < b.category ? -1 : a.category > b.category ? 1 : 0);
}

/** All matches of a whole text, in order, overlapping ones made one. */
export function matchesIn(text: string, scanners: readonly Scanner[]): Match[] {
  const found: { start: number; end: number; category: string }[] = [];
  let at = 0;
  for (const { kind, length, category = "" } of new SpanFeed(scanners).push(text, true)) {
    const last = found.at(-1);
    if (kind === "match") found.push({ start: at, end: at + length, category });
    else if (kind === "covered" && last) last.end = at + length;
    at += length;
  }
  return found;
}
