import type { Usage } from "../../protocol/usage.js";
import { isJsonObject } from "../../providers/shared/json-object.js";

/**
 * A model's token counts in OpenAI's form (wire C7).
 *
 * @param reported - Version 2: plain numbers. Later versions: totals with their parts.
 * @returns `undefined` where the model reports none.
 */
export function openaiUsage(reported: unknown): Usage | undefined {
  if (!isJsonObject(reported)) return undefined;
  const { inputTokens: input, outputTokens: output } = reported;
  const prompt = isJsonObject(input) ? count(input.total) : count(input);
  const completion = isJsonObject(output) ? count(output.total) : count(output);
  if (prompt === undefined && completion === undefined) return undefined;
  const usage: Usage = {
    prompt_tokens: prompt ?? 0,
    completion_tokens: completion ?? 0,
    total_tokens: (prompt ?? 0) + (completion ?? 0),
  };
  const cached = isJsonObject(input) ? count(input.cacheRead) : count(reported.cachedInputTokens);
  const written = isJsonObject(input) ? count(input.cacheWrite) : undefined;
  if (cached !== undefined || written) {
    usage.prompt_tokens_details = {};
    if (cached !== undefined) usage.prompt_tokens_details.cached_tokens = cached;
    if (written) usage.prompt_tokens_details.cache_write_tokens = written;
  }
  const reasoning = isJsonObject(output) ? count(output.reasoning) : count(reported.reasoningTokens);
  if (reasoning !== undefined) usage.completion_tokens_details = { reasoning_tokens: reasoning };
  return usage;
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
