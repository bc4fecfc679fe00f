/** One value of a metric: its labels tell whose. */
export interface MetricSample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  /** Finite. */
  readonly value: number;
}

const NO_LABELS: ReadonlyMap<string, string> = new Map();
/** A series has a handful of labels; a line with more is not read further. */
const MOST_LABELS = 64;

/**
 * The samples of the metrics that are asked for, from Prometheus' text format or OpenMetrics. One pass: a line of another
 * metric costs the look at its name. Lines that nobody can read, and values that are not finite, are passed over.
 *
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */
export function samplesOf(text: string, names: ReadonlySet<string>): MetricSample[] {
  const samples: MetricSample[] = [];
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf("\n", start);
    const end = newline === -1 ? text.length : newline;
    const nameEnd = endOfName(text, start, end);
    if (nameEnd > start) {
      const name = text.slice(start, nameEnd);
      const sample = names.has(name) ? sampleIn(text, name, nameEnd, end) : undefined;
      if (sample) samples.push(sample);
    }
    start = end + 1;
  }
  return samples;
}

/** Names have letters, digits, `_` and `:`; a comment has none. */
function endOfName(text: string, start: number, end: number): number {
  let at = start;
  for (; at < end; at++) {
    const code = text.charCodeAt(at);
    const isLetter = (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 95 || code === 58;
    if (!isLetter && !(code >= 48 && code <= 57 && at > start)) break;
  }
  return at;
}

function sampleIn(text: string, name: string, from: number, end: number): MetricSample | undefined {
  let at = skipBlanks(text, from, end);
  let labels = NO_LABELS;
  if (text.charCodeAt(at) === BRACE) {
    const read = new Map<string, string>();
    at = readLabels(text, at + 1, end, read);
    if (at === -1) return undefined;
    labels = read;
  } else if (at === from) return undefined;
  const [word = ""] = text.slice(at, end).trim().split(/\s/, 1);
  const value = word === "" ? Number.NaN : Number(word);
  return Number.isFinite(value) ? { name, labels, value } : undefined;
}

const BRACE = 123;
const QUOTE = 34;
const BACKSLASH = 92;

/** @returns the position behind the closing brace; -1 where the labels cannot be read. */
function readLabels(text: string, from: number, end: number, labels: Map<string, string>): number {
  let at = from;
  for (let count = 0; count <= MOST_LABELS; count++) {
    at = skipBlanks(text, at, end);
    if (text[at] === "}" && at < end) return at + 1;
    const nameEnd = endOfName(text, at, end);
    if (nameEnd === at) return -1;
    const name = text.slice(at, nameEnd);
    at = skipBlanks(text, nameEnd, end);
    if (text[at] !== "=") return -1;
    at = skipBlanks(text, at + 1, end);
    if (text.charCodeAt(at) !== QUOTE || at >= end) return -1;
    const close = endOfValue(text, at + 1, end);
    if (close === -1) return -1;
    labels.set(name, unescaped(text.slice(at + 1, close)));
    at = skipBlanks(text, close + 1, end);
    if (text[at] === "," && at < end) at++;
  }
  return -1;
}

/** The closing quote of a value that may have escaped ones; -1: there is none. */
function endOfValue(text: string, from: number, end: number): number {
  for (let at = from; at < end; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
  }
  return -1;
}

function unescaped(value: string): string {
  if (!value.includes("\\")) return value;
  return value.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
}

function skipBlanks(text: string, from: number, end: number): number {
  let at = from;
  while (at < end && (text.charCodeAt(at) === 32 || text.charCodeAt(at) === 9)) at++;
  return at;
}
