import { type Piece, type Scanner, SpanFeed } from "./scanner.js";

/** What stands in a text instead of a match, which is given as it is meant. Must not need escaping in JSON. */
export type PlaceholderOf = (category: string, original: string) => string;

/** Called once for each match, as soon as it is certain. May throw to end the text there: nothing of the match is out. */
export type OnMatch = (category: string) => void;

/** Rewrites one text as it comes. The texts that it returns, joined, are the same however the text was cut. */
export interface TextFilter {
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
  /** Per character how long it is written; `undefined` while each is written as itself. */
  #lengths: number[] | undefined;

  /** @param meant - One character if `written` is an escape. */
  add(written: string, meant: string): void {
    if (written.length !== meant.length) this.#lengths ??= new Array<number>(this.#written.length).fill(1);
    this.#written += written;
    if (!this.#lengths) return;
    if (written.length === meant.length) for (let i = 0; i < meant.length; i++) this.#lengths.push(1);
    else this.#lengths.push(written.length);
  }

  /** Takes the first characters, as they are written. */
  take(count: number): string {
    const lengths = this.#lengths?.splice(0, count);
    const end = lengths ? lengths.reduce((sum, length) => sum + length, 0) : count;
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
  readonly #scanners: readonly Scanner[];
  readonly #placeholderOf: PlaceholderOf;
  readonly #onMatch: OnMatch;
  readonly #outer: SpanFeed;
  readonly #outsideText = new WrittenText();
  #inner: SpanFeed | undefined;
  #insideText = new WrittenText();
  /** An escape that has not come whole. */
  #escape = "";
  /** A minus that belongs to the number after it, which may become a placeholder. */
  #minus = "";
  #isBehindNumber = false;
  /** A match that others may extend. */
  #open: { readonly category: string; readonly isOuter: boolean; written: string } | undefined;

  constructor(scanners: readonly Scanner[], placeholderOf: PlaceholderOf, onMatch: OnMatch) {
    this.#scanners = scanners;
    this.#placeholderOf = placeholderOf;
    this.#onMatch = onMatch;
    this.#outer = new SpanFeed(scanners);
  }

  push(text: string): string {
    const source = this.#escape + text;
    this.#escape = "";
    let out = "";
    let at = 0;
    while (at < source.length) {
      if (!this.#inner) {
        const quote = source.indexOf('"', at);
        const end = quote === -1 ? source.length : quote;
        out += this.#pushOuter(source.slice(at, end), false);
        at = end;
        if (quote === -1) break;
        // A quote ends every number and word before it: what they can become is decided with it.
        out += `${this.#pushOuter('"', false, 1)}`;
        at++;
        this.#inner = new SpanFeed(this.#scanners);
        this.#insideText = new WrittenText();
        continue;
      }
      const start = at;
      while (at < source.length && source.charCodeAt(at) !== QUOTE && source.charCodeAt(at) !== BACKSLASH) at++;
      if (at > start) out += this.#pushInner(source.slice(start, at), source.slice(start, at), false);
      if (at >= source.length) break;
      if (source.charCodeAt(at) === QUOTE) {
        out += `${this.#pushInner("", "", true)}"`;
        this.#inner = undefined;
        at++;
        continue;
      }
      const length = escapeLength(source, at);
      if (length === undefined) {
        this.#escape = source.slice(at);
        break;
      }
      const written = source.slice(at, at + length);
      out += this.#pushInner(written, meaningOf(written), false);
      at += length;
    }
    return out;
  }

  end(): string {
    let out = "";
    if (this.#inner) {
      // A backslash that escapes nothing stands for itself.
      out += this.#pushInner(this.#escape, this.#escape, true);
      this.#inner = undefined;
    }
    out += this.#pushOuter("", true);
    this.#escape = "";
    return out;
  }

  #pushInner(written: string, meant: string, isEnd: boolean): string {
    const feed = this.#inner;
    if (!feed) return "";
    this.#insideText.add(written, meant);
    let out = "";
    for (const piece of feed.push(meant, isEnd)) out += this.#render(piece, this.#insideText, false);
    return isEnd ? out + this.#close() : out;
  }

  /** @param barrier - 1: the text is a quote, before which everything is decided. */
  #pushOuter(text: string, isEnd: boolean, barrier = 0): string {
    let out = "";
    if (barrier > 0) {
      for (const piece of this.#outer.push("", true)) out += this.#render(piece, this.#outsideText, true);
    }
    this.#outsideText.add(text, text);
    for (const piece of this.#outer.push(text, isEnd || barrier > 0)) {
      out += this.#render(piece, this.#outsideText, true);
    }
    if (isEnd || barrier > 0) {
      out += this.#close();
      // After the rest of a number that was replaced there is nothing left to swallow.
      out += this.#minus;
      this.#minus = "";
      this.#isBehindNumber = false;
    }
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
