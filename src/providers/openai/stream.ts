import { badResponse, type ErrorClass, UpstreamError, unreachable } from "../../errors/upstream-error.js";
import { randomId } from "../../internal/random.js";
import type { Chunk } from "../../protocol/operations.js";
import { createSseReader } from "../../transport/sse.js";
import type { AttemptContext, RelayPiece, StreamDecoder } from "../provider.js";
import { createdOf } from "../shared/created.js";
import { errorOfAnswer } from "../shared/errors.js";
import { isJsonObject, type JsonObject, parseUpstreamObject, textOf } from "../shared/json-object.js";
import { readLastEvent } from "../shared/last-event.js";
import { RunningSummary } from "../shared/running-summary.js";
import { boundedIndex } from "../shared/tool-call.js";
import { laterUsage } from "../shared/usage.js";
import { ByteRun, ByteSplice } from "./byte-splice.js";
import { EventCutter } from "./event-cutter.js";
import type { OpenAiFacts } from "./facts.js";
import type { KnownShapes } from "./known-shapes.js";
import { RelayedEvents } from "./relayed-events.js";
import type { RepairedChoice } from "./repaired-choice.js";
import { learnSplice, type Splice, SpliceHit, type TextPlace } from "./splice.js";

/** One choice of a stream, as far as it has come. */
export interface StreamedChoice {
  readonly index: number;
  isFinished: boolean;
  /** A fragment of a tool call went by. */
  continues?(callIndex: number): void;
}

/** What differs between the streams of two operations: the inside of their choices. */
export interface ChoiceShape<C extends StreamedChoice> {
  readonly object: string;
  /** Of generated ids. */
  readonly idPrefix: string;
  readonly textPlace: TextPlace;
  open(index: number): C;
  /**
   * Appends to `made` what becomes of one choice of one event.
   * @param isFirst - The choice begins here.
   * @returns the class of the error that the choice ended with, if it did.
   */
  repair(raw: JsonObject, state: C, isFirst: boolean, made: RepairedChoice[]): ErrorClass | undefined;
  /** Adds a choice to the totals. @returns whether it carries content. */
  summarise(choice: RepairedChoice, summary: RunningSummary): boolean;
}

/** What a decoder hands out: chunks, or what a relay writes of them. */
export interface ChunkForm<T> {
  readonly keepsText: boolean;
  whole(chunk: Chunk): T;
  /** @param value - The text that the event carries, where this form keeps text. */
  spliced(splice: Splice, event: string, hit: SpliceHit, value: string | undefined): T;
  /** Whether `splice` can make this form. */
  takes(splice: Splice): boolean;
  /** Events as we write them, in UTF-8; without it this form has no use for bytes. */
  framed?(events: Uint8Array): T;
}

export const chunkForm: ChunkForm<Chunk> = {
  keepsText: true,
  whole: (chunk) => chunk,
  spliced: (splice, event, hit, value = splice.valueOf(event, hit)) => splice.toChunk(event, hit, value),
  takes: (splice) => splice.base !== undefined,
};

export const textForm: ChunkForm<RelayPiece> = {
  keepsText: false,
  whole: (chunk) => JSON.stringify(chunk),
  spliced: (splice, event, hit) => splice.toText(event, hit),
  takes: () => true,
  framed: (events) => events,
};

/** The largest text event (S32). */
const MAX_EVENT_BYTES = 16 * 1_048_576;
/** Shapes that one stream keeps at the same time: choices × (text, reasoning, arguments). */
const MAX_SPLICES = 8;
/** Templates that may go unused before a stream is taken for one whose every event differs. */
const MAX_UNUSED = 4;

/** Members of an event that the rules place; all others pass (repair R12). */
const PLACED: ReadonlySet<string> = new Set([
  "id",
  "object",
  "created",
  "model",
  "choices",
  "usage",
  "system_fingerprint",
  "service_tier",
  "error",
  "__proto__",
]);

/**
 * Repairs one stream of OpenAI's form (repairs R1–R4, R8, R12, R13, R15; the choices' own rules are in the shape).
 *
 * Chunks and texts come from the same steps: an event is parsed and repaired once, and its like are spliced.
 */
export class RepairedStream<T, C extends StreamedChoice> implements StreamDecoder<T> {
  isDone = false;
  contentAt: number | undefined;
  readonly summary: RunningSummary;

  readonly #facts: OpenAiFacts;
  readonly #context: AttemptContext;
  readonly #shape: ChoiceShape<C>;
  readonly #form: ChunkForm<T>;
  readonly #reader: ReturnType<typeof createSseReader>;
  #out: T[] = [];
  #delivered = 0;
  /** What all chunks have in common, with a place for their choices; `undefined` before the first event with choices. */
  #head: JsonObject | undefined;
  readonly #choices: (C | undefined)[] = [];
  /** Members of events that made no chunk: they wait for the next one. */
  #waiting: JsonObject | undefined;
  /** Reused: the choices that the current event becomes. */
  readonly #made: RepairedChoice[] = [];
  readonly #splices: Splice[] = [];
  /** The same for bytes, at the same places. */
  readonly #byteSplices: (ByteSplice | undefined)[] = [];
  readonly #cutter = new EventCutter();
  readonly #hit = new SpliceHit();
  readonly #run = new ByteRun();
  /** Where this form has a use for bytes. */
  readonly #events: RelayedEvents | undefined;
  #current = 0;
  #oldest = 0;
  /** Templates made since the last time one was of use, roughly. */
  #unused = 0;
  /** Where this form has a use for bytes: what earlier streams had. */
  readonly #known: KnownShapes | undefined;
  /** Choices that have begun since they were last asked. */
  readonly #fresh: number[] = [];
  /** So many of the templates are theirs, the first ones. */
  #recalled = 0;

  /**
   * @param splices - Without it every event is parsed; the chunks are the same.
   * @param known - Shared by the streams of one upstream.
   */
  constructor(
    facts: OpenAiFacts,
    context: AttemptContext,
    shape: ChoiceShape<C>,
    form: ChunkForm<T>,
    splices = true,
    known?: KnownShapes,
  ) {
    this.#facts = facts;
    this.#context = context;
    this.#shape = shape;
    this.#form = form;
    this.summary = new RunningSummary(form.keepsText);
    const { framed } = form;
    if (framed) {
      this.#events = new RelayedEvents((piece) => this.#out.push(framed(piece)));
      if (splices && shape.textPlace === "delta") this.#known = known;
    }
    if (!splices) this.#unused = MAX_UNUSED;
    this.#reader = createSseReader({
      maxEventBytes: MAX_EVENT_BYTES,
      onEvent: (data, eventName) => this.#onEvent(data, eventName),
    });
  }

  push(bytes: Uint8Array, out: T[]): void {
    if (this.isDone) return;
    this.#out = out;
    const events = this.#events;
    if (!events) {
      this.#reader.push(bytes);
      return;
    }
    events.expected = bytes.length;
    try {
      this.#relay(bytes, events);
    } finally {
      // Also what came before an error.
      events.flush();
    }
  }

  /** Events of known shapes go from bytes to bytes; each that is not goes to the reader. */
  #relay(bytes: Uint8Array, events: RelayedEvents): void {
    const cutter = this.#cutter;
    for (let start = 0; start < bytes.length && !this.isDone; ) {
      if (this.#fresh.length > 0) this.#recall();
      if (cutter.isBetweenEvents && this.#waiting === undefined && this.#byteSplices.length > 0) {
        start = this.#spliceBytes(bytes, start, events);
        if (start === bytes.length) return;
      }
      // Where no shape ever comes again, to look at each event by itself is in vain.
      const isHopeless = this.#unused >= MAX_UNUSED && cutter.isBetweenEvents;
      const end = isHopeless ? cutter.skipAll(bytes, start) : cutter.skipEvent(bytes, start);
      this.#reader.push(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
      start = end;
    }
  }

  /** @returns where the first event begins that is of no known shape, or not complete. */
  #spliceBytes(bytes: Uint8Array, start: number, events: RelayedEvents): number {
    const splices = this.#byteSplices;
    const run = this.#run;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let from = start;
    // Interleaved choices come in turn: each shape in vain since the last event that fitted.
    for (let tried = 0; tried < splices.length && from < bytes.length; ) {
      const splice = splices[this.#current];
      const end = splice === undefined ? from : splice.relay(bytes, view, from, events, run);
      if (splice === undefined || end === from) {
        tried += 1;
        this.#current = this.#current + 1 < splices.length ? this.#current + 1 : 0;
        continue;
      }
      tried = 0;
      from = end;
      this.#unused = Math.max(0, this.#unused - run.events);
      this.#count(splice.splice, undefined, run.units);
      this.contentAt ??= this.#delivered;
      this.#delivered += run.events;
      if (this.#current < this.#recalled) this.#known?.noteUse();
    }
    return from;
  }

  end(out: T[]): void {
    this.#out = out;
    const events = this.#events;
    if (events) events.expected = 0;
    try {
      this.#end();
    } finally {
      events?.flush();
    }
  }

  #end(): void {
    if (!this.isDone) readLastEvent(this.#reader);
    const { usage, isComplete } = this.summary;
    if (!isComplete) throw unreachable("stream ended before it was complete");
    if (this.#context.includeUsage && usage) {
      // The caller may change its chunk; the summary stays what the upstream said.
      const chunk: JsonObject = { ...this.#head, choices: [], usage: structuredClone(usage) };
      this.#takeWaiting(chunk);
      this.#deliver(chunk, undefined);
    }
  }

  #onEvent(data: string, eventName: string | undefined): void {
    // After the end marker nothing counts; wire S5: of the named events only `error` means anything here.
    if (this.isDone) return;
    const isError = eventName === "error";
    const isNamed = eventName !== undefined && eventName !== "" && eventName !== "message";
    if (!isNamed && this.#waiting === undefined && this.#splice(data)) return;
    if (data === "[DONE]") {
      this.isDone = true;
      return;
    }
    if (isNamed && !isError) return;
    const event = parseUpstreamObject(data, "an event of the stream");
    this.#throwError(event, isError);
    this.#takeUsage(event);
    const { choices } = event;
    if (Array.isArray(choices) && choices.length > 0) this.#repair(event, choices, data);
    else this.#placeOthers(event, undefined);
  }

  /** Repair R13. */
  #throwError(event: JsonObject, isNamedError: boolean): void {
    const { error } = event;
    if ((error !== undefined && error !== null) || event.object === "error" || isNamedError) {
      throw errorOfAnswer(this.#facts.errors, event, this.#context.clock.wallNow());
    }
    const hidden = this.#facts.answer?.errorIn?.(event);
    if (hidden !== undefined && hidden !== null) {
      throw errorOfAnswer(this.#facts.errors, { error: hidden }, this.#context.clock.wallNow());
    }
  }

  /** Repair R4: the last usage wins, wherever it comes. */
  #takeUsage(event: JsonObject): void {
    let { usage } = event;
    if (usage === undefined || usage === null) {
      usage = this.#facts.answer?.usageIn?.(event);
      if (usage === undefined || usage === null) return;
      // It stays in the chunk, too, as the upstream sent it (repair R12).
      usage = structuredClone(usage);
    }
    this.summary.usage = laterUsage(this.summary.usage, usage, this.#context);
  }

  #repair(event: JsonObject, choices: readonly unknown[], data: string): void {
    const head = (this.#head ??= this.#headOf(event));
    const made = this.#made;
    made.length = 0;
    let failure: ErrorClass | undefined;
    for (let position = 0; position < choices.length; position++) {
      const raw = choices[position];
      if (!isJsonObject(raw)) throw badResponse("a choice of the stream is no object");
      const index = boundedIndex(raw.index, position, "a choice");
      const begun = this.#choices[index];
      const state = begun ?? this.#begin(index);
      failure ??= this.#shape.repair(raw, state, begun === undefined, made);
    }

    const hadWaiting = this.#waiting !== undefined;
    let chunk: JsonObject | undefined;
    let last: RepairedChoice | undefined;
    for (const choice of made) {
      if (chunk) this.#deliver(chunk, last);
      chunk = { ...head, choices: [choice] };
      last = choice;
      this.#takeWaiting(chunk);
    }
    this.#placeOthers(event, chunk);
    if (!chunk || !last) {
      if (failure !== undefined) throw this.#finishError(failure, choices);
      return;
    }
    this.#deliver(chunk, last);
    if (failure !== undefined) throw this.#finishError(failure, choices);

    const isAlone = made.length === 1 && last.finish_reason === null;
    const hasUsage = event.usage !== undefined && event.usage !== null;
    if (isAlone && !hadWaiting && !hasUsage && this.#unused < MAX_UNUSED) this.#learn(data, event, chunk, last);
  }

  /** What other streams knew of the choices that have begun. */
  #recall(): void {
    const fresh = this.#fresh;
    for (const index of fresh) {
      // A choice has begun, so there is a head; whoever has templates of its own already goes by those.
      if (!this.#head || this.#splices.length !== this.#recalled) break;
      this.#known?.recall(this.#head, index, this.#context, (splice) => {
        if (this.#recalled === MAX_SPLICES) return;
        this.#splices.push(splice.splice);
        this.#byteSplices.push(splice);
        this.#recalled += 1;
      });
    }
    fresh.length = 0;
  }

  #begin(index: number): C {
    if (this.#known) this.#fresh.push(index);
    const state = this.#shape.open(index);
    this.#choices[index] = state;
    this.summary.begun += 1;
    return state;
  }

  /** Repairs R1 and R2. */
  #headOf(event: JsonObject): JsonObject {
    const { clock, random, model, includeUsage } = this.#context;
    const { system_fingerprint: fingerprint, service_tier: tier } = event;
    this.summary.model = textOf(event.model);
    const head: JsonObject = {
      id: textOf(event.id) ?? randomId(random, this.#shape.idPrefix),
      object: this.#shape.object,
      created: createdOf(event.created, clock.wallNow()),
      model: this.summary.model ?? model,
    };
    if (tier !== undefined && tier !== null) head.service_tier = tier;
    if (fingerprint !== undefined && fingerprint !== null) head.system_fingerprint = fingerprint;
    head.choices = null;
    // Wire S3.
    if (includeUsage) head.usage = null;
    return head;
  }

  /** Repair R12: on the last chunk made from the event, else on the next one. */
  #placeOthers(event: JsonObject, chunk: JsonObject | undefined): void {
    for (const key of Object.keys(event)) {
      const value = event[key];
      if (value === null || value === undefined || PLACED.has(key)) continue;
      if (chunk) chunk[key] = value;
      else (this.#waiting ??= {})[key] = value;
    }
  }

  #takeWaiting(chunk: JsonObject): void {
    if (!this.#waiting) return;
    Object.assign(chunk, this.#waiting);
    this.#waiting = undefined;
  }

  #deliver(chunk: JsonObject, choice: RepairedChoice | undefined): void {
    if (choice) {
      const { summary } = this;
      if (this.#shape.summarise(choice, summary)) this.contentAt ??= this.#delivered;
      if (choice.finish_reason !== null) {
        summary.finished += 1;
        summary.finishReason ??= choice.finish_reason;
      }
    }
    this.#delivered += 1;
    // The repair rules have given it the members of a chunk; the upstream's own are beside them.
    this.#push(this.#form.whole(chunk as unknown as Chunk));
  }

  #push(piece: T): void {
    if (this.#events && typeof piece === "string") this.#events.add(piece);
    else this.#out.push(piece);
  }

  #finishError(errorClass: ErrorClass, choices: readonly unknown[]): UpstreamError {
    const own = choices.find((choice) => isJsonObject(choice) && isJsonObject(choice.error));
    if (isJsonObject(own))
      return errorOfAnswer(this.#facts.errors, { error: own.error }, this.#context.clock.wallNow());
    return new UpstreamError("the upstream could not finish the answer", { errorClass });
  }

  #learn(data: string, event: JsonObject, chunk: JsonObject, choice: RepairedChoice): void {
    this.#unused += 1;
    const splice = learnSplice(data, event, chunk, choice, this.#shape.textPlace);
    if (!splice || !this.#form.takes(splice)) return;
    const place = this.#splices.length < MAX_SPLICES ? this.#splices.length : this.#oldest++ % MAX_SPLICES;
    this.#splices[place] = splice;
    if (!this.#form.framed) return;
    const byteSplice = ByteSplice.of(splice);
    this.#byteSplices[place] = byteSplice;
    if (byteSplice && this.#head) this.#known?.keep(byteSplice, event, this.#head, this.#context);
  }

  /** The fast path: an event of a known shape, parsed by nobody. @returns whether it was one. */
  #splice(data: string): boolean {
    const splices = this.#splices;
    const { length } = splices;
    // Interleaved choices come in turn: the shape after the last one that fitted is the next to try.
    for (let tried = 0, position = this.#current; tried < length; tried++, position++) {
      if (position >= length) position = 0;
      const splice = splices[position];
      if (!splice?.fits(data, this.#hit)) continue;
      this.#current = position;
      if (this.#unused > 0) this.#unused -= 1;
      this.#countSpliced(splice, data);
      return true;
    }
    return false;
  }

  #countSpliced(splice: Splice, data: string): void {
    const value = this.#form.keepsText ? splice.valueOf(data, this.#hit) : undefined;
    this.#count(splice, value, this.#hit.units);
    // Templates are of events with content.
    this.contentAt ??= this.#delivered;
    this.#delivered += 1;
    this.#push(this.#form.spliced(splice, data, this.#hit, value));
  }

  /**
   * @param value - The text of the event, where it is kept.
   * @param units - How long it is, or how long those of several events are together.
   */
  #count(splice: Splice, value: string | undefined, units: number): void {
    const { summary } = this;
    switch (splice.kind) {
      case "content":
      case "text":
        if (value === undefined) summary.outputLength += units;
        else summary.addText(splice.choiceIndex, value);
        break;
      case "reasoning_content":
        summary.addReasoning(units);
        break;
      case "arguments":
        summary.outputLength += units;
        // A later fragment without index and id continues this call.
        this.#choices[splice.choiceIndex]?.continues?.(splice.callIndex);
    }
  }
}
