/**
 * Recognises events that differ from one already repaired in nothing but the text they carry.
 *
 * Tokens come as events of one shape: `{"id":…,"choices":[{"delta":{"content":"` + text + `"},…}]}`. Once such an event
 * has been parsed and repaired, the bytes around its text are a template: an event with the same bytes around another
 * string literal means the same with another text, and is neither parsed nor serialised. That holds because JSON's
 * grammar has no memory: a string literal may be replaced by any other. Where the literal stands is proved when the
 * template is made, by parsing the event with another one in its place.
 */
import type { Chunk } from "../../protocol/operations.js";
import { isJsonObject, type JsonObject } from "../shared/json-object.js";
import { isHexDigit, isSimpleEscape } from "./json-escapes.js";
import type { RepairedChoice } from "./repaired-choice.js";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;

/** Where the choices of an operation have their text: in their `delta`, or themselves (legacy completions). */
export type TextPlace = "delta" | "choice";

/** The member of a chunk that a literal fills. */
export type HoleKind = "content" | "reasoning_content" | "arguments" | "text";

/** Where the last event that fitted has its literals. One object per stream: nothing is allocated to look. */
export class SpliceHit {
  from = 0;
  end = 0;
  /** UTF-16 units of the text that the literal stands for. */
  units = 0;
  hasEscapes = false;
  paddingFrom = 0;
  paddingEnd = 0;
}

/**
 * The end of the string literal whose inside begins at `from`: the index of its closing quote, -1 if it is no literal.
 */
export function endOfLiteral(text: string, from: number, hit: SpliceHit): number {
  let escapeUnits = 0;
  const { length } = text;
  for (let index = from; index < length; index++) {
    const unit = text.charCodeAt(index);
    if (unit === QUOTE) {
      hit.units = index - from - escapeUnits;
      hit.hasEscapes = escapeUnits > 0;
      return index;
    }
    if (unit < 0x20) return -1;
    if (unit === BACKSLASH) {
      const escaped = text.charCodeAt(++index);
      if (escaped === LOWER_U) {
        for (let digit = index + 1; digit <= index + 4; digit++) if (!isHexDigit(text.charCodeAt(digit))) return -1;
        index += 4;
        escapeUnits += 5;
      } else if (isSimpleEscape(escaped)) escapeUnits += 1;
      else return -1;
    }
  }
  return -1;
}

/** A chunk, its choice and its delta (chat only) without what changes. */
interface ChunkBase {
  readonly chunk: JsonObject;
  readonly choice: JsonObject;
  readonly delta: JsonObject | undefined;
}

/** What stands around the literals, in the upstream's events and in ours. */
export interface SpliceTexts {
  readonly event: readonly [before: string, after: string, afterPadding: string | undefined];
  readonly ours: readonly [before: string, after: string, afterPadding: string];
}

/** One shape of events, and what becomes of them. */
export class Splice {
  readonly kind: HoleKind;
  readonly choiceIndex: number;
  /** Index of the tool call whose arguments fill the hole. */
  readonly callIndex: number;
  /** The upstream's bytes: before the literal, after it, and after a second one that pads the event. */
  readonly #before: string;
  readonly #after: string;
  readonly #afterPadding: string | undefined;
  /** Ours. */
  readonly #textBefore: string;
  readonly #textAfter: string;
  readonly #textAfterPadding: string;
  /** `undefined` where the chunk holds objects of the upstream's, which chunks must not share. */
  readonly base: ChunkBase | undefined;
  /** The same parts, for who reads bytes. */
  readonly texts: SpliceTexts;

  constructor(
    parts: SpliceTexts & {
      kind: HoleKind;
      choiceIndex: number;
      callIndex: number;
      base: ChunkBase | undefined;
    },
  ) {
    this.texts = parts;
    this.kind = parts.kind;
    this.choiceIndex = parts.choiceIndex;
    this.callIndex = parts.callIndex;
    [this.#before, this.#after, this.#afterPadding] = parts.event;
    [this.#textBefore, this.#textAfter, this.#textAfterPadding] = parts.ours;
    this.base = parts.base;
  }

  /** The same with other texts before the literal; makes no chunks. */
  withBefore(before: string, ownBefore: string): Splice {
    const { event, ours } = this.texts;
    return new Splice({
      kind: this.kind,
      choiceIndex: this.choiceIndex,
      callIndex: this.callIndex,
      event: [before, event[1], event[2]],
      ours: [ownBefore, ours[1], ours[2]],
      base: undefined,
    });
  }

  /**
   * Whether an event has this shape and carries text; then `hit` says where.
   *
   * Slices are compared, which V8 does by memory: its `startsWith` goes character by character and costs ten times as
   * much.
   */
  fits(event: string, hit: SpliceHit): boolean {
    const before = this.#before;
    const from = before.length;
    if (event.slice(0, from) !== before) return false;
    const end = endOfLiteral(event, from, hit);
    // An event without text yields no chunk: not for us.
    if (end <= from) return false;
    hit.from = from;
    hit.end = end;
    const after = this.#after;
    const afterPadding = this.#afterPadding;
    if (afterPadding === undefined) return event.slice(end) === after;
    const paddingFrom = end + after.length;
    return event.slice(end, paddingFrom) === after && this.#fitsPadding(event, paddingFrom, afterPadding, hit);
  }

  #fitsPadding(event: string, from: number, afterPadding: string, hit: SpliceHit): boolean {
    const { units, hasEscapes } = hit;
    const end = endOfLiteral(event, from, hit);
    // Padding is plain letters; with escapes it would have to be decoded.
    const isPlain = end !== -1 && !hit.hasEscapes;
    hit.units = units;
    hit.hasEscapes = hasEscapes;
    hit.paddingFrom = from;
    hit.paddingEnd = end;
    return isPlain && event.slice(end) === afterPadding;
  }

  /** The JSON text of the chunk that a fitting event becomes. */
  toText(event: string, hit: SpliceHit): string {
    const head = this.#textBefore + event.slice(hit.from, hit.end) + this.#textAfter;
    return this.#afterPadding === undefined
      ? head
      : head + event.slice(hit.paddingFrom, hit.paddingEnd) + this.#textAfterPadding;
  }

  /** The text that a fitting event carries. */
  valueOf(event: string, hit: SpliceHit): string {
    return hit.hasEscapes
      ? // The literal was checked: it is one JSON string.
        (JSON.parse(event.slice(hit.from - 1, hit.end + 1)) as string)
      : event.slice(hit.from, hit.end);
  }

  /** The chunk that a fitting event becomes, sharing nothing with other chunks. Only where there is a `base`. */
  toChunk(event: string, hit: SpliceHit, value: string): Chunk {
    const { base } = this;
    if (!base) throw new Error("this splice makes no chunks");
    const chunk: JsonObject = { ...base.chunk };
    const choice: JsonObject = { ...base.choice };
    chunk.choices = [choice];
    if (base.delta === undefined) choice.text = value;
    else if (this.kind === "arguments") {
      choice.delta = { tool_calls: [{ index: this.callIndex, function: { arguments: value } }] };
    } else {
      const delta: JsonObject = { ...base.delta };
      delta[this.kind] = value;
      choice.delta = delta;
    }
    if (this.#afterPadding !== undefined) chunk.obfuscation = event.slice(hit.paddingFrom, hit.paddingEnd);
    // The base is a chunk that the repair rules made, with other text.
    return chunk as unknown as Chunk;
  }
}

/** Stand in for the literals when a template is made; no upstream sends them. */
const HOLE = "\u0001switchyard text\u0001";
const PADDING_HOLE = "\u0001switchyard padding\u0001";
const HOLE_IN_JSON = JSON.stringify(HOLE).slice(1, -1);
const PADDING_IN_JSON = JSON.stringify(PADDING_HOLE).slice(1, -1);

/** Where an event has the text that its chunk carries. */
interface Source {
  readonly kind: HoleKind;
  readonly callIndex: number;
  /** The key before the literal, as the event has it. */
  readonly key: string;
  readonly value: string;
  /** The object that holds it, within an event of this shape. */
  holderIn(event: JsonObject): JsonObject | undefined;
}

/**
 * Makes a template of an event that became exactly one chunk of text, with nothing carried over from or to others.
 *
 * @param text - The event as it came.
 * @param event - The same, parsed.
 * @param chunk - What it became.
 * @returns `undefined` where the event has another form.
 */
export function learnSplice(
  text: string,
  event: JsonObject,
  chunk: JsonObject,
  choice: RepairedChoice,
  place: TextPlace,
): Splice | undefined {
  const source = sourceOf(event, choice, place);
  if (!source) return undefined;
  const { obfuscation } = event;
  const padding = typeof obfuscation === "string" ? obfuscation : undefined;
  const hit = new SpliceHit();

  for (let at = text.lastIndexOf(source.key); at !== -1; at = at === 0 ? -1 : text.lastIndexOf(source.key, at - 1)) {
    const from = literalAfter(text, at + source.key.length);
    if (from === undefined) continue;
    const end = endOfLiteral(text, from, hit);
    if (end === -1) continue;
    const paddingAt = padding === undefined ? undefined : paddingLiteral(text, end, padding);
    if (padding !== undefined && paddingAt === undefined) continue;

    if (!fillsHoles(withHoles(text, from, end, paddingAt), source, padding !== undefined)) continue;
    return spliceOf(source, chunk, choice, {
      before: text.slice(0, from),
      after: paddingAt ? text.slice(end, paddingAt.from) : text.slice(end),
      afterPadding: paddingAt ? text.slice(paddingAt.end) : undefined,
    });
  }
  return undefined;
}

/** Members of a delta that totals count: a template has room for one of them. */
const COUNTED = [
  "content",
  "reasoning_content",
  "tool_calls",
  "refusal",
  "function_call",
  "reasoning_details",
  "audio",
];

function sourceOf(event: JsonObject, choice: RepairedChoice, place: TextPlace): Source | undefined {
  const raw = onlyChoice(event);
  if (!raw) return undefined;
  if (place === "choice") return source("text", '"text"', raw.text, onlyChoice, choice.text);

  const deltaOf = (other: JsonObject) => objectAt(onlyChoice(other), "delta");
  const delta = deltaOf(event);
  const { delta: repaired = {} } = choice;
  const holes = COUNTED.filter((key) => key in repaired);
  if (!delta || holes.length !== 1) return undefined;
  if (holes[0] === "content") return source("content", '"content"', delta.content, deltaOf, repaired.content);
  if (holes[0] === "reasoning_content") {
    const name = delta.reasoning_content === repaired.reasoning_content ? "reasoning_content" : "reasoning";
    return source("reasoning_content", `"${name}"`, delta[name], deltaOf, repaired.reasoning_content);
  }

  if (holes[0] !== "tool_calls") return undefined;

  const callOf = (other: JsonObject) => {
    const calls = deltaOf(other)?.tool_calls;
    return Array.isArray(calls) && calls.length === 1 && isJsonObject(calls[0]) ? calls[0] : undefined;
  };
  const functionOf = (other: JsonObject) => objectAt(callOf(other), "function");
  const index = callOf(event)?.index;
  const [sent]: unknown[] = Array.isArray(repaired.tool_calls) ? repaired.tool_calls : [];
  // Without an index of its own an event continues whichever call was last.
  if (typeof index !== "number" || Object.keys(repaired).length !== 1) return undefined;
  if (!isJsonObject(sent) || "id" in sent) return undefined;
  return source(
    "arguments",
    '"arguments"',
    functionOf(event)?.arguments,
    functionOf,
    objectAt(sent, "function")?.arguments,
    index,
  );
}

function source(
  kind: HoleKind,
  key: string,
  value: unknown,
  holderIn: Source["holderIn"],
  repaired: unknown,
  callIndex = 0,
): Source | undefined {
  return typeof value === "string" && value !== "" && value === repaired
    ? { kind, key, value, holderIn, callIndex }
    : undefined;
}

function onlyChoice(event: JsonObject): JsonObject | undefined {
  const { choices } = event;
  return Array.isArray(choices) && choices.length === 1 && isJsonObject(choices[0]) ? choices[0] : undefined;
}

function objectAt(object: JsonObject | undefined, key: string): JsonObject | undefined {
  const value = object?.[key];
  return isJsonObject(value) ? value : undefined;
}

const COLON_AND_QUOTE = /[ \t\n\r]*:[ \t\n\r]*"/y;

/** Index of the first character inside the string literal that follows a key. */
export function literalAfter(text: string, index: number): number | undefined {
  COLON_AND_QUOTE.lastIndex = index;
  return COLON_AND_QUOTE.test(text) ? COLON_AND_QUOTE.lastIndex : undefined;
}

function paddingLiteral(text: string, after: number, padding: string): { from: number; end: number } | undefined {
  const key = '"obfuscation"';
  const at = text.lastIndexOf(key);
  const from = at > after ? literalAfter(text, at + key.length) : undefined;
  if (from === undefined) return undefined;
  const end = endOfLiteral(text, from, new SpliceHit());
  return end !== -1 && text.slice(from, end) === padding ? { from, end } : undefined;
}

function withHoles(
  text: string,
  from: number,
  end: number,
  padding: { from: number; end: number } | undefined,
): string {
  if (!padding) return text.slice(0, from) + HOLE_IN_JSON + text.slice(end);
  return text.slice(0, from) + HOLE_IN_JSON + text.slice(end, padding.from) + PADDING_IN_JSON + text.slice(padding.end);
}

/** The proof: other literals at these places are the values of these members, and of no others. */
function fillsHoles(probe: string, source: Source, isPadded: boolean): boolean {
  const event: unknown = JSON.parse(probe);
  if (!isJsonObject(event) || source.holderIn(event)?.[source.key.slice(1, -1)] !== HOLE) return false;
  return !isPadded || event.obfuscation === PADDING_HOLE;
}

function spliceOf(
  source: Source,
  chunk: JsonObject,
  choice: RepairedChoice,
  event: { before: string; after: string; afterPadding: string | undefined },
): Splice | undefined {
  const isPadded = event.afterPadding !== undefined;
  const hollow = hollowChoice(source, choice);
  const hollowChunk: JsonObject = { ...chunk, choices: [hollow] };
  if (isPadded) hollowChunk.obfuscation = PADDING_HOLE;
  const ours = JSON.stringify(hollowChunk);
  const hole = onlyIndexOf(ours, HOLE_IN_JSON);
  const padding = isPadded ? onlyIndexOf(ours, PADDING_IN_JSON) : ours.length;
  if (hole === -1 || padding === -1 || padding < hole) return undefined;
  const afterHole = hole + HOLE_IN_JSON.length;
  return new Splice({
    kind: source.kind,
    choiceIndex: choice.index,
    callIndex: source.callIndex,
    event: [ownCopy(event.before), ownCopy(event.after), isPadded ? ownCopy(event.afterPadding ?? "") : undefined],
    ours: [
      ownCopy(ours.slice(0, hole)),
      ownCopy(ours.slice(afterHole, padding)),
      isPadded ? ownCopy(ours.slice(padding + PADDING_IN_JSON.length)) : "",
    ],
    base: baseOf(source, chunk, choice),
  });
}

function hollowChoice(source: Source, choice: RepairedChoice): JsonObject {
  if (source.kind === "text") return { ...choice, text: HOLE };
  if (source.kind === "arguments") {
    return { ...choice, delta: { tool_calls: [{ index: source.callIndex, function: { arguments: HOLE } }] } };
  }
  return { ...choice, delta: { ...choice.delta, [source.kind]: HOLE } };
}

function baseOf({ kind }: Source, chunk: JsonObject, choice: RepairedChoice): ChunkBase | undefined {
  const isText = kind === "text";
  const base: ChunkBase = {
    chunk: { ...chunk, choices: null },
    choice: isText ? { ...choice, text: "" } : { ...choice, delta: null },
    delta: isText ? undefined : kind === "arguments" ? {} : { ...choice.delta, [kind]: "" },
  };
  const isFlat = [base.chunk, base.choice, base.delta ?? {}].every((object) =>
    Object.values(object).every((value) => typeof value !== "object" || value === null),
  );
  return isFlat ? base : undefined;
}

function onlyIndexOf(text: string, part: string): number {
  const index = text.indexOf(part);
  return index === text.lastIndexOf(part) ? index : -1;
}

/** A slice keeps the whole buffer alive that it was cut from; a template lives as long as its stream. */
function ownCopy(text: string): string {
  return JSON.parse(JSON.stringify(text)) as string; // a string comes back as a string
}
