import type { Usage } from "../../protocol/usage.js";
import { isJsonObject } from "../shared/json-object.js";
import { isReported, type UsageListener } from "../shared/usage.js";

/**
 * Token counts in OpenAI's terms (wire C7).
 *
 * @param listener - Is told of counts that are none.
 * @returns `undefined` where the prompt's are not reported, or something that cannot be true is (R18).
 */
export function usageOf(raw: unknown, listener: UsageListener): Usage | undefined {
  if (!isJsonObject(raw)) {
    if (isReported(raw)) listener.noteMalformedUsage?.();
    return undefined;
  }
  const own = countOf(raw.promptTokenCount);
  const thoughts = countOf(raw.thoughtsTokenCount);
  const cached = countOf(raw.cachedContentTokenCount);
  const total = countOf(raw.totalTokenCount);
  const ofTools = countOf(raw.toolUsePromptTokenCount);
  const ofCandidates = countOf(raw.candidatesTokenCount);
  if ([own, thoughts, cached, total, ofTools, ofCandidates].some(Number.isNaN)) listener.noteMalformedUsage?.();
  if (own === undefined) return undefined;
  const prompt = own + (ofTools ?? 0);
  const completion = (ofCandidates ?? 0) + (thoughts ?? 0);
  if (Number.isNaN(prompt) || Number.isNaN(completion)) return undefined;
  const isTotalKnown = total !== undefined && !Number.isNaN(total);
  const usage: Usage = {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: isTotalKnown ? total : prompt + completion,
  };
  const input: NonNullable<Usage["prompt_tokens_details"]> = {
    ...(cached !== undefined && !Number.isNaN(cached) && { cached_tokens: cached }),
    ...mediaTokens(raw.promptTokensDetails, raw.toolUsePromptTokensDetails),
  };
  if (Object.keys(input).length > 0) usage.prompt_tokens_details = input;
  const output: NonNullable<Usage["completion_tokens_details"]> = {
    ...(thoughts !== undefined && { reasoning_tokens: thoughts }),
    ...mediaTokens(raw.candidatesTokensDetails),
  };
  if (Object.keys(output).length > 0) usage.completion_tokens_details = output;
  return usage;
}

/** What costs otherwise than text; video and documents do not, and count as the rest. */
function mediaTokens(...lists: readonly unknown[]): { audio_tokens?: number; image_tokens?: number } {
  let audio = 0;
  let images = 0;
  for (const entry of lists.flatMap((list): unknown[] => (Array.isArray(list) ? list : []))) {
    if (!isJsonObject(entry)) continue;
    const count = countOf(entry.tokenCount);
    if (count === undefined || Number.isNaN(count)) continue;
    if (entry.modality === "AUDIO") audio += count;
    else if (entry.modality === "IMAGE") images += count;
  }
  return { ...(audio > 0 && { audio_tokens: audio }), ...(images > 0 && { image_tokens: images }) };
}

/** `undefined` where nothing stands, `NaN` where something stands that is no count. */
function countOf(value: unknown): number | undefined {
  if (!isReported(value)) return undefined;
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : Number.NaN;
}
