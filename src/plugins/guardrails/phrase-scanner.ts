import type { ReportMatch, Scanner } from "./scanner.js";

export interface Phrase {
  readonly text: string;
  readonly category: string;
}

interface PhraseNode {
  readonly next: Map<number, PhraseNode>;
  readonly depth: number;
  /** The longest end of this one's text that is a begin of another. */
  fail: PhraseNode | undefined;
  /** The nearest on the way of `fail` that is a whole phrase. */
  shorter: PhraseNode | undefined;
  phrase: Phrase | undefined;
}

/** How many times longer than its phrase a match may be written, with spaces and invisible characters in it. */
const MAX_STRETCH = 4;
const SPARE_LENGTH = 32;
const WORD = /^[\p{L}\p{N}\p{M}_]/u;
/** Written without spaces between words, so that a word may begin after any letter. */
const UNSPACED =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/**
 * Finds phrases in time linear in the text (Aho–Corasick). Case, compatibility forms (full width, ligatures, composed
 * and decomposed accents), the kind and number of spaces, and invisible characters make no difference.
 *
 * @see https://en.wikipedia.org/wiki/Aho%E2%80%93Corasick_algorithm
 */
export class PhraseScanner implements Scanner {
  /** Steps of the automaton so far: what its cost is measured by. */
  steps = 0;
  readonly #root: PhraseNode = nodeAt(0);
  readonly #isWholeWords: boolean;
  #maxDepth = 0;

  /** @param isWholeWords - A phrase that begins or ends inside of a word is none. */
  constructor(phrases: readonly Phrase[], isWholeWords: boolean) {
    this.#isWholeWords = isWholeWords;
    for (const phrase of phrases) {
      let node = this.#root;
      const written = phrase.text.trim();
      normalise(written, 0, written.length, (unit) => {
        let next = node.next.get(unit);
        if (!next) node.next.set(unit, (next = nodeAt(node.depth + 1)));
        node = next;
      });
      node.phrase ??= phrase;
    }
    this.#link();
  }

  scan(text: string, from: number, isEnd: boolean, report: ReportMatch): number {
    const readTo = isEnd ? text.length : wholeLength(text);
    /** Where the last characters began, as many as the longest phrase has. */
    const starts = new Int32Array(this.#maxDepth + 1);
    let count = 0;
    let node = this.#root;
    let decided = readTo;
    const startOf = (depth: number) => starts[(count - depth) % starts.length] ?? from;
    normalise(text, from, readTo, (unit, unitStart, end) => {
      starts[count++ % starts.length] = unitStart;
      node = this.#follow(node, unit);
      for (let found: PhraseNode | undefined = node.phrase ? node : node.shorter; found; found = found.shorter) {
        const start = startOf(found.depth);
        if (end - start > lengthLimit(found.depth)) continue;
        // The next character has a say about where the word ends.
        if (!isEnd && end >= readTo) decided = Math.min(decided, start);
        else if (this.#isAlone(text, start, end)) report(start, end, found.phrase?.category ?? "");
      }
    });
    if (isEnd) return text.length;
    for (let open: PhraseNode | undefined = node; open && open.depth > 0; open = open.fail) {
      if (open.next.size === 0) continue;
      const start = startOf(open.depth);
      if (readTo - start > lengthLimit(this.#maxDepth)) continue;
      if (this.#isWholeWords && !isWordStart(text, start)) continue;
      return Math.min(decided, start);
    }
    return decided;
  }

  #link(): void {
    let row = [this.#root];
    while (row.length > 0) {
      const below: PhraseNode[] = [];
      for (const node of row) {
        this.#maxDepth = Math.max(this.#maxDepth, node.depth);
        for (const [unit, child] of node.next) {
          child.fail = node === this.#root ? this.#root : this.#follow(node.fail ?? this.#root, unit);
          child.shorter = child.fail.phrase ? child.fail : child.fail.shorter;
          below.push(child);
        }
      }
      row = below;
    }
  }

  #follow(from: PhraseNode, unit: number): PhraseNode {
    let node: PhraseNode | undefined = from;
    for (; node; node = node.fail) {
      this.steps++;
      const next = node.next.get(unit);
      if (next) return next;
    }
    return this.#root;
  }

  #isAlone(text: string, start: number, end: number): boolean {
    return !this.#isWholeWords || (isWordStart(text, start) && isWordEnd(text, end));
  }
}

function nodeAt(depth: number): PhraseNode {
  return { next: new Map(), depth, fail: undefined, shorter: undefined, phrase: undefined };
}

/** Of a match, by the normalised length of its phrase. */
function lengthLimit(depth: number): number {
  return depth * MAX_STRETCH + SPARE_LENGTH;
}

function isWordStart(text: string, start: number): boolean {
  return !joins(characterBefore(text, start), characterAt(text, start));
}

function isWordEnd(text: string, end: number): boolean {
  return !joins(characterBefore(text, end), characterAt(text, end));
}

/** Whether two characters belong to one word. */
function joins(left: string, right: string): boolean {
  if (left === "" || right === "" || !WORD.test(left) || !WORD.test(right)) return false;
  return !UNSPACED.test(left) && !UNSPACED.test(right);
}

function characterAt(text: string, at: number): string {
  const point = text.codePointAt(at);
  return point === undefined ? "" : String.fromCodePoint(point);
}

function characterBefore(text: string, at: number): string {
  if (at === 0) return "";
  const unit = text.charCodeAt(at - 1);
  const isLow = unit >= 0xdc00 && unit <= 0xdfff;
  return isLow && at > 1 ? characterAt(text, at - 2) : text.charAt(at - 1);
}

const SPACE = 0x20;

/** Without half a character at its end. */
function wholeLength(text: string): number {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last <= 0xdbff ? text.length - 1 : text.length;
}

/**
 * Character by character, so that a text gives the same wherever it is cut.
 *
 * @param put - Gets each normalised code unit, and where the character that it comes from begins and ends.
 */
function normalise(
  text: string,
  from: number,
  to: number,
  put: (unit: number, start: number, end: number) => void,
): void {
  let isBehindSpace = false;
  const putOnce = (unit: number, start: number, end: number) => {
    if (unit === SPACE && isBehindSpace) return;
    isBehindSpace = unit === SPACE;
    put(unit, start, end);
  };
  let at = from;
  while (at < to) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) {
      const isCapital = unit >= 0x41 && unit <= 0x5a;
      putOnce(isCapital ? unit + 0x20 : Math.max(unit, SPACE), at, at + 1);
      at++;
      continue;
    }
    const character = characterAt(text, at);
    const end = at + character.length;
    if (/^\s/.test(character)) putOnce(SPACE, at, end);
    else if (!/^(?:\p{Cf}|\p{Variation_Selector})/u.test(character)) {
      const folded = character.normalize("NFKD").toUpperCase().toLowerCase().normalize("NFKD");
      for (let place = 0; place < folded.length; place++) putOnce(folded.charCodeAt(place), at, end);
    }
    at = end;
  }
}
