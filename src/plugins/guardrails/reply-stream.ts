import type { Chunk, Operation } from "../../protocol/operations.js";
import { ChoiceFilter, type Fields, inspectValue, type Late, withLate } from "./choice-filter.js";
import { HeldLength } from "./held-length.js";
import { isFields } from "./held-list.js";
import type { StreamHandler } from "./stream-handler.js";

/** Fields of a chunk that are not words of the model. */
const FRAME_FIELDS: ReadonlySet<string> = new Set([
  "choices",
  "created",
  "id",
  "model",
  "object",
  "obfuscation",
  "service_tier",
  "system_fingerprint",
  "usage",
]);

/**
 * Passes every text of a stream through its own filter, by choice and by place: content, reasoning, refusal, each tool
 * call, fields that nobody knows. What a filter has held back comes before the finish reason of its choice, or with it.
 * What a choice says behind its finish reason is left out, and so are chunks that say nothing any more.
 */
export class StreamPipeline {
  readonly #operation: Operation;
  readonly #handler: StreamHandler;
  readonly #held: HeldLength;
  readonly #choices = new Map<number, ChoiceFilter>();
  #last: Chunk | undefined;

  /** @param held - Counts what is kept of the stream. */
  constructor(operation: Operation, handler: StreamHandler, held = new HeldLength()) {
    this.#operation = operation;
    this.#handler = handler;
    this.#held = held;
  }

  /** @returns the chunks that go on now. */
  async take(chunk: Chunk): Promise<Chunk[]> {
    this.#last = chunk;
    const before: Fields[] = [];
    const after: Fields[] = [];
    // The choices of either operation, as the decoders promise.
    for (const choice of chunk.choices as unknown as readonly Fields[]) {
      const index = Number(choice.index);
      let filter = this.#choices.get(index);
      if (!filter) this.#choices.set(index, (filter = new ChoiceFilter(index, this.#handler, this.#held)));
      const isChat = this.#operation !== "completions";
      const changed = isChat ? await filter.chat(choice) : await filter.legacy(choice);
      if (!choice.finish_reason) {
        after.push(changed);
        continue;
      }
      // In this order: what the finishing chunk says itself is part of the rest.
      const rest = await filter.rest();
      filter.isFinished = true;
      const finished = rest.reduce((whole, { choice: late }) => withLate(whole, late), changed);
      const deltas = rest.map(({ delta }) => delta).filter((delta) => Object.keys(delta).length > 0);
      if (deltas.length === 0) after.push(finished);
      else before.push(...joinDeltas(index, finished, deltas, after));
    }
    const frame = await filterFrame(chunk, this.#handler);
    const result: Chunk[] = [];
    if (before.length > 0) result.push(chunkWith(withoutUsage(frame), before));
    if (chunk.choices.length === 0 || saysMore(frame) || after.some(saysSomething)) {
      result.push(chunkWith(frame, after));
    }
    return result;
  }

  /**
   * What is left when the chunks have ended. A stream that ends without a finish reason is broken, which others tell;
   * what it said is not ours to keep.
   */
  async end(): Promise<Chunk[]> {
    const frame = this.#last;
    if (!frame) return [];
    const choices: Fields[] = [];
    for (const [index, filter] of this.#choices) {
      for (const late of await filter.rest()) choices.push(lateChoice(this.#operation, index, late));
    }
    this.#choices.clear();
    return choices.length > 0 ? [chunkWith(withoutUsage(frame), choices)] : [];
  }
}

function lateChoice(operation: Operation, index: number, { choice, delta }: Late): Fields {
  if (operation === "completions") return { index, text: "", finish_reason: null, logprobs: null, ...choice };
  return { index, delta, finish_reason: null, ...choice };
}

/** {@link StreamPipeline} as a transform. */
export async function* filterStream(
  operation: Operation,
  chunks: AsyncIterable<Chunk>,
  handler: StreamHandler,
  held?: HeldLength,
): AsyncGenerator<Chunk, void, undefined> {
  const pipeline = new StreamPipeline(operation, handler, held);
  const iterator = chunks[Symbol.asyncIterator]();
  let isAtReader = false;
  try {
    for (;;) {
      const result = await iterator.next();
      const ready = result.done ? await pipeline.end() : await pipeline.take(result.value);
      for (const chunk of ready) {
        isAtReader = true;
        yield chunk;
        isAtReader = false;
      }
      if (result.done) return;
    }
  } finally {
    // Not `for await`: it would leave the source before a refusal is heard, and who leaves the source of a request
    // cancels the request, which would then be what the caller hears.
    if (isAtReader) await iterator.return?.();
  }
}

/** The delta of a finishing chunk goes first, then what was held back, then the finish reason alone. */
function joinDeltas(index: number, finished: Fields, rest: readonly Fields[], after: Fields[]): Fields[] {
  const { delta, ...frame } = finished;
  after.push({ ...frame, delta: {} });
  const said: Fields = { index, delta, finish_reason: null };
  const held = rest.map((late): Fields => ({ index, delta: late, finish_reason: null }));
  return saysSomething(said) ? [said, ...held] : held;
}

async function filterFrame(chunk: Chunk, handler: StreamHandler): Promise<Chunk> {
  let frame: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(chunk)) {
    if (FRAME_FIELDS.has(name)) continue;
    const changed = await inspectValue(value, name, handler);
    if (changed !== value) (frame ??= { ...chunk })[name] = changed;
  }
  return (frame ?? chunk) as unknown as Chunk; // the same fields
}

function chunkWith(frame: Chunk, choices: readonly Fields[]): Chunk {
  return { ...frame, choices } as unknown as Chunk; // choices of the operation's own form
}

function withoutUsage(chunk: Chunk): Chunk {
  return chunk.usage ? { ...chunk, usage: null } : chunk;
}

/** Has the choice anything for the reader? */
function saysSomething({ index: _, delta, ...rest }: Fields): boolean {
  return Object.values(rest).some(isSomething) || (isFields(delta) && Object.values(delta).some(isSomething));
}

function isSomething(value: unknown): boolean {
  return value !== "" && value !== null && value !== undefined;
}

/** Has the chunk anything for the reader beside its choices? */
function saysMore(chunk: Chunk): boolean {
  if (chunk.usage) return true;
  return Object.entries(chunk).some(([name, value]) => !FRAME_FIELDS.has(name) && isSomething(value));
}
