import type { AttemptContext } from "../provider.js";
import { isJsonObject, type JsonObject } from "../shared/json-object.js";
import type { ByteSplice } from "./byte-splice.js";
import { endOfLiteral, literalAfter, type Splice, SpliceHit } from "./splice.js";

/** Shapes that one upstream's streams keep between them (S27): its models × (text, reasoning). */
const MAX_SHAPES = 8;
/** Shapes that may go unused before an upstream is taken for one whose streams have nothing in common. */
const MAX_BARREN = 32;

/** A text with places for an id and a time. */
type HeadParts = readonly [beforeId: string, beforeCreated: string, rest: string];

/** What a template goes by, but for the id and the time of its stream. */
interface KnownShape {
  readonly splice: ByteSplice;
  readonly model: unknown;
  readonly serviceTier: unknown;
  readonly fingerprint: unknown;
  readonly includeUsage: boolean;
  readonly wantsLogprobs: boolean;
  readonly theirs: HeadParts;
  readonly ours: HeadParts;
}

/**
 * Shapes of events that the streams of one upstream have had. The next stream's events differ from them in its id and its
 * time only, so that it need not parse one of its own to know them: what they become differs in the same.
 *
 * Only chats, and only their text and reasoning: what becomes of those depends on nothing but the event, once the choice
 * has begun.
 */
export class KnownShapes {
  readonly #shapes: KnownShape[] = [];
  #next = 0;
  /** Shapes kept since one was last of use. */
  #barren = 0;

  /**
   * Keeps the shape of an event.
   *
   * @param splice - As it was made for its stream.
   * @param event - As the upstream sent it, parsed.
   * @param head - What the chunks of its stream have in common.
   */
  keep(splice: ByteSplice, event: JsonObject, head: JsonObject, context: AttemptContext): void {
    if (this.#barren >= MAX_BARREN) return;
    const shape = shapeOf(splice, event, head, context);
    // Streams that begin at the same time find the same.
    if (!shape || this.#shapes.some((known) => isSame(known, shape))) return;
    this.#barren += 1;
    this.#shapes[this.#next] = shape;
    this.#next = (this.#next + 1) % MAX_SHAPES;
  }

  /**
   * Adds to `out` the templates that a stream can have.
   *
   * @param head - What its chunks have in common.
   * @param choice - One of its choices that has begun.
   */
  recall(head: JsonObject, choice: number, context: AttemptContext, out: (splice: ByteSplice) => void): void {
    const { id, created } = head;
    for (const shape of this.#shapes) {
      if (shape.splice.splice.choiceIndex !== choice || !isOf(shape, head, context)) continue;
      const idText = literalOf(id as string); // heads have one
      const time = String(created);
      const { theirs, ours } = shape;
      const before = filled(theirs, idText, time);
      const ownBefore = areSame(theirs, ours) ? before : filled(ours, idText, time);
      out(shape.splice.like(shape.splice.splice.withBefore(before, ownBefore)));
    }
  }

  /** One was of use. */
  noteUse(): void {
    this.#barren = 0;
  }
}

function isOf(shape: KnownShape, head: JsonObject, { includeUsage, wantsLogprobs }: AttemptContext): boolean {
  return (
    shape.model === head.model &&
    shape.serviceTier === head.service_tier &&
    shape.fingerprint === head.system_fingerprint &&
    shape.includeUsage === includeUsage &&
    shape.wantsLogprobs === wantsLogprobs
  );
}

function isSame(one: KnownShape, other: KnownShape): boolean {
  const [texts, others] = [one.splice.splice.texts, other.splice.splice.texts];
  return (
    one.splice.splice.kind === other.splice.splice.kind &&
    one.splice.splice.choiceIndex === other.splice.splice.choiceIndex &&
    one.model === other.model &&
    one.serviceTier === other.serviceTier &&
    one.fingerprint === other.fingerprint &&
    one.includeUsage === other.includeUsage &&
    one.wantsLogprobs === other.wantsLogprobs &&
    areSame(one.theirs, other.theirs) &&
    areSame(one.ours, other.ours) &&
    areSame(texts.event.slice(1), others.event.slice(1)) &&
    areSame(texts.ours.slice(1), others.ours.slice(1))
  );
}

const areSame = (texts: readonly unknown[], others: readonly unknown[]) =>
  texts.every((text, index) => text === others[index]);

const isFlat = (value: unknown) => value === undefined || typeof value === "string";

const literalOf = (text: string) => JSON.stringify(text).slice(1, -1);

const filled = ([beforeId, beforeCreated, rest]: HeadParts, id: string, created: string) =>
  beforeId + id + beforeCreated + created + rest;

function shapeOf(
  splice: ByteSplice,
  event: JsonObject,
  head: JsonObject,
  { includeUsage, wantsLogprobs }: AttemptContext,
): KnownShape | undefined {
  const { kind, texts } = splice.splice;
  const { id, created, model, service_tier: serviceTier, system_fingerprint: fingerprint } = head;
  if (kind !== "content" && kind !== "reasoning_content") return undefined;
  if (!endsNothing(event) || event.id !== id || event.created !== created) return undefined;
  if (typeof id !== "string" || typeof created !== "number" || !isFlat(serviceTier) || !isFlat(fingerprint)) {
    return undefined;
  }
  const theirs = partsOf(texts.event[0], id, created);
  if (!theirs || !fillsHead(theirs, splice.splice)) return undefined;
  // Ours begin with their head.
  const ours = partsOf(texts.ours[0], id, created);
  return ours && { splice, model, serviceTier, fingerprint, includeUsage, wantsLogprobs, theirs, ours };
}

/** A finish reason counts once only: what becomes of the event depends on others then. */
function endsNothing({ choices }: JsonObject): boolean {
  const [choice]: unknown[] = Array.isArray(choices) ? choices : [];
  return isJsonObject(choice) && (choice.finish_reason === undefined || choice.finish_reason === null);
}

const COLON = /[ \t\n\r]*:[ \t\n\r]*/y;

/** Cuts a text where it seems to have an id and a time, in this order. */
function partsOf(text: string, id: string, created: number): HeadParts | undefined {
  const idKey = text.indexOf('"id"');
  const idAt = idKey === -1 ? undefined : literalAfter(text, idKey + 4);
  if (idAt === undefined) return undefined;
  const idEnd = endOfLiteral(text, idAt, new SpliceHit());
  if (idEnd === -1 || text.slice(idAt, idEnd) !== literalOf(id)) return undefined;
  const timeKey = text.indexOf('"created"', idEnd);
  COLON.lastIndex = timeKey + 9;
  if (timeKey === -1 || !COLON.test(text)) return undefined;
  const timeAt = COLON.lastIndex;
  const timeEnd = timeAt + String(created).length;
  if (text.slice(timeAt, timeEnd) !== String(created) || !/^[,\s}]/.test(text.slice(timeEnd))) return undefined;
  return [text.slice(0, idAt), text.slice(idEnd, timeAt), text.slice(timeEnd)];
}

const PROBE_ID = "\u0001switchyard id\u0001";
const PROBE_TIME = 1_234_567_891;

/** The proof: another literal and another number at these places are the event's id and time, and nothing else. */
function fillsHead(parts: HeadParts, { texts }: Splice): boolean {
  const [, after, afterPadding] = texts.event;
  const before = filled(parts, literalOf(PROBE_ID), String(PROBE_TIME));
  const event: unknown = JSON.parse(`${before}x${after}${afterPadding === undefined ? "" : `x${afterPadding}`}`);
  return isJsonObject(event) && event.id === PROBE_ID && event.created === PROBE_TIME;
}
