import type { Usage } from "../../protocol/usage.js";
import type { AttemptContext } from "../provider.js";
import { isJsonObject, type JsonObject } from "./json-object.js";

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** Counters of the details objects; other members of theirs pass as they are. */
const DETAIL_COUNTERS: ReadonlySet<string> = new Set([
  "cached_tokens",
  "audio_tokens",
  "image_tokens",
  "cache_write_tokens",
  "cache_write_1h_tokens",
  "reasoning_tokens",
  "accepted_prediction_tokens",
  "rejected_prediction_tokens",
]);

/** Who is told that an upstream reported what cannot be true (R18): an attempt's context. */
export type UsageListener = Pick<AttemptContext, "noteMalformedUsage">;

/** `undefined` and `null` report nothing, which is not wrong. */
export const isReported = (value: unknown) => value !== undefined && value !== null;

/**
 * Repairs reported token counts in place (repair R15) and drops what cannot be true (R18).
 *
 * @param listener - Is told if something was dropped.
 * @returns `undefined` where prompt or completion are no counts: then nothing was reported.
 */
export function repairUsage(raw: unknown, listener: UsageListener): Usage | undefined {
  if (!isJsonObject(raw)) {
    if (isReported(raw)) listener.noteMalformedUsage?.();
    return undefined;
  }
  for (const key of Object.keys(raw)) if (raw[key] === null) delete raw[key];
  const { prompt_tokens: prompt, completion_tokens: completion } = raw;
  if (prompt === undefined && completion === undefined) return undefined;
  if (!isCount(prompt ?? 0) || !isCount(completion ?? 0)) {
    listener.noteMalformedUsage?.();
    return undefined;
  }
  let isRight = true;
  raw.prompt_tokens ??= 0;
  raw.completion_tokens ??= 0;

  if ("reasoning_tokens" in raw) {
    const reasoning = raw.reasoning_tokens;
    delete raw.reasoning_tokens;
    isRight &&= isCount(reasoning);
    if (isCount(reasoning) && reasoning > 0) setDetail(raw, "completion_tokens_details", "reasoning_tokens", reasoning);
  }
  const cached = raw.prompt_cache_hit_tokens ?? raw.num_cached_tokens;
  if (isCount(cached)) setDetail(raw, "prompt_tokens_details", "cached_tokens", cached);
  else if (cached !== undefined) isRight = false;
  const areDetailsRight = [
    repairDetails(raw, "prompt_tokens_details"),
    repairDetails(raw, "completion_tokens_details"),
  ].every((one) => one);
  if (!areDetailsRight || !isCount(raw.total_tokens ?? 0)) isRight = false;
  // Both are counts now: checked or filled in above.
  if (!isCount(raw.total_tokens)) raw.total_tokens = (raw.prompt_tokens as number) + (raw.completion_tokens as number);
  if (!isRight) listener.noteMalformedUsage?.();
  return raw as JsonObject & Usage; // the members that `Usage` names are checked
}

/** Whether {@link repairUsage} would leave it as it is, and say nothing. */
export function isUsageInOrder(raw: unknown): raw is Usage {
  if (!isJsonObject(raw) || !isCount(raw.prompt_tokens) || !isCount(raw.completion_tokens)) return false;
  if (!isCount(raw.total_tokens)) return false;
  for (const key in raw) {
    if (raw[key] === null || MOVED.has(key)) return false;
    const isDetails = key === "prompt_tokens_details" || key === "completion_tokens_details";
    if (isDetails && !areDetailsInOrder(raw[key])) return false;
  }
  return true;
}

/** Counts that are put where OpenAI has them. */
const MOVED: ReadonlySet<string> = new Set(["reasoning_tokens", "prompt_cache_hit_tokens", "num_cached_tokens"]);

function areDetailsInOrder(details: unknown): boolean {
  if (!isJsonObject(details)) return false;
  let isEmpty = true;
  for (const key in details) {
    isEmpty = false;
    if (details[key] === null || (DETAIL_COUNTERS.has(key) && !isCount(details[key]))) return false;
  }
  return !isEmpty;
}

function setDetail(usage: JsonObject, group: string, name: string, value: number): void {
  const details = isJsonObject(usage[group]) ? usage[group] : {};
  if (!isCount(details[name])) details[name] = value;
  usage[group] = details;
}

/** @returns whether nothing was dropped that should be a count. */
function repairDetails(usage: JsonObject, group: string): boolean {
  const details = usage[group];
  if (details === undefined) return true;
  if (!isJsonObject(details)) {
    delete usage[group];
    return false;
  }
  let isEmpty = true;
  let isRight = true;
  for (const key of Object.keys(details)) {
    const value = details[key];
    const isWrong = value !== null && DETAIL_COUNTERS.has(key) && !isCount(value);
    if (isWrong) isRight = false;
    if (isWrong || value === null) delete details[key];
    else isEmpty = false;
  }
  if (isEmpty) delete usage[group];
  return isRight;
}

/**
 * The usage of a stream after one more report: the later one, unless it is less than what was reported before (R18).
 */
export function laterUsage(before: Usage | undefined, raw: unknown, listener: UsageListener): Usage | undefined {
  const usage = repairUsage(raw, listener);
  if (!usage) return before;
  const isShrinking =
    before !== undefined &&
    (usage.prompt_tokens < before.prompt_tokens || usage.completion_tokens < before.completion_tokens);
  if (isShrinking) listener.noteMalformedUsage?.();
  return isShrinking ? before : usage;
}
