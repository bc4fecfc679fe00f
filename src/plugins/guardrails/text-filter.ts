import { type Piece, type Scanner, SpanFeed } from "./scanner.js";

/** What stands in a text instead of a match, which is given as it is meant. Must not need escaping in JSON. */
export type PlaceholderOf = (category: string, original: string) => string;

/** Called once for each match, as soon as it is certain. May throw to end the text there: nothing of the match is out. */
export type OnMatch = (category: string) => void;

/** Rewrites one text as it comes. The texts that it returns, joined, are the same however the text was cut. */
export interface TextFilter {
  /** How many characters of it are kept, about. */
  readonly heldLength: number;
  push(text: string): string | Promise<string>;
  /** The rest; to be called once, at the end. */
  end(): string | Promise<string>;
}

/** Replaces matches in plain text. */
export class TextMasker implements TextFilter {
  readonly #feed: SpanFeed;
  readonly #placeholderOf: PlaceholderOf;
  readonly #onMatch: OnMatch;
  #held = "";
  /** A match that others may extend; its placeholder is put before whatever comes next. */
  #open: { readonly category: string; original: string } | undefined;

  constructor(scanners: readonly Scanner[], placeholderOf: PlaceholderOf, onMatch: OnMatch) {
    this.#feed = new SpanFeed(scanners);
    this.#placeholderOf = placeholderOf;
    this.#onMatch = onMatch;
  }

  get heldLength(): number {
    return this.#held.length + (this.#open?.original.length ?? 0);
  }

  push(text: string): string {
    return this.#take(text, false);
  }

  end(): string {
    return this.#take("", true);
  }

  #take(text: string, isEnd: boolean): string {
    this.#held += text;
    let out = "";
    let at = 0;
    for (const { kind, length, category = "" } of this.#feed.push(text, isEnd)) {
      const text = this.#held.slice(at, at + length);
      at += length;
      if (kind === "covered") {
        if (this.#open) this.#open.original += text;
        continue;
      }
      out += this.#close();
      if (kind === "pass") out += text;
      else {
        this.#onMatch(category);
        this.#open = { category, original: text };
      }
    }
    this.#held = this.#held.slice(at);
    return isEnd ? out + this.#close() : out;
  }

  #close(): string {
    const open = this.#open;
    this.#open = undefined;
    return open ? this.#placeholderOf(open.category, open.original) : "";
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ESCAPES: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** Characters of a text as they are meant, and as they are written: longer where they are escaped. */
class WrittenText {
  #written = "";
  /** Characters that were taken, as they are meant. */
  #taken = 0;
  /** Where the escapes are among the characters that are meant, and how much longer each of them is written. */
  #escapes: { readonly at: number; readonly surplus: number }[] = [];
  #nextEscape = 0;
  #length = 0;

  /** What has not been taken, as it is written. */
  get length(): number {
    return this.#written.length;
  }

  add(text: string): void {
    this.#written += text;
    this.#length += text.length;
  }

  /** @param meant - One character. */
  addEscape(written: string, meant: string): void {
    if (written.length > meant.length) {
      this.#escapes.push({ at: this.#length, surplus: written.length - meant.length });
    }
    this.#written += written;
    this.#length += meant.length;
  }

  /** Takes the first characters, as they are written. */
  take(count: number): string {
    let end = count;
    this.#taken += count;
    for (;;) {
      const next = this.#escapes[this.#nextEscape];
      if (!next || next.at >= this.#taken) break;
      end += next.surplus;
      this.#nextEscape++;
    }
    if (this.#nextEscape === this.#escapes.length && this.#nextEscape > 0) {
      this.#escapes = [];
      this.#nextEscape = 0;
    }
    const taken = this.#written.slice(0, end);
    this.#written = this.#written.slice(end);
    return taken;
  }
}

/**
 * Replaces matches in JSON that is written as text, so that JSON stays JSON.
 *
 * Each string of it is read with its escapes undone: `\u0040` is as good an `@` as any, and the `n` of `\n` belongs to no
 * word. Outside of strings, where numbers are, placeholders come with quotes. Text that is no JSON is read, too.
 */
export class JsonMasker implements TextFilter {
  readonly #placeholderOf: PlaceholderOf;
  readonly #onMatch: OnMatch;
  readonly #outer: SpanFeed;
  readonly #outsideText = new WrittenText();
  /** One for all strings, one after the other. */
  readonly #inner: SpanFeed;
  readonly #insideText = new WrittenText();
  #isInside = false;
  /** An escape that has not come whole. */
  #escape = "";
  /** A minus that belongs to the number after it, which may become a placeholder. */
  #minus = "";
  #isBehindNumber = false;
  /** A match that others may extend. */
  #open: { readonly category: string; readonly isOuter: boolean; written: string } | undefined;

  constructor(scanners: readonly Scanner[], placeholderOf: PlaceholderOf, onMatch: OnMatch) {
    this.#placeholderOf = placeholderOf;
    this.#onMatch = onMatch;
    this.#outer = new SpanFeed(scanners);
    this.#inner = new SpanFeed(scanners);
  }

  get heldLength(): number {
    const { length: open } = this.#open?.written ?? "";
    return this.#outsideText.length + this.#insideText.length + this.#escape.length + open;
  }

  push(text: string): string {
    const source = this.#escape + text;
    this.#escape = "";
    let out = "";
    let at = 0;
    while (at < source.length) {
      if (!this.#isInside) {
        const quote = source.indexOf('"', at);
        const end = quote === -1 ? source.length : quote;
        if (end > at) out += this.#pushOuter(source.slice(at, end));
        at = end;
        if (quote === -1) break;
        // A quote ends every number and word before it, and is part of none.
        out += `${this.#endOuter()}"`;
        at++;
        this.#isInside = true;
        continue;
      }
      // A whole run in one go: what a match may still become is not looked at anew with each escape.
      const meant = this.#readInner(source, at);
      at = meant.end;
      const isClosed = source.charCodeAt(at) === QUOTE;
      if (meant.text !== "" || this.#inner.heldLength > 0 || this.#open) out += this.#pushInner(meant.text, isClosed);
      if (!isClosed) {
        this.#escape = source.slice(at);
        break;
      }
      out += '"';
      this.#isInside = false;
      this.#inner.reset();
      at++;
    }
    return out;
  }

  /** @returns what the characters up to a quote, to an escape that has not come whole or to the end mean. */
  #readInner(source: string, from: number): { readonly text: string; readonly end: number } {
    let text = "";
    let at = from;
    let plainFrom = from;
    const takePlain = () => {
      if (at === plainFrom) return;
      const plain = source.slice(plainFrom, at);
      this.#insideText.add(plain);
      text += plain;
    };
    while (at < source.length) {
      const unit = source.charCodeAt(at);
      if (unit === QUOTE) break;
      if (unit !== BACKSLASH) {
        at++;
        continue;
      }
      const length = escapeLength(source, at);
      if (length === undefined) break;
      takePlain();
      const written = source.slice(at, at + length);
      const meant = meaningOf(written);
      this.#insideText.addEscape(written, meant);
      text += meant;
      at += length;
      plainFrom = at;
    }
    takePlain();
    return { text, end: at };
  }

  end(): string {
    let out = "";
    if (this.#isInside) {
      // A backslash that escapes nothing stands for itself.
      this.#insideText.add(this.#escape);
      out += this.#pushInner(this.#escape, true);
      this.#isInside = false;
    }
    out += this.#endOuter();
    this.#escape = "";
    return out;
  }

  /** @param meant - Of what has been added to the text inside. */
  #pushInner(meant: string, isEnd: boolean): string {
    let out = "";
    for (const piece of this.#inner.push(meant, isEnd)) out += this.#render(piece, this.#insideText, false);
    return isEnd ? out + this.#close() : out;
  }

  #pushOuter(text: string): string {
    let out = "";
    this.#outsideText.add(text);
    for (const piece of this.#outer.push(text, false)) out += this.#render(piece, this.#outsideText, true);
    return out;
  }

  #endOuter(): string {
    let out = "";
    if (this.#outer.heldLength > 0) {
      for (const piece of this.#outer.push("", true)) out += this.#render(piece, this.#outsideText, true);
    }
    this.#outer.reset();
    out += this.#close();
    // After the rest of a number that was replaced there is nothing left to swallow.
    out += this.#minus;
    this.#minus = "";
    this.#isBehindNumber = false;
    return out;
  }

  #render({ kind, length, category = "" }: Piece, text: WrittenText, isOuter: boolean): string {
    const written = text.take(length);
    if (kind === "covered") {
      if (this.#open) this.#open.written += written;
      return "";
    }
    const before = this.#close();
    if (kind === "pass") return before + (isOuter ? this.#passOuter(written) : written);
    this.#onMatch(category);
    this.#open = { category, isOuter, written };
    return before;
  }

  #close(): string {
    const open = this.#open;
    if (!open) return "";
    this.#open = undefined;
    const placeholder = this.#placeholderOf(open.category, open.isOuter ? open.written : meantBy(open.written));
    if (!open.isOuter) return placeholder;
    this.#minus = "";
    this.#isBehindNumber = true;
    return `"${placeholder}"`;
  }

  #passOuter(written: string): string {
    let text = written;
    if (this.#isBehindNumber) {
      text = text.replace(/^[-+.\deE]+/, "");
      this.#isBehindNumber = text === "";
    }
    text = this.#minus + text;
    this.#minus = "";
    if (!text.endsWith("-")) return text;
    this.#minus = "-";
    return text.slice(0, -1);
  }
}

/** @returns `undefined` if more must come. An escape that is none is as long as its backslash. */
function escapeLength(source: string, at: number): number | undefined {
  const letter = source[at + 1];
  if (letter === undefined) return undefined;
  if (letter !== "u") return /["\\/bfnrt]/.test(letter) ? 2 : 1;
  const digits = source.slice(at + 2, at + 6);
  if (!/^[0-9a-fA-F]*$/.test(digits)) return 1;
  return digits.length === 4 ? 6 : undefined;
}

function meaningOf(written: string): string {
  if (written.length === 6) return String.fromCharCode(Number.parseInt(written.slice(2), 16));
  const letter = written[1];
  if (letter === undefined) return written;
  return ESCAPES[letter] ?? letter;
}

/** The inside of a JSON string with its escapes undone. */
function meantBy(written: string): string {
  try {
    return String(JSON.parse(`"${written}"`));
  } catch {
    return written;
  }
}
