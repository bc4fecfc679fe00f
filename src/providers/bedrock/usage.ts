import type { Usage } from "../../protocol/usage.js";
import { isJsonObject } from "../shared/json-object.js";

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/**
 * Wire C7: the service's own count of input leaves the cache out.
 * @returns `undefined` where input or output are no counts (R18): then nothing was reported.
 */
export function usageOf(raw: unknown): Usage | undefined {
  if (!isJsonObject(raw)) return undefined;
  const { inputTokens, outputTokens, cacheReadInputTokens: reads, cacheWriteInputTokens: writes } = raw;
  if (!isCount(inputTokens) || !isCount(outputTokens)) return undefined;
  const prompt = inputTokens + (isCount(reads) ? reads : 0) + (isCount(writes) ? writes : 0);
  const usage: Usage = { prompt_tokens: prompt, completion_tokens: outputTokens, total_tokens: prompt + outputTokens };
  const details: NonNullable<Usage["prompt_tokens_details"]> = {};
  if (isCount(reads)) details.cached_tokens = reads;
  if (isCount(writes) && writes > 0) details.cache_write_tokens = writes;
  if (Object.keys(details).length > 0) usage.prompt_tokens_details = details;
  return usage;
}
