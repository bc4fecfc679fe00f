const SHORTEST_FIRST_TOKEN_MS = 10_000;
const USUAL_MS = 60_000;
/** Models that reason are silent for longer. */
const REASONING_MS = 300_000;
/** Models that are loaded on demand: the first request pays for it. */
const LOADING_MS = 120_000;
/** Later than this many times its prediction, an answer is not expected any more. */
const PATIENCE = 8;

const IDLE_MS = 15_000;
const REASONING_IDLE_MS = 30_000;

export interface AnswerWait {
  readonly isStreaming: boolean;
  /** `timeouts.firstTokenMs`, where the operator has set it: it wins, for streams. */
  readonly firstTokenMs: number | undefined;
  /** `timeouts.totalMs`. */
  readonly totalMs: number;
  /** Predicted TTFT of a stream, or predicted duration of a whole reply of p95 length; `undefined` before any sample. */
  readonly predictedMs: number | undefined;
  /** Reasoning is asked for, or was seen from this deployment. */
  readonly isReasoning: boolean;
  readonly loadsModelsOnDemand: boolean;
}

/**
 * How long an attempt may take until its answer: the first content of a stream, or the whole reply (routing §7).
 *
 * @returns milliseconds from the start of the attempt, at most `totalMs`.
 */
export function answerTimeoutMs(wait: AnswerWait): number {
  return Math.min(wait.totalMs, wait.isStreaming ? firstTokenTimeoutMs(wait) : wholeAnswerTimeoutMs(wait));
}

function firstTokenTimeoutMs({ firstTokenMs, predictedMs, isReasoning, loadsModelsOnDemand }: AnswerWait): number {
  if (firstTokenMs !== undefined) return firstTokenMs;
  const longestMs = isReasoning ? REASONING_MS : USUAL_MS;
  const learnedMs =
    predictedMs === undefined
      ? longestMs
      : Math.max(SHORTEST_FIRST_TOKEN_MS, Math.min(longestMs, PATIENCE * predictedMs));
  return loadsModelsOnDemand ? Math.max(LOADING_MS, learnedMs) : learnedMs;
}

function wholeAnswerTimeoutMs({ totalMs, predictedMs, isReasoning, loadsModelsOnDemand }: AnswerWait): number {
  const leastMs = isReasoning ? REASONING_MS : loadsModelsOnDemand ? LOADING_MS : USUAL_MS;
  // All of it would leave no time for anybody else, if this one is silent.
  const longestMs = predictedMs === undefined ? totalMs / 2 : PATIENCE * predictedMs;
  return Math.max(leastMs, longestMs);
}

/**
 * How long a stream may send no byte, once it has begun.
 *
 * @param idleMs - `timeouts.idleMs`, where the operator has set it: it wins.
 */
export function idleTimeoutMs(idleMs: number | undefined, isReasoning: boolean): number {
  return idleMs ?? (isReasoning ? REASONING_IDLE_MS : IDLE_MS);
}
