import { isAsciiAlphanumeric, isDigit } from "../pattern-scanner.js";
import type { ReportMatch, Scanner } from "../scanner.js";

/** @see https://datatracker.ietf.org/doc/html/rfc5321#section-4.5.3.1 */
const MAX_LOCAL_LENGTH = 64;
const MAX_DOMAIN_LENGTH = 253;
const DOT = 0x2e;

/**
 * Finds e-mail addresses from their `@`, which most texts do not have: the search costs next to nothing then. Before
 * it the longest run of characters counts, up to 64, whatever stands before that.
 */
export class EmailScanner implements Scanner {
  scan(text: string, from: number, isEnd: boolean, report: ReportMatch): number {
    let decided = text.length;
    if (!isEnd) {
      decided = localStart(text, from, text.length);
      if (decided < text.length && isDotOrSign(text.charCodeAt(decided))) decided = trimmed(text, decided, text.length);
    }
    for (let at = text.indexOf("@", from); at !== -1; at = text.indexOf("@", at + 1)) {
      const start = trimmed(text, localStart(text, from, at), at);
      if (start === at) continue;
      const runEnd = domainRunEnd(text, at + 1);
      if (runEnd === text.length && !isEnd && runEnd - at <= MAX_DOMAIN_LENGTH) return Math.min(decided, start);
      const end = domainEnd(text, at + 1, runEnd);
      if (end !== undefined) report(start, end, "email");
    }
    return decided;
  }
}

/** Begin of the run before `end`, within `from` and the longest local part. */
function localStart(text: string, from: number, end: number): number {
  const limit = Math.max(from, end - MAX_LOCAL_LENGTH);
  let start = end;
  while (start > limit && isLocal(text.charCodeAt(start - 1))) {
    // Two dots in a row stand in no address, but in tables of contents.
    if (start < end && text.charCodeAt(start) === DOT && text.charCodeAt(start - 1) === DOT) break;
    start--;
  }
  return start;
}

/** Addresses begin with a letter or a digit. */
function trimmed(text: string, start: number, end: number): number {
  let at = start;
  while (at < end && isDotOrSign(text.charCodeAt(at))) at++;
  return at;
}

function domainRunEnd(text: string, start: number): number {
  const limit = Math.min(text.length, start + MAX_DOMAIN_LENGTH);
  let end = start;
  while (end < limit && isDomain(text.charCodeAt(end))) end++;
  return end;
}

/** The longest domain with a name of letters at its end, two or more. */
function domainEnd(text: string, start: number, runEnd: number): number | undefined {
  const labels = text.slice(start, runEnd).split(".");
  let valid: number | undefined;
  let end = start - 1;
  for (const [place, label] of labels.entries()) {
    const kept = label.replace(/-+$/, "");
    if (kept === "" || kept.startsWith("-")) break;
    end += 1 + kept.length;
    if (place > 0 && kept.length >= 2 && !hasDigitOrDash(kept)) valid = end;
    else if (place > 0 && kept.startsWith("xn--")) valid = end;
    if (kept.length < label.length) break;
  }
  return valid;
}

function hasDigitOrDash(label: string): boolean {
  for (let at = 0; at < label.length; at++) {
    const unit = label.charCodeAt(at);
    if (isDigit(unit) || unit === 0x2d) return true;
  }
  return false;
}

/** Latin, Greek and Cyrillic letters beyond ASCII; scripts without spaces between words would add their sentence. */
function isLetterBeyondAscii(unit: number): boolean {
  return unit >= 0xc0 && unit <= 0x52f && unit !== 0xd7 && unit !== 0xf7;
}

function isDotOrSign(unit: number): boolean {
  // . _ % + ' -
  return unit === 0x2e || unit === 0x5f || unit === 0x25 || unit === 0x2b || unit === 0x27 || unit === 0x2d;
}

function isLocal(unit: number): boolean {
  return isAsciiAlphanumeric(unit) || isDotOrSign(unit) || isLetterBeyondAscii(unit);
}

function isDomain(unit: number): boolean {
  return isAsciiAlphanumeric(unit) || unit === 0x2e || unit === 0x2d || isLetterBeyondAscii(unit);
}
