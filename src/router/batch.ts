import { RouterError, routerError } from "../errors/router-error.js";
import { onAbort } from "../internal/abort.js";
import type { Clock } from "../internal/clock.js";
import { type Deferred, deferred } from "../internal/deferred.js";
import { leaveIterator } from "../internal/leave-iterator.js";
import type { ChatRequest } from "../protocol/chat.js";
import type { CompletionRequest } from "../protocol/completions.js";
import type { EmbeddingRequest } from "../protocol/embeddings.js";
import type { Operation, Reply } from "../protocol/operations.js";
import type { Answer, CallOptions } from "./call.js";
import { checkCallOptions } from "./call-options.js";
import type { RoutingRecord } from "./routing-record.js";

/** One request of a batch: a chat body alone, or with what else there is to say. */
export type BatchItem<Model extends string = string> =
  | ChatRequest<Model>
  | {
      /** Comes back with the result. */
      readonly id?: string | undefined;
      /** @default "chat.completions" */
      readonly operation?: "chat.completions" | undefined;
      readonly body: ChatRequest<Model>;
      readonly options?: CallOptions | undefined;
    }
  | {
      readonly id?: string | undefined;
      readonly operation: "completions";
      readonly body: CompletionRequest<Model>;
      readonly options?: CallOptions | undefined;
    }
  | {
      readonly id?: string | undefined;
      readonly operation: "embeddings";
      readonly body: EmbeddingRequest<Model>;
      readonly options?: CallOptions | undefined;
    };

export interface BatchOptions {
  /** Most requests under way at the same time, 1–10,000. @default 16 */
  readonly concurrency?: number | undefined;
  /** `input`: results come in the order of the requests; `completed`: as they finish. @default "input" */
  readonly order?: "input" | "completed" | undefined;
  /** Called after each finished request. What it throws ends the batch. */
  readonly onProgress?: ((progress: BatchProgress) => void) | undefined;
  /** Stops the sending, aborts what is under way, and makes the iterator throw. */
  readonly signal?: AbortSignal | undefined;
}

export interface BatchProgress {
  /** Requests in the batch; `undefined` while an iterable without a length still yields. */
  readonly total: number | undefined;
  readonly completed: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly inFlight: number;
  readonly elapsedMs: number;
  /** Finished requests per second since the start. */
  readonly perSecond: number;
  /** Time that the rest needs at this rate; `undefined` while the total is unknown. */
  readonly etaMs: number | undefined;
}

/** What became of one request: its reply, or its error. One failed request never ends the batch. */
export type BatchResult =
  | { readonly id: string | undefined; readonly index: number; readonly data: Reply; readonly routing: RoutingRecord }
  | { readonly id: string | undefined; readonly index: number; readonly error: RouterError };

export interface BatchContext {
  readonly clock: Clock;
  send(operation: Operation, body: unknown, options: CallOptions | undefined): Promise<Answer>;
}

/**
 * Sends many requests with bounded concurrency. Nothing is sent before the first result is asked for, and at most
 * `2 × concurrency` requests are under way or waiting to be read: who reads slowly slows the sending.
 *
 * @throws {RouterError} `invalid_request`: the options are wrong; `cancelled`: `signal` aborted.
 */
export async function* runBatch(
  context: BatchContext,
  items: Iterable<BatchItem> | AsyncIterable<BatchItem>,
  options: BatchOptions = {},
): AsyncGenerator<BatchResult, void, undefined> {
  const { concurrency, order } = checkedOptions(options);
  const { clock } = context;
  const abort = new AbortController();
  const startedAt = clock.now();
  const source = iterate(items);

  /** Finished and not yet read; in input order the slot of each request waits at its place. */
  const finished: BatchResult[] = [];
  const slots = new Map<number, BatchResult>();
  let total = knownLength(items);
  let sent = 0;
  let succeeded = 0;
  let failed = 0;
  let inFlight = 0;
  let unread = 0;
  let isExhausted = false;
  let fatal: { readonly error: unknown } | undefined;
  /** The source broke: what was sent is still delivered before its error is thrown. */
  let sourceFault: { readonly error: unknown } | undefined;
  let wake: Deferred<void> = deferred();

  const report = () => {
    const completed = succeeded + failed;
    const elapsedMs = clock.now() - startedAt;
    const perSecond = elapsedMs > 0 ? (completed * 1000) / elapsedMs : 0;
    options.onProgress?.({
      total,
      completed,
      succeeded,
      failed,
      inFlight,
      elapsedMs,
      perSecond,
      etaMs: total === undefined || perSecond === 0 ? undefined : ((total - completed) * 1000) / perSecond,
    });
  };

  const sendOne = async (item: BatchItem, index: number) => {
    const result = await answerItem(context, item, index, abort.signal);
    inFlight -= 1;
    if ("error" in result) failed += 1;
    else succeeded += 1;
    if (order === "input") slots.set(index, result);
    else finished.push(result);
    if (!fatal) {
      try {
        report();
      } catch (error) {
        fatal = { error };
      }
    }
    wake.resolve();
    // Not only when the reader asks: while it works on one result, the next ones are under way.
    void pump();
  };

  /** Pulls from the source and sends, while there is room. One pump runs at a time: sources need not be re-entrant. */
  let isPumping = false;
  const pump = async () => {
    if (isPumping) return;
    isPumping = true;
    try {
      while (!isExhausted && !fatal && inFlight < concurrency && unread < 2 * concurrency) {
        const next = await source.next();
        if (fatal) break;
        if (next.done) {
          isExhausted = true;
          total = sent;
          wake.resolve();
          break;
        }
        inFlight += 1;
        unread += 1;
        // Never rejects: every failure is a result.
        void sendOne(next.value, sent++);
      }
    } catch (error) {
      sourceFault = { error };
      isExhausted = true;
      wake.resolve();
    } finally {
      isPumping = false;
    }
  };

  const stopFollowing = onAbort(options.signal, (reason) => {
    fatal ??= { error: routerError("cancelled", { message: "The batch was aborted.", cause: reason }) };
    abort.abort(reason);
    wake.resolve();
  });

  let nextIndex = 0;
  /** The next result in the wanted order, if it is there. */
  const take = (): BatchResult | undefined => {
    if (order === "completed") return finished.shift();
    const result = slots.get(nextIndex);
    if (result) slots.delete(nextIndex++);
    return result;
  };

  try {
    for (;;) {
      if (fatal) throw fatal.error;
      void pump();
      const result = take();
      if (result) {
        unread -= 1;
        yield result;
        continue;
      }
      if (isExhausted && inFlight === 0 && unread === 0) {
        if (sourceFault) throw sourceFault.error;
        return;
      }
      await wake.promise;
      wake = deferred();
    }
  } finally {
    // Also when the reader breaks out of its loop: nothing goes on behind its back.
    fatal ??= { error: undefined };
    stopFollowing();
    abort.abort(routerError("cancelled", { message: "The batch was left." }));
    leaveIterator(source);
  }
}

async function answerItem(
  context: BatchContext,
  item: BatchItem,
  index: number,
  signal: AbortSignal,
): Promise<BatchResult> {
  const isWrapped = typeof item === "object" && item !== null && "body" in item;
  const id = isWrapped && typeof item.id === "string" ? item.id : undefined;
  try {
    const operation = (isWrapped ? item.operation : undefined) ?? "chat.completions";
    const body: unknown = isWrapped ? item.body : item;
    if (typeof body === "object" && body !== null && "stream" in body && body.stream) {
      throw routerError("invalid_request", { param: "stream", message: "A batch takes no streaming requests." });
    }
    const options = isWrapped ? item.options : undefined;
    if (options) checkCallOptions(options, false);
    const ownSignal = options?.signal;
    const answer = await context.send(operation, body, {
      priority: "batch",
      ...options,
      signal: ownSignal ? AbortSignal.any([ownSignal, signal]) : signal,
    });
    if (answer.kind === "stream") throw routerError("internal_error");
    return { id, index, data: answer.reply, routing: answer.routing };
  } catch (error) {
    return {
      id,
      index,
      error: RouterError.isRouterError(error) ? error : routerError("internal_error", { cause: error }),
    };
  }
}

function checkedOptions({ concurrency = 16, order = "input" }: BatchOptions) {
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 10_000) {
    throw routerError("invalid_request", {
      param: "concurrency",
      message: `Expected \`concurrency\` to be an integer from 1 to 10,000, but it is ${String(concurrency)}.`,
    });
  }
  if (order !== "input" && order !== "completed") {
    throw routerError("invalid_request", {
      param: "order",
      message: `Expected \`order\` to be "input" or "completed", but it is ${JSON.stringify(order)}.`,
    });
  }
  return { concurrency, order };
}

function knownLength(items: Iterable<BatchItem> | AsyncIterable<BatchItem>): number | undefined {
  if (Array.isArray(items)) return items.length;
  return items instanceof Set ? items.size : undefined;
}

function iterate(items: Iterable<BatchItem> | AsyncIterable<BatchItem>) {
  if (typeof items !== "object" || items === null) {
    throw routerError("invalid_request", { message: "A batch takes an iterable of requests, sync or async." });
  }
  if (Symbol.asyncIterator in items) return items[Symbol.asyncIterator]();
  if (Symbol.iterator in items) {
    const iterator = items[Symbol.iterator]();
    return {
      next: async () => iterator.next(),
      return: async () => iterator.return?.() ?? { done: true as const, value: undefined },
    };
  }
  throw routerError("invalid_request", { message: "A batch takes an iterable of requests, sync or async." });
}
