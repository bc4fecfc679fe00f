import type { UpstreamError } from "../../errors/upstream-error.js";
import type { Clock } from "../../internal/clock.js";
import type { Random } from "../../internal/random.js";
import type { ChatChunk, ChatDelta } from "../../protocol/chat.js";
import type { CompletionChunk } from "../../protocol/completions.js";
import { type AnswerPlan, longestChoice, type PlannedChoice } from "./request.js";
import { type AnswerIdentity, completionFinishReason, toolCallId, usageOf } from "./response.js";

/** A chunk, and when it may come. */
export interface StreamStep<T> {
  /** `token`: when the next token is ready. `with`: right after the step before. `end`: once all tokens have come. */
  readonly at: "with" | "token" | "end";
  readonly chunk: T;
}

/**
 * The chunks of an answer (wire S1–S3): the role of each choice, its tokens one by one, its finish reason, then the
 * usage in a chunk without choices.
 *
 * @param includeUsage - The caller asked for usage: all other chunks carry `usage: null`.
 */
export function* chatSteps(
  plan: AnswerPlan,
  { id, created, model, random }: AnswerIdentity,
  includeUsage: boolean,
): Generator<StreamStep<ChatChunk>> {
  const chunkWith = (choices: ChatChunk["choices"]): ChatChunk => {
    const chunk: ChatChunk = { id, object: "chat.completion.chunk", created, model, choices };
    if (includeUsage) chunk.usage = null;
    return chunk;
  };
  const withDelta = (index: number, delta: ChatDelta) => chunkWith([{ index, delta, finish_reason: null }]);
  for (const index of plan.choices.keys()) {
    yield { at: "with", chunk: withDelta(index, { role: "assistant", content: "" }) };
  }
  yield* inParallel(
    plan.choices.map((choice) => chatTokens(choice, random)),
    withDelta,
  );
  for (const [index, { finishReason }] of plan.choices.entries()) {
    if (finishReason) yield { at: "end", chunk: chunkWith([{ index, delta: {}, finish_reason: finishReason }]) };
  }
  yield {
    at: "end",
    chunk: { id, object: "chat.completion.chunk", created, model, choices: [], usage: usageOf(plan) },
  };
}

/** {@link chatSteps} for legacy completions, which have no role and end each choice with an empty text. */
export function* completionSteps(
  plan: AnswerPlan,
  { id, created, model }: AnswerIdentity,
  includeUsage: boolean,
): Generator<StreamStep<CompletionChunk>> {
  const chunkWith = (choices: CompletionChunk["choices"]): CompletionChunk => {
    const chunk: CompletionChunk = { id, object: "text_completion", created, model, choices };
    if (includeUsage) chunk.usage = null;
    return chunk;
  };
  const withText = (index: number, text: string) => chunkWith([{ index, text, finish_reason: null, logprobs: null }]);
  for (const [index, { echoed }] of plan.choices.entries()) {
    if (echoed) yield { at: "with", chunk: withText(index, echoed) };
  }
  yield* inParallel(
    plan.choices.map(({ text }) => text.map((piece) => [piece])),
    withText,
  );
  for (const [index, choice] of plan.choices.entries()) {
    const finishReason = completionFinishReason(choice.finishReason);
    if (finishReason) {
      yield { at: "end", chunk: chunkWith([{ index, text: "", finish_reason: finishReason, logprobs: null }]) };
    }
  }
  yield { at: "end", chunk: { id, object: "text_completion", created, model, choices: [], usage: usageOf(plan) } };
}

/** The deltas of one choice, token by token. */
function* chatTokens({ reasoning, text, toolCalls }: PlannedChoice, random: Random): Generator<ChatDelta[]> {
  for (const piece of reasoning) yield [{ reasoning_content: piece }];
  for (const piece of text) yield [{ content: piece }];
  for (const [index, call] of toolCalls.entries()) {
    const opening: ChatDelta = {
      tool_calls: [
        { index, id: call.id ?? toolCallId(random), type: "function", function: { name: call.name, arguments: "" } },
      ],
    };
    const pieces = call.arguments.map(
      (piece): ChatDelta => ({ tool_calls: [{ index, function: { arguments: piece } }] }),
    );
    // The name comes together with the first piece: it is no token of its own.
    yield [opening, ...pieces.slice(0, 1)];
    for (const delta of pieces.slice(1)) yield [delta];
  }
}

/** All choices are written at the same time: token by token, one of each choice. */
function* inParallel<P, T>(
  choices: readonly Iterable<readonly P[]>[],
  chunkOf: (index: number, part: P) => T,
): Generator<StreamStep<T>> {
  const iterators = choices.map((tokens) => tokens[Symbol.iterator]());
  for (let isOver = false; !isOver; ) {
    isOver = true;
    let at: StreamStep<T>["at"] = "token";
    for (const [index, iterator] of iterators.entries()) {
      const token = iterator.next();
      if (token.done) continue;
      isOver = false;
      for (const part of token.value) {
        yield { at, chunk: chunkOf(index, part) };
        at = "with";
      }
    }
  }
}

/** When the tokens of an answer are ready. */
export interface Pace {
  readonly ttftMs: number;
  readonly msPerToken: number;
  /** Each wait is longer or shorter by a random share of up to this much. */
  readonly jitter: number;
}

/** What waiting needs. */
export interface Waiting {
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

export interface PlannedFailure {
  readonly error: UpstreamError;
  readonly afterTokens: number;
}

/** The wait before token `index`, in milliseconds. */
function waitBefore(index: number, { ttftMs, msPerToken, jitter }: Pace, random: Random): number {
  const waitMs = index === 0 ? ttftMs : msPerToken;
  return jitter === 0 || waitMs === 0 ? waitMs : waitMs * (1 + jitter * (2 * random.next() - 1));
}

/**
 * The chunks, each not before its token is ready. Tokens are due on a schedule that begins now: a slow reader finds
 * several ready at once, and rounded timers do not add up.
 *
 * @throws the signal's reason; `failure` in the place of what comes after its tokens.
 */
export function paced<T>(
  steps: Iterable<StreamStep<T>>,
  pace: Pace,
  waiting: Waiting,
  failure?: PlannedFailure | undefined,
): AsyncGenerator<T, void> {
  return pacedFrom(waiting.clock.now(), steps, pace, waiting, failure);
}

async function* pacedFrom<T>(
  startedAt: number,
  steps: Iterable<StreamStep<T>>,
  pace: Pace,
  { clock, random, signal }: Waiting,
  failure: PlannedFailure | undefined,
): AsyncGenerator<T, void> {
  let dueMs = startedAt;
  let tokens = 0;
  for (const { at, chunk } of steps) {
    if (failure && (at === "end" || (at === "token" && tokens === failure.afterTokens))) throw failure.error;
    if (at === "token") {
      dueMs += waitBefore(tokens, pace, random);
      tokens++;
      const waitMs = dueMs - clock.now();
      if (waitMs > 0) await clock.sleep(waitMs, signal);
    }
    signal.throwIfAborted();
    yield chunk;
  }
}

/** How long the whole answer takes that {@link paced} would stream, in milliseconds. */
export function wholeAnswerMs(
  plan: AnswerPlan,
  pace: Pace,
  random: Random,
  failure: PlannedFailure | undefined,
): number {
  const tokens = Math.min(longestChoice(plan), failure?.afterTokens ?? Number.POSITIVE_INFINITY);
  let totalMs = 0;
  for (let index = 0; index < tokens; index++) totalMs += waitBefore(index, pace, random);
  return totalMs;
}
