import { badResponse } from "../errors/upstream-error.js";
import { Cancellation } from "../internal/cancellation.js";
import type { Embedding, EmbeddingReply, EmbeddingRequest } from "../protocol/embeddings.js";
import type { Usage } from "../protocol/usage.js";
import type { EmbeddingLimits } from "../providers/provider.js";
import { utf8Length } from "../tokens/estimate.js";
import type { Attempt } from "./attempt.js";
import { usageOf } from "./reply-facts.js";

/** What one call over HTTP needs of its attempt, whether it is all of it or one of several. */
export type WireCall = Pick<
  Attempt,
  | "context"
  | "group"
  | "deployment"
  | "request"
  | "traceHeaders"
  | "deadlines"
  | "prepared"
  | "canBeCancelledBy"
  | "noteReasoning"
  | "noteDropped"
  | "noteHeaders"
  | "noteKey"
  | "throwIfOver"
>;

/** A part of the inputs, in a body of its own. */
export interface EmbeddingBatch {
  readonly body: EmbeddingRequest;
  /** How many vectors it asks for. */
  readonly size: number;
}

/** Calls of one attempt that are under way at once: enough to hide their latency, too few to look like a burst. */
const CONCURRENT_CALLS = 4;
/** Bytes of text per token, at the least that is likely: a call that comes out too small harms nobody. */
const BYTES_PER_TOKEN = 2;
/** Numbers in all vectors of an attempt together; one answer is bounded by its bytes (S32), many would not be. */
const MAX_VALUES = 16 * 1024 * 1024;

/** Vectors that an input asks for: one for a text or a list of token ids, else one for each entry. */
export function inputCount(input: EmbeddingRequest["input"]): number {
  return Array.isArray(input) && typeof input[0] !== "number" ? input.length : 1;
}

/**
 * The request as several, in order, where it is more than one call may carry.
 *
 * @param limits - The provider's.
 * @param maxInputs - The deployment's own; the smaller counts.
 * @returns `undefined`: one call carries it.
 */
export function embeddingBatches(
  body: EmbeddingRequest,
  limits: EmbeddingLimits | undefined,
  maxInputs = Number.POSITIVE_INFINITY,
): readonly EmbeddingBatch[] | undefined {
  const count = inputCount(body.input);
  if (count === 1) return undefined;
  // More than one: a list of texts, or of lists of token ids.
  const inputs = body.input as readonly (string | readonly number[])[];
  const ends = batchEnds(inputs, Math.min(maxInputs, limits?.inputs ?? maxInputs), limits?.tokens);
  if (ends.length === 1) return undefined;
  let start = 0;
  return ends.map((end) => {
    const input = inputs.slice(start, end) as string[] | number[][];
    start = end;
    return { body: { ...body, input }, size: input.length };
  });
}

/** Where each batch ends. An input that is too large by itself gets a call by itself, and the upstream's own refusal. */
function batchEnds(
  inputs: readonly (string | readonly number[])[],
  maxInputs: number,
  maxTokens: number | undefined,
): number[] {
  const ends: number[] = [];
  let start = 0;
  let tokens = 0;
  for (let i = 0; i < inputs.length; i++) {
    const own = maxTokens === undefined ? 0 : tokensOf(inputs[i] ?? "");
    if (i > start && (i - start >= maxInputs || (maxTokens !== undefined && tokens + own > maxTokens))) {
      ends.push(i);
      start = i;
      tokens = 0;
    }
    tokens += own;
  }
  ends.push(inputs.length);
  return ends;
}

function tokensOf(input: string | readonly number[]): number {
  return typeof input === "string" ? utf8Length(input) / BYTES_PER_TOKEN : input.length;
}

/**
 * The calls of one attempt, a few at a time; together they end as one call would. The first failure ends them all.
 *
 * @param callOne - Makes one call.
 * @param onSpent - Gets what the answers so far have used, after each.
 * @throws what the first call to fail threw, or the reason of the cancellation.
 */
export async function callInBatches(
  attempt: WireCall,
  batches: readonly EmbeddingBatch[],
  callOne: (call: WireCall, body: EmbeddingRequest) => Promise<EmbeddingReply>,
  onSpent: (usage: Usage | undefined) => void,
): Promise<EmbeddingReply> {
  const stop = new Cancellation();
  attempt.canBeCancelledBy((reason) => stop.cancel(reason));
  const replies = new Array<EmbeddingReply | undefined>(batches.length).fill(undefined);
  let next = 0;
  let values = 0;
  let spent: EmbeddingReply["usage"] | undefined;
  const callOnByOne = async () => {
    for (let batch = batches[next]; batch && !stop.isCancelled; batch = batches[next]) {
      const position = next++;
      const call = new BatchCall(attempt, stop);
      try {
        const reply = inOrder(await callOne(call, batch.body), batch.size);
        values += valuesOf(reply.data);
        if (values > MAX_VALUES) throw badResponse("the vectors of all answers together are too large");
        replies[position] = reply;
        spent = spent ? summed([spent, reply.usage]) : reply.usage;
        onSpent(usageOf({ ...reply, usage: spent }));
      } catch (error) {
        stop.cancel(error);
      } finally {
        call.end();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENT_CALLS, batches.length) }, callOnByOne));
  const complete = replies.filter((reply) => reply !== undefined);
  if (stop.isCancelled) throw stop.reason;
  return joined(complete);
}

/** One of several calls: all of them end together, and each can be cancelled where it is. */
class BatchCall implements WireCall {
  readonly context: WireCall["context"];
  readonly group: WireCall["group"];
  readonly deployment: WireCall["deployment"];
  readonly request: WireCall["request"];
  readonly traceHeaders: WireCall["traceHeaders"];
  readonly deadlines: WireCall["deadlines"];
  #stopListening: () => void = () => {};

  constructor(
    private readonly attempt: WireCall,
    private readonly stop: Cancellation,
  ) {
    this.context = attempt.context;
    this.group = attempt.group;
    this.deployment = attempt.deployment;
    this.request = attempt.request;
    this.traceHeaders = attempt.traceHeaders;
    this.deadlines = attempt.deadlines;
  }

  canBeCancelledBy(cancel: (reason: unknown) => void): void {
    this.#stopListening();
    this.#stopListening = this.stop.onCancel(cancel);
  }

  async prepared<T>(work: Promise<T>): Promise<T> {
    const waiting = new Cancellation();
    this.canBeCancelledBy((reason) => waiting.cancel(reason));
    const result = await Promise.race([work, waiting.asRejection()]);
    // It may have come in the same turn as the cancellation: nothing is sent then.
    this.stop.throwIfCancelled();
    return result;
  }

  noteReasoning(): void {
    this.attempt.noteReasoning();
  }

  noteDropped(dropped: readonly string[]): void {
    this.attempt.noteDropped(dropped);
  }

  noteHeaders(headers: ReadonlyMap<string, string>, sentAt: number): void {
    this.attempt.noteHeaders(headers, sentAt);
  }

  noteKey(key: string | undefined): void {
    this.attempt.noteKey(key);
  }

  throwIfOver(): void {
    this.stop.throwIfCancelled();
    this.attempt.throwIfOver();
  }

  /** There is nothing left to cancel. */
  end(): void {
    this.#stopListening();
  }
}

/**
 * The vectors in the order of their inputs.
 * @throws {UpstreamError} bad response: there are more or fewer of them than inputs.
 */
export function inOrder(reply: EmbeddingReply, count: number): EmbeddingReply {
  const { data } = reply;
  if (data.length !== count) {
    throw badResponse(`the answer has ${data.length} embeddings for ${count} ${count === 1 ? "input" : "inputs"}`);
  }
  if (data.every(({ index }, position) => index === position)) return reply;
  const byIndex = new Array<Embedding | undefined>(count).fill(undefined);
  for (const embedding of data) {
    const { index } = embedding;
    if (Number.isInteger(index) && index >= 0 && index < count) byIndex[index] = embedding;
  }
  // Engines that number nothing, or everything alike, answer in order.
  const isNumbered = byIndex.every((embedding) => embedding !== undefined);
  const ordered = isNumbered ? byIndex : data;
  return { ...reply, data: ordered.map((embedding, index) => ({ ...embedding, index })) };
}

/** One answer of several, none of them empty; what nobody here knows is the first one's. */
function joined(replies: readonly EmbeddingReply[]): EmbeddingReply {
  const [first] = replies;
  if (!first) throw new Error("there is nothing to join");
  const data: Embedding[] = [];
  for (const reply of replies) {
    for (const embedding of reply.data) data.push({ ...embedding, index: data.length });
  }
  return { ...first, data, usage: summed(replies.map(({ usage }) => usage)) };
}

/** Counts are added up, also those in the details. */
function summed<T extends object>(all: readonly T[]): T {
  const sum: Record<string, unknown> = {};
  for (const each of all) {
    for (const [name, value] of Object.entries(each)) {
      const before = sum[name];
      if (typeof value === "number") sum[name] = (typeof before === "number" ? before : 0) + value;
      else if (isObject(value)) sum[name] = isObject(before) ? summed([before, value]) : summed([value]);
    }
  }
  // Every member that all of them must have is a count, so it is there.
  return sum as T;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function valuesOf(data: readonly Embedding[]): number {
  let values = 0;
  for (const { embedding } of data) {
    // As base64, 16 characters are three numbers.
    values += typeof embedding === "string" ? ((embedding as string).length * 3) / 16 : embedding.length;
  }
  return values;
}
