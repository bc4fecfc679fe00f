import type { Usage } from "../../protocol/usage.js";
import { isJsonObject, type JsonObject } from "./json-object.js";

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** Counters of the details objects; other members of theirs pass as they are. */
const DETAIL_COUNTERS: ReadonlySet<string> = new Set([
  "cached_tokens",
  "audio_tokens",
  "cache_write_tokens",
  "reasoning_tokens",
  "accepted_prediction_tokens",
  "rejected_prediction_tokens",
]);

/**
 * Repairs reported token counts in place (repair R15) and drops what cannot be true (R18).
 *
 * @returns `undefined` where prompt or completion are no counts: then nothing was reported.
 */
export function repairUsage(raw: unknown): Usage | undefined {
  if (!isJsonObject(raw)) return undefined;
  for (const key of Object.keys(raw)) if (raw[key] === null) delete raw[key];
  const { prompt_tokens: prompt, completion_tokens: completion } = raw;
  if (prompt === undefined && completion === undefined) return undefined;
  if (!isCount(prompt ?? 0) || !isCount(completion ?? 0)) return undefined;
  raw.prompt_tokens ??= 0;
  raw.completion_tokens ??= 0;

  if ("reasoning_tokens" in raw) {
    const reasoning = raw.reasoning_tokens;
    delete raw.reasoning_tokens;
    if (isCount(reasoning) && reasoning > 0) setDetail(raw, "completion_tokens_details", "reasoning_tokens", reasoning);
  }
  const cached = raw.prompt_cache_hit_tokens ?? raw.num_cached_tokens;
  if (isCount(cached)) setDetail(raw, "prompt_tokens_details", "cached_tokens", cached);
  repairDetails(raw, "prompt_tokens_details");
  repairDetails(raw, "completion_tokens_details");
  // Both are counts now: checked or filled in above.
  if (!isCount(raw.total_tokens)) raw.total_tokens = (raw.prompt_tokens as number) + (raw.completion_tokens as number);
  return raw as JsonObject & Usage; // the members that `Usage` names are checked
}

function setDetail(usage: JsonObject, group: string, name: string, value: number): void {
  const details = isJsonObject(usage[group]) ? usage[group] : {};
  if (!isCount(details[name])) details[name] = value;
  usage[group] = details;
}

function repairDetails(usage: JsonObject, group: string): void {
  const details = usage[group];
  if (details === undefined) return;
  if (!isJsonObject(details)) {
    delete usage[group];
    return;
  }
  let isEmpty = true;
  for (const key of Object.keys(details)) {
    const value = details[key];
    if (value === null || (DETAIL_COUNTERS.has(key) && !isCount(value))) delete details[key];
    else isEmpty = false;
  }
  if (isEmpty) delete usage[group];
}

/**
 * The usage of a stream after one more report: the later one, unless it is less than what was reported before (R18).
 */
export function laterUsage(before: Usage | undefined, raw: unknown): Usage | undefined {
  const usage = repairUsage(raw);
  if (!usage) return before;
  const isShrinking =
    before !== undefined &&
    (usage.prompt_tokens < before.prompt_tokens || usage.completion_tokens < before.completion_tokens);
  return isShrinking ? before : usage;
}
