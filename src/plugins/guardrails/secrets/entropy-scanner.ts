import { isAsciiAlphanumeric } from "../pattern-scanner.js";
import type { ReportMatch, Scanner } from "../scanner.js";

export interface EntropyLimits {
  /** Shorter words are not looked at. */
  readonly minLength: number;
  /** Longer ones are data, not keys. */
  readonly maxLength: number;
  /** Shannon entropy of the characters, from which on a word counts as a key. */
  readonly bitsPerCharacter: number;
}

/** Finds words that look drawn by lot: capitals, small letters and digits, mixed evenly. */
export class EntropyScanner implements Scanner {
  constructor(private readonly limits: EntropyLimits) {}

  forOneText(): Scanner {
    /** Of the word at which the last scan stopped: how much of it has been read. */
    const word = { readLength: 0 };
    return { scan: (text, from, isEnd, report) => this.#scan(text, from, isEnd, report, word) };
  }

  scan(text: string, from: number, isEnd: boolean, report: ReportMatch): number {
    return this.#scan(text, from, isEnd, report, { readLength: 0 });
  }

  #scan(text: string, from: number, isEnd: boolean, report: ReportMatch, word: { readLength: number }): number {
    const { minLength, maxLength } = this.limits;
    let at = from;
    while (at < text.length) {
      if (!isKeyCharacter(text.charCodeAt(at))) {
        at++;
        continue;
      }
      const isBegin = at === 0 || !isKeyCharacter(text.charCodeAt(at - 1));
      const start = at;
      at += word.readLength;
      word.readLength = 0;
      while (at < text.length && isKeyCharacter(text.charCodeAt(at))) at++;
      if (!isBegin) continue;
      const length = at - start;
      if (at === text.length && !isEnd && length <= maxLength) {
        word.readLength = length;
        return start;
      }
      if (length >= minLength && length <= maxLength && this.#isKey(text.slice(start, at))) {
        report(start, at, "high-entropy");
      }
    }
    return text.length;
  }

  #isKey(word: string): boolean {
    return (
      /[a-z]/.test(word) && /[A-Z]/.test(word) && /\d/.test(word) && entropyOf(word) >= this.limits.bitsPerCharacter
    );
  }
}

/** Bits per character. */
export function entropyOf(word: string): number {
  const counts = new Map<string, number>();
  for (const character of word) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / word.length) * Math.log2(count / word.length);
  return bits;
}

function isKeyCharacter(unit: number): boolean {
  // + / = _ -
  return isAsciiAlphanumeric(unit) || unit === 0x2b || unit === 0x2f || unit === 0x3d || unit === 0x5f || unit === 0x2d;
}
