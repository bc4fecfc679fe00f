import { isHexDigit, isSimpleEscape } from "./json-escapes.js";
import type { Splice, SpliceHit } from "./splice.js";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;

/** Longer texts are quicker copied by the engine than byte by byte. */
const SHORT_COPY = 32;

const encoder = new TextEncoder();

/**
 * A template that reads events and writes ours without decoding a byte: what comes in as UTF-8 goes out as UTF-8. Knows
 * events of one `data: ` line and a blank one; all others are for the reader of events.
 */
export class ByteSplice {
  readonly splice: Splice;
  /** The upstream's, with its framing: before the literal, after it, and after a second one that pads the event. */
  readonly #before: DataView;
  readonly #after: DataView;
  readonly #afterPadding: DataView | undefined;
  /** Ours, with our framing. */
  readonly #ownBefore: Uint8Array;
  readonly #ownAfter: Uint8Array;
  readonly #ownAfterPadding: Uint8Array;
  /** Bytes that ours is longer by, at most. */
  readonly growth: number;

  private constructor(splice: Splice) {
    const { event, ours } = splice.texts;
    const [before, after, afterPadding] = event;
    const [ownBefore, ownAfter, ownAfterPadding] = ours;
    const isPadded = afterPadding !== undefined;
    this.splice = splice;
    this.#before = viewOf(`data: ${before}`);
    this.#after = viewOf(isPadded ? after : `${after}\n\n`);
    this.#afterPadding = isPadded ? viewOf(`${afterPadding}\n\n`) : undefined;
    this.#ownBefore = encoder.encode(`data: ${ownBefore}`);
    this.#ownAfter = encoder.encode(isPadded ? ownAfter : `${ownAfter}\n\n`);
    this.#ownAfterPadding = encoder.encode(isPadded ? `${ownAfterPadding}\n\n` : "");
    const theirs = this.#before.byteLength + this.#after.byteLength + (this.#afterPadding?.byteLength ?? 0);
    const own = this.#ownBefore.length + this.#ownAfter.length + this.#ownAfterPadding.length;
    this.growth = Math.max(0, own - theirs);
  }

  /** @returns `undefined` where the event came in several lines, or with half a surrogate pair that UTF-8 cannot have. */
  static of(splice: Splice): ByteSplice | undefined {
    const { event, ours } = splice.texts;
    const isPlain = [...event, ...ours].every((text = "") => !/[\r\n\p{Surrogate}]/u.test(text));
    return isPlain ? new ByteSplice(splice) : undefined;
  }

  /**
   * Whether the event that begins at `start` has this shape, is complete and carries text; then `hit` says where.
   *
   * @param view - Of the same bytes.
   * @returns where it ends, -1 otherwise.
   */
  fits(bytes: Uint8Array, view: DataView, start: number, hit: SpliceHit): number {
    if (!hasAt(view, start, this.#before)) return -1;
    const from = start + this.#before.byteLength;
    const end = endOfLiteral(bytes, from, hit);
    // An event without text yields no chunk: not for us.
    if (end <= from || !hasAt(view, end, this.#after)) return -1;
    hit.from = from;
    hit.end = end;
    const rest = end + this.#after.byteLength;
    return this.#afterPadding === undefined ? rest : this.#endOfPadding(bytes, view, rest, this.#afterPadding, hit);
  }

  #endOfPadding(bytes: Uint8Array, view: DataView, from: number, afterPadding: DataView, hit: SpliceHit): number {
    const { units } = hit;
    const end = endOfLiteral(bytes, from, hit);
    // Padding is plain letters.
    const isPlain = end !== -1 && hit.units === end - from;
    hit.units = units;
    hit.paddingFrom = from;
    hit.paddingEnd = end;
    return isPlain && hasAt(view, end, afterPadding) ? end + afterPadding.byteLength : -1;
  }

  /** Writes the event that a fitting one becomes. @returns where it ends. */
  write(bytes: Uint8Array, hit: SpliceHit, out: Uint8Array, start: number): number {
    out.set(this.#ownBefore, start);
    let at = copy(bytes, hit.from, hit.end, out, start + this.#ownBefore.length);
    out.set(this.#ownAfter, at);
    at += this.#ownAfter.length;
    if (this.#afterPadding === undefined) return at;
    at = copy(bytes, hit.paddingFrom, hit.paddingEnd, out, at);
    out.set(this.#ownAfterPadding, at);
    return at + this.#ownAfterPadding.length;
  }
}

function viewOf(text: string): DataView {
  const bytes = encoder.encode(text);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Four bytes at a time, wherever they lie: twice as fast as one by one, or as the engine's own comparison. */
function hasAt(view: DataView, start: number, part: DataView): boolean {
  const length = part.byteLength;
  if (start + length > view.byteLength) return false;
  let index = 0;
  for (; index + 4 <= length; index += 4) if (view.getInt32(start + index) !== part.getInt32(index)) return false;
  for (; index < length; index++) if (view.getUint8(start + index) !== part.getUint8(index)) return false;
  return true;
}

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
function endOfLiteral(bytes: Uint8Array, from: number, hit: SpliceHit): number {
  /** Bytes beyond the UTF-16 units that they stand for. */
  let spare = 0;
  const { length } = bytes;
  for (let index = from; index < length; index++) {
    const byte = bytes[index]!; // in bounds
    if (byte === QUOTE) {
      hit.units = index - from - spare;
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
