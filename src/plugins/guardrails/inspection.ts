import type { PluginRequest } from "../plugin.js";
import { CATEGORY } from "./options.js";
import { matchesIn, type Scanner } from "./scanner.js";
import { JsonMasker, TextMasker } from "./text-filter.js";
import type { InspectedText } from "./texts.js";

/** Something that a guardrail found. */
export interface Finding {
  /** Place in the list of texts. */
  readonly text: number;
  /** What it is, in a word or two that quote nothing. */
  readonly category: string;
  /** Where it begins and ends (exclusive) in the text; without both the whole text is meant. */
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  /** What stands there instead, rather than a placeholder. A reply whose findings all have one need not be blocked. */
  readonly replacement?: string | undefined;
}

export interface InspectionContext {
  readonly request: PluginRequest;
  readonly side: "request" | "reply";
  /** Aborts when the caller leaves or the time of the request is over. */
  readonly signal: AbortSignal;
}

/** How a guardrail looks at texts. */
export type Inspection =
  | {
      /** By scanners, which say the same of a stream as of the whole text. */
      readonly kind: "scan";
      readonly scanners: readonly Scanner[];
    }
  | {
      /** By a function, which may ask somebody else. */
      readonly kind: "check";
      readonly check: (
        texts: readonly InspectedText[],
        context: InspectionContext,
      ) => readonly Finding[] | Promise<readonly Finding[]>;
      /** `buffer`: a streamed reply is held until it is whole. `window`: text is checked and delivered sentence by sentence. */
      readonly stream: "buffer" | "window";
    };

/** What an inspection came to. */
export interface Inspected {
  readonly findings: readonly Finding[];
  /** For each finding there is something better to stand in its place. */
  readonly isMended: boolean;
  /** The texts as they read when masked, by place. */
  masked(placeholderOf: (category: string, original: string) => string): ReadonlyMap<number, string>;
}

/** Looks at whole texts. */
export function inspectTexts(
  inspection: Inspection,
  texts: readonly InspectedText[],
  context: InspectionContext,
): Inspected | Promise<Inspected> {
  if (texts.length === 0) return NOTHING;
  if (inspection.kind === "scan") return scanTexts(inspection.scanners, texts);
  const found = inspection.check(texts, context);
  return isPromise(found) ? found.then((findings) => checked(findings, texts)) : checked(found, texts);
}

const NOTHING: Inspected = { findings: [], isMended: false, masked: () => new Map() };

function scanTexts(scanners: readonly Scanner[], texts: readonly InspectedText[]): Inspected {
  const findings: Finding[] = [];
  for (const [place, { text, format }] of texts.entries()) {
    if (format === "json") {
      const masker = new JsonMasker(
        scanners,
        () => "",
        (category) => findings.push({ text: place, category }),
      );
      masker.push(text);
      masker.end();
    } else {
      for (const { start, end, category } of matchesIn(text, scanners)) {
        findings.push({ text: place, category, start, end });
      }
    }
  }
  return {
    findings,
    isMended: false,
    masked(placeholderOf) {
      const masked = new Map<number, string>();
      for (const place of new Set(findings.map((finding) => finding.text))) {
        const { text = "", format } = texts[place] ?? {};
        masked.set(place, maskText(text, format === "json" ? "json" : "text", scanners, placeholderOf));
      }
      return masked;
    },
  };
}

function maskText(
  text: string,
  format: "text" | "json",
  scanners: readonly Scanner[],
  placeholderOf: (category: string, original: string) => string,
): string {
  const Masker = format === "json" ? JsonMasker : TextMasker;
  const masker = new Masker(scanners, placeholderOf, () => {});
  return masker.push(text) + masker.end();
}

/** @throws {TypeError} what came back is no list of findings in these texts. */
function checked(findings: readonly Finding[], texts: readonly InspectedText[]): Inspected {
  for (const finding of findings) {
    const text = texts[finding.text]?.text;
    const { category, start = 0, end = text?.length ?? 0, replacement } = finding;
    const isGood =
      text !== undefined &&
      typeof category === "string" &&
      CATEGORY.test(category) &&
      Number.isInteger(start) &&
      Number.isInteger(end) &&
      start >= 0 &&
      end <= text.length &&
      start <= end &&
      (replacement === undefined || typeof replacement === "string");
    if (!isGood) throw new TypeError("a check returned something that is no finding");
  }
  const isMended = findings.length > 0 && findings.every(({ replacement }) => replacement !== undefined);
  return { findings, isMended, masked: (placeholderOf) => maskFound(findings, texts, placeholderOf) };
}

function maskFound(
  findings: readonly Finding[],
  texts: readonly InspectedText[],
  placeholderOf: (category: string, original: string) => string,
): ReadonlyMap<number, string> {
  const byText = new Map<number, { start: number; end: number; category: string; replacement: string | undefined }[]>();
  for (const { text: place, category, start, end, replacement } of findings) {
    const length = texts[place]?.text.length ?? 0;
    const span = start === undefined || end === undefined ? { start: 0, end: length } : { start, end };
    const spans = byText.get(place);
    if (spans) spans.push({ ...span, category, replacement });
    else byText.set(place, [{ ...span, category, replacement }]);
  }
  const masked = new Map<number, string>();
  for (const [place, spans] of byText) {
    const { text = "", format } = texts[place] ?? {};
    spans.sort((a, b) => a.start - b.start || b.end - a.end);
    // Overlapping spans are one, under the name of the first.
    const merged: typeof spans = [];
    for (const span of spans) {
      const last = merged.at(-1);
      if (last && span.start < last.end) last.end = Math.max(last.end, span.end);
      else merged.push(span);
    }
    let out = "";
    let at = 0;
    for (const { start, end, category, replacement } of merged) {
      out += text.slice(at, start) + (replacement ?? placeholderOf(category, text.slice(start, end)));
      at = end;
    }
    out += text.slice(at);
    const [first] = merged;
    if (format === "json" && first && isJson(text) && !isJson(out))
      out = JSON.stringify(placeholderOf(first.category, text));
    masked.set(place, out);
  }
  return masked;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
