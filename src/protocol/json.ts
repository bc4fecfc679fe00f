/** JSON text from outside: checked before it is parsed. */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * Whether arrays and objects nest deeper than `maxDepth` in a JSON text (S37); `{}` has depth 1.
 *
 * Linear in the text's length and needs no stack. Of a text that is not JSON the answer means nothing: parse it next.
 */
export function exceedsDepth(text: string, maxDepth: number): boolean {
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    switch (text.charCodeAt(index)) {
      case QUOTE:
        index = endOfString(text, index);
        break;
      case OPEN_BRACKET:
      case OPEN_BRACE:
        if (++depth > maxDepth) return true;
        break;
      case CLOSE_BRACKET:
      case CLOSE_BRACE:
        depth--;
    }
  }
  return false;
}

/** Index of the quote that ends the string which begins at `start`, or the text's length. */
function endOfString(text: string, start: number): number {
  let quote = start;
  for (;;) {
    const from = quote + 1;
    quote = text.indexOf('"', from);
    if (quote === -1) return text.length;
    // The quote is escaped by an odd number of backslashes. Each is counted once, so the whole stays linear.
    let slash = quote;
    while (slash > from && text.charCodeAt(slash - 1) === BACKSLASH) slash--;
    if ((quote - slash) % 2 === 0) return quote;
  }
}

/** Whether a parsed value nests deeper than `maxDepth`, counted as {@link exceedsDepth} does. */
export function isDeeperThan(value: unknown, maxDepth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (maxDepth === 0) return true;
  for (const child of Object.values(value)) if (isDeeperThan(child, maxDepth - 1)) return true;
  return false;
}

const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/**
 * Where a text that `JSON.parse` refused stops being JSON: an index, the text's length where it ends too early.
 *
 * The engine's own message quotes the text, which may hold what must not be echoed, and often lacks the place.
 */
export function findJsonFault(text: string): number {
  /** The brackets that are open, as the characters that close them. */
  const closers: number[] = [];
  let expects: "value" | "first-item" | "first-key" | "key" | "colon" | "comma" = "value";
  let index = 0;

  const skip = (pattern: RegExp): boolean => {
    pattern.lastIndex = index;
    if (!pattern.test(text)) return false;
    index = pattern.lastIndex;
    return true;
  };
  /** Moves behind a string, or to the character that makes it none. */
  const skipString = (): boolean => {
    index++;
    while (index < text.length) {
      const character = text.charCodeAt(index);
      if (character === QUOTE) {
        index++;
        return true;
      }
      if (character === BACKSLASH) {
        if (!skip(ESCAPE)) return false;
      } else if (character < 0x20) return false;
      else index++;
    }
    return false;
  };

  for (;;) {
    skip(SPACE);
    if (index >= text.length) return text.length;
    const character = text.charCodeAt(index);
    if (expects === "colon") {
      if (text[index] !== ":") return index;
      index++;
      expects = "value";
      continue;
    }
    const closer = closers.at(-1);
    if ((expects === "comma" || expects === "first-item" || expects === "first-key") && character === closer) {
      index++;
      closers.pop();
      expects = "comma";
      continue;
    }
    if (expects === "comma") {
      if (closer === undefined || text[index] !== ",") return index;
      index++;
      expects = closer === CLOSE_BRACE ? "key" : "value";
      continue;
    }
    if (expects === "key" || expects === "first-key") {
      if (character !== QUOTE || !skipString()) return index;
      expects = "colon";
      continue;
    }
    if (character === OPEN_BRACE || character === OPEN_BRACKET) {
      index++;
      closers.push(character === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET);
      expects = character === OPEN_BRACE ? "first-key" : "first-item";
      continue;
    }
    if (character === QUOTE ? !skipString() : !skip(SCALAR)) return index;
    expects = "comma";
  }
}
