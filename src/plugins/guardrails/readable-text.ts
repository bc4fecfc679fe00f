import type { InspectedText } from "./texts.js";

/** A text as it is meant, and where its characters stand in the text as it is written. */
export interface ReadableText {
  readonly text: string;
  /** Where the characters from `start` to `end` (exclusive) are written. */
  written(start: number, end: number): { readonly start: number; readonly end: number };
}

const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))/g;
const MEANINGS: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/**
 * A text for somebody else to read. JSON comes with its escapes undone, wherever they stand, for `\u0040` is as good an
 * `@` as any. Halves of characters become U+FFFD, which is as long: not every reader takes them.
 */
export function readableText({ text, format }: Pick<InspectedText, "text" | "format">): ReadableText {
  if (format !== "json" || !text.includes("\\")) {
    return { text: wellFormed(text), written: (start, end) => ({ start, end }) };
  }
  let meant = "";
  /** Per character that is meant, where it begins; and where the last one ends. */
  const starts: number[] = [];
  const add = (part: string, at: number) => {
    for (let index = 0; index < part.length; index++) starts.push(at + index);
    meant += part;
  };
  let at = 0;
  for (const { 0: written, 1: hex, 2: letter = "", index } of text.matchAll(ESCAPE)) {
    add(text.slice(at, index), at);
    add(hex ? String.fromCharCode(Number.parseInt(hex, 16)) : (MEANINGS[letter] ?? letter), index);
    at = index + written.length;
  }
  add(text.slice(at), at);
  starts.push(text.length);
  return {
    text: wellFormed(meant),
    // Where the next one begins: an escape belongs to its character whole.
    written: (start, end) => ({ start: starts[start] ?? text.length, end: starts[end] ?? text.length }),
  };
}

function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

/**
 * Offsets in UTF-16 units, from offsets in code points, as Python and others count them.
 * @returns a function that gives `undefined` for what is no offset in the text.
 */
export function codePointOffsets(text: string): (offset: number) => number | undefined {
  if (!/[\ud800-\udfff]/.test(text)) return (offset) => (isOffset(offset, text.length) ? offset : undefined);
  const offsets: number[] = [];
  let at = 0;
  for (const character of text) {
    offsets.push(at);
    at += character.length;
  }
  offsets.push(at);
  return (offset) => offsets[offset];
}

export function isOffset(offset: unknown, length: number): offset is number {
  return Number.isInteger(offset) && (offset as number) >= 0 && (offset as number) <= length; // an integer, so a number
}
