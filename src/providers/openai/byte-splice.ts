import { isHexDigit, isSimpleEscape } from "./json-escapes.js";
import type { RelayedEvents } from "./relayed-events.js";
import type { Splice } from "./splice.js";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;

/** Longer texts are quicker copied by the engine than byte by byte. */
const SHORT_COPY = 48;

const encoder = new TextEncoder();

/** What one look for events of a shape found. One object per stream: nothing is allocated to look. */
export class ByteRun {
  /** How many. */
  events = 0;
  /** UTF-16 units of the texts that they carry. */
  units = 0;
  /** Of the last literal that was read. */
  literalUnits = 0;
}

/**
 * A template that reads events and writes ours without decoding a byte: what comes in as UTF-8 goes out as UTF-8. Knows
 * events of one `data: ` line and a blank one; all others are for the reader of events.
 */
export class ByteSplice {
  readonly splice: Splice;
  /** The upstream's, with its framing: before the literal, after it, and after a second one that pads the event. */
  readonly #before: BytePattern;
  readonly #after: BytePattern;
  readonly #afterPadding: BytePattern | undefined;
  /** Ours, with our framing. */
  readonly #ownBefore: BytePattern;
  readonly #ownAfter: BytePattern;
  readonly #ownAfterPadding: BytePattern | undefined;
  /** Bytes that ours is longer by, at most. */
  readonly #growth: number;

  /** @param alike - Has the same texts after its literal. */
  private constructor(splice: Splice, alike: ByteSplice | undefined) {
    const { event, ours } = splice.texts;
    const [before, after, afterPadding] = event;
    const [ownBefore, ownAfter, ownAfterPadding] = ours;
    const isPadded = afterPadding !== undefined;
    this.splice = splice;
    this.#before = new BytePattern(`data: ${before}`);
    this.#ownBefore = ownBefore === before ? this.#before : new BytePattern(`data: ${ownBefore}`);
    if (alike) {
      this.#after = alike.#after;
      this.#afterPadding = alike.#afterPadding;
      this.#ownAfter = alike.#ownAfter;
      this.#ownAfterPadding = alike.#ownAfterPadding;
    } else {
      this.#after = new BytePattern(isPadded ? after : `${after}\n\n`);
      this.#afterPadding = isPadded ? new BytePattern(`${afterPadding}\n\n`) : undefined;
      this.#ownAfter = new BytePattern(isPadded ? ownAfter : `${ownAfter}\n\n`);
      this.#ownAfterPadding = isPadded ? new BytePattern(`${ownAfterPadding}\n\n`) : undefined;
    }
    const theirs = this.#before.length + this.#after.length + (this.#afterPadding?.length ?? 0);
    const own = this.#ownBefore.length + this.#ownAfter.length + (this.#ownAfterPadding?.length ?? 0);
    this.#growth = Math.max(0, own - theirs);
  }

  /** @returns `undefined` where the event came in several lines, or with half a surrogate pair that UTF-8 cannot have. */
  static of(splice: Splice): ByteSplice | undefined {
    const { event, ours } = splice.texts;
    for (const text of event) if (text !== undefined && !isPlain(text)) return undefined;
    for (const text of ours) if (!isPlain(text)) return undefined;
    return new ByteSplice(splice, undefined);
  }

  /** Of a template that differs from this one's in nothing but what comes before its literal, and there in plain text. */
  like(splice: Splice): ByteSplice {
    return new ByteSplice(splice, this);
  }

  /**
   * Writes what becomes of the events from `start` on that have this shape, are complete and carry text; `run` says how
   * many there were.
   *
   * @param view - Of the same bytes.
   * @returns where the first event begins that is none of them.
   */
  relay(bytes: Uint8Array, view: DataView, start: number, out: RelayedEvents, run: ByteRun): number {
    run.events = 0;
    run.units = 0;
    const before = this.#before;
    const after = this.#after;
    const afterPadding = this.#afterPadding;
    for (let from = start; ; ) {
      if (!before.isAt(bytes, view, from)) return from;
      const text = from + before.length;
      const end = endOfLiteral(bytes, text, run);
      // An event without text yields no chunk: not for us.
      if (end <= text || !after.isAt(bytes, view, end)) return from;
      const units = run.literalUnits;
      let next = end + after.length;
      let paddingEnd = next;
      if (afterPadding !== undefined) {
        paddingEnd = endOfLiteral(bytes, next, run);
        // Padding is plain letters.
        if (paddingEnd === -1 || run.literalUnits !== paddingEnd - next) return from;
        if (!afterPadding.isAt(bytes, view, paddingEnd)) return from;
        next = paddingEnd + afterPadding.length;
      }
      out.reserve(next - from + this.#growth);
      out.length = this.#write(bytes, text, end, paddingEnd, out);
      run.events += 1;
      run.units += units;
      from = next;
    }
  }

  /** @returns where the event ends that it has written. */
  #write(bytes: Uint8Array, text: number, end: number, paddingEnd: number, out: RelayedEvents): number {
    const written = out.bytes;
    const { view } = out;
    let at = this.#ownBefore.write(written, view, out.length);
    at = copy(bytes, text, end, written, at);
    at = this.#ownAfter.write(written, view, at);
    if (this.#ownAfterPadding === undefined) return at;
    at = copy(bytes, end + this.#after.length, paddingEnd, written, at);
    return this.#ownAfterPadding.write(written, view, at);
  }
}

const BYTES_PER_WORD = 8;

/**
 * Bytes that are looked for and written eight at a time, as the double that they are: three times as fast as one by one,
 * or as the engine's own comparison. The last word overlaps the one before where the length wants it.
 *
 * That is exact. Doubles that are equal have the same bits, but for zeros, and a text of JSON has no NUL to make one of.
 * None of its words is no number, whose bits an engine may change: that would take 7F or FF after the first byte of a
 * character. What is compared with it may be anything: a word that is no number equals nothing.
 */
class BytePattern {
  readonly length: number;
  readonly #bytes: Uint8Array;
  readonly #words: Float64Array;

  constructor(text: string) {
    const bytes = encoder.encode(text);
    const { length } = bytes;
    this.length = length;
    this.#bytes = bytes;
    const words = new Float64Array(length < BYTES_PER_WORD ? 0 : Math.ceil(length / BYTES_PER_WORD));
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    for (let index = 0; index < words.length; index++) {
      words[index] = view.getFloat64(Math.min(index * BYTES_PER_WORD, length - BYTES_PER_WORD), true);
    }
    this.#words = words;
  }

  isAt(bytes: Uint8Array, view: DataView, start: number): boolean {
    const { length } = this;
    if (start + length > bytes.length) return false;
    const words = this.#words;
    const last = words.length - 1;
    if (last < 0) return this.#isAtSlowly(bytes, start);
    for (let index = 0, at = start; index < last; index++, at += BYTES_PER_WORD) {
      if (view.getFloat64(at, true) !== words[index]) return false;
    }
    return view.getFloat64(start + length - BYTES_PER_WORD, true) === words[last];
  }

  #isAtSlowly(bytes: Uint8Array, start: number): boolean {
    const own = this.#bytes;
    for (let index = 0; index < own.length; index++) if (bytes[start + index] !== own[index]) return false;
    return true;
  }

  /** @returns where it ends. */
  write(out: Uint8Array, view: DataView, start: number): number {
    const words = this.#words;
    const last = words.length - 1;
    const end = start + this.length;
    if (last < 0) {
      out.set(this.#bytes, start);
      return end;
    }
    // In bounds.
    for (let index = 0, at = start; index < last; index++, at += BYTES_PER_WORD) {
      view.setFloat64(at, words[index]!, true);
    }
    view.setFloat64(end - BYTES_PER_WORD, words[last]!, true);
    return end;
  }
}

/** Whether the text is one line and can be written as UTF-8: no half of a surrogate pair. */
function isPlain(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit === 0x0a || unit === 0x0d || isLowSurrogate(unit)) return false;
    if (unit >= 0xd800 && unit <= 0xdbff && !isLowSurrogate(text.charCodeAt(++index))) return false;
  }
  return true;
}

const isLowSurrogate = (unit: number) => unit >= 0xdc00 && unit <= 0xdfff;

function copy(bytes: Uint8Array, from: number, end: number, out: Uint8Array, start: number): number {
  const length = end - from;
  if (length > SHORT_COPY) out.set(bytes.subarray(from, end), start);
  // In bounds.
  else for (let index = 0; index < length; index++) out[start + index] = bytes[from + index]!;
  return start + length;
}

/**
 * The end of the string literal whose inside begins at `from`: the index of its closing quote; -1 if it is no literal, not
 * complete, or no UTF-8.
 */
function endOfLiteral(bytes: Uint8Array, from: number, run: ByteRun): number {
  /** Bytes beyond the UTF-16 units that they stand for. */
  let spare = 0;
  const { length } = bytes;
  for (let index = from; index < length; index++) {
    const byte = bytes[index]!; // in bounds
    if (byte === QUOTE) {
      run.literalUnits = index - from - spare;
      return index;
    }
    if (byte < 0x20) return -1;
    if (byte === BACKSLASH) {
      const escaped = bytes[++index];
      if (escaped === LOWER_U) {
        for (let digit = index + 1; digit <= index + 4; digit++) if (!isHexDigit(bytes[digit])) return -1;
        index += 4;
        spare += 5;
      } else if (isSimpleEscape(escaped)) spare += 1;
      else return -1;
    } else if (byte >= 0x80) {
      const followers = followersOf(bytes, index, byte);
      if (followers === 0) return -1;
      index += followers;
      // Characters of four bytes are surrogate pairs.
      spare += followers === 3 ? 2 : followers;
    }
  }
  return -1;
}

/** Bytes that belong to the lead byte at `index`; 0 where they are not well-formed (Unicode, table 3-7). */
function followersOf(bytes: Uint8Array, index: number, lead: number): number {
  const second = bytes[index + 1] ?? 0;
  if (lead >= 0xc2 && lead <= 0xdf) return isFollower(second) ? 1 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    // Neither longer than need be nor half a surrogate pair.
    const isSecond = second >= (lead === 0xe0 ? 0xa0 : 0x80) && second <= (lead === 0xed ? 0x9f : 0xbf);
    return isSecond && isFollower(bytes[index + 2]) ? 2 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const isSecond = second >= (lead === 0xf0 ? 0x90 : 0x80) && second <= (lead === 0xf4 ? 0x8f : 0xbf);
    return isSecond && isFollower(bytes[index + 2]) && isFollower(bytes[index + 3]) ? 3 : 0;
  }
  return 0;
}

function isFollower(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
