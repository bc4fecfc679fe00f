import type { Usage } from "../../protocol/usage.js";
import { isJsonObject } from "../shared/json-object.js";
import { isReported, type UsageListener } from "../shared/usage.js";

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/**
 * Wire C7: the service's own count of input leaves the cache out.
 * @param listener - Is told of counts that are none.
 * @see https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
 * @returns `undefined` where input or output are no counts (R18): then nothing was reported.
 */
export function usageOf(raw: unknown, listener: UsageListener): Usage | undefined {
  if (!isJsonObject(raw)) {
    if (isReported(raw)) listener.noteMalformedUsage?.();
    return undefined;
  }
  const { inputTokens, outputTokens, cacheReadInputTokens: reads, cacheWriteInputTokens: writes } = raw;
  const isWrong = [inputTokens, outputTokens, reads, writes].some((count) => isReported(count) && !isCount(count));
  if (isWrong) listener.noteMalformedUsage?.();
  if (!isCount(inputTokens) || !isCount(outputTokens)) return undefined;
  const prompt = inputTokens + (isCount(reads) ? reads : 0) + (isCount(writes) ? writes : 0);
  const usage: Usage = { prompt_tokens: prompt, completion_tokens: outputTokens, total_tokens: prompt + outputTokens };
  const details: NonNullable<Usage["prompt_tokens_details"]> = {};
  if (isCount(reads)) details.cached_tokens = reads;
  if (isCount(writes) && writes > 0) {
    details.cache_write_tokens = writes;
    const hourWrites = hourWritesOf(raw.cacheDetails);
    if (hourWrites > 0) details.cache_write_1h_tokens = hourWrites;
  }
  if (Object.keys(details).length > 0) usage.prompt_tokens_details = details;
  return usage;
}

/** Of the tokens written to the cache, those that are kept for an hour. */
function hourWritesOf(details: unknown): number {
  let tokens = 0;
  for (const detail of Array.isArray(details) ? (details as unknown[]) : []) {
    if (isJsonObject(detail) && detail.ttl === "1h" && isCount(detail.inputTokens)) tokens += detail.inputTokens;
  }
  return tokens;
}
