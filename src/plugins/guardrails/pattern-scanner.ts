import type { Attempt, LinearPattern } from "./linear-pattern.js";
import type { ReportMatch, Scanner } from "./scanner.js";

/** Something to be found by its form. */
export interface FormRule {
  readonly category: string;
  readonly pattern: LinearPattern;
  /** Characters that must not stand right before a match; `undefined`: any may. */
  readonly notAfter?: ((unit: number) => boolean) | undefined;
  /** Characters that must not follow a match. */
  readonly notBefore?: ((unit: number) => boolean) | undefined;
  /** What the form alone does not say: checksums, ranges. */
  readonly isReal?: ((text: string) => boolean) | undefined;
}

const NO_RULES: readonly FormRule[] = [];
/** Code units of ASCII; one more stands for all others, and for the begin of a text. */
const ASCII = 128;

/** Finds what has one of several forms. At each place the longest real match of each rule counts. */
export class PatternScanner implements Scanner {
  /**
   * By the character before a place and the one at it: the rules whose matches can begin there. Most places have none,
   * and cost this one look.
   */
  readonly #candidates: readonly (readonly FormRule[])[];
  readonly #beyondAscii: readonly FormRule[];

  constructor(rules: readonly FormRule[]) {
    const resolved = rules.map((rule) => ({
      ...rule,
      notAfter: rule.notAfter ?? (rule.pattern.startsAtBoundary ? isWord : undefined),
      notBefore: rule.notBefore ?? (rule.pattern.endsAtBoundary ? isWord : undefined),
    }));
    const byFirst = Array.from({ length: ASCII }, (_, unit) =>
      resolved.filter(({ pattern }) => pattern.canStartWith(unit)),
    );
    this.#candidates = Array.from({ length: (ASCII + 1) * ASCII }, (_, place) => {
      const before = Math.floor(place / ASCII);
      const first = byFirst[place % ASCII] ?? [];
      if (before === ASCII || first.length === 0) return first;
      const candidates = first.filter(({ notAfter }) => !notAfter?.(before));
      return candidates.length === 0 ? NO_RULES : candidates;
    });
    this.#beyondAscii = resolved.filter(({ pattern }) => pattern.canStartBeyondAscii);
  }

  forOneText(): Scanner {
    /** Of the place where the last scan stopped: what the rules have read there. */
    const attempts: Attempt[] = [];
    return { scan: (text, from, isEnd, report) => this.#scan(text, from, isEnd, report, attempts) };
  }

  scan(text: string, from: number, isEnd: boolean, report: ReportMatch): number {
    return this.#scan(text, from, isEnd, report, []);
  }

  #scan(text: string, from: number, isEnd: boolean, report: ReportMatch, attempts: Attempt[]): number {
    let before = from > 0 ? text.charCodeAt(from - 1) : ASCII;
    let unit = 0;
    for (let start = from; start < text.length; start++, before = unit) {
      unit = text.charCodeAt(start);
      const row = Math.min(before, ASCII);
      const rules = unit < ASCII ? this.#candidates[row * ASCII + unit] : this.#beyondAscii;
      if (!rules || rules.length === 0) continue;
      for (let place = 0; place < rules.length; place++) {
        const rule = rules[place]!; // in bounds
        if (start > 0 && (row === ASCII || unit >= ASCII) && rule.notAfter?.(before)) continue;
        const attempt = rule.pattern.attempt(text, start, start === from ? attempts[place] : undefined);
        attempts[place] = attempt;
        if (!isEnd && (attempt.isOpen || needsNext(rule, attempt, text.length - start))) {
          attempts.length = place + 1;
          return start;
        }
        if (attempt.lengths.length === 0) continue;
        const end = this.#realEnd(rule, attempt, text, start);
        if (end !== undefined) report(start, end, rule.category);
      }
    }
    attempts.length = 0;
    return text.length;
  }

  #realEnd(rule: FormRule, { lengths }: Attempt, text: string, start: number): number | undefined {
    for (let index = lengths.length - 1; index >= 0; index--) {
      const end = start + (lengths[index] ?? 0);
      if (end < text.length && rule.notBefore?.(text.charCodeAt(end))) continue;
      if (!rule.isReal || rule.isReal(text.slice(start, end))) return end;
    }
    return undefined;
  }
}

/** A match up to the very end of what has come: the next character has a say. */
function needsNext(rule: FormRule, { lengths }: Attempt, length: number): boolean {
  return rule.notBefore !== undefined && lengths.at(-1) === length;
}

export function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}

/** Letters of scripts beyond ASCII count as neither: texts of many languages have no spaces around numbers. */
export function isAsciiAlphanumeric(unit: number): boolean {
  return isDigit(unit) || (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a);
}

export function isWord(unit: number): boolean {
  return isAsciiAlphanumeric(unit) || unit === 0x5f;
}
