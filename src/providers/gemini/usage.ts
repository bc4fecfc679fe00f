import type { Usage } from "../../protocol/usage.js";
import { isJsonObject } from "../shared/json-object.js";

/**
 * Token counts in OpenAI's terms (wire C7).
 * @returns `undefined` where the prompt's are not reported, or something that cannot be true is (R18).
 */
export function usageOf(raw: unknown): Usage | undefined {
  if (!isJsonObject(raw)) return undefined;
  const own = countOf(raw.promptTokenCount);
  const thoughts = countOf(raw.thoughtsTokenCount);
  const cached = countOf(raw.cachedContentTokenCount);
  const total = countOf(raw.totalTokenCount);
  if (own === undefined) return undefined;
  const prompt = own + (countOf(raw.toolUsePromptTokenCount) ?? 0);
  const completion = (countOf(raw.candidatesTokenCount) ?? 0) + (thoughts ?? 0);
  if (Number.isNaN(prompt) || Number.isNaN(completion)) return undefined;
  const isTotalKnown = total !== undefined && !Number.isNaN(total);
  const usage: Usage = {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: isTotalKnown ? total : prompt + completion,
  };
  if (cached !== undefined && !Number.isNaN(cached)) usage.prompt_tokens_details = { cached_tokens: cached };
  if (thoughts !== undefined) usage.completion_tokens_details = { reasoning_tokens: thoughts };
  return usage;
}

/** `undefined` where nothing stands, `NaN` where something stands that is no count. */
function countOf(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : Number.NaN;
}
