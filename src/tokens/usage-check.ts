import type { Usage } from "../protocol/usage.js";

/** What was odd about an upstream's usage. Assignable to the ledger's flags. */
export type UsageFlag = "usage-malformed" | "usage-implausible";

/** Over this many times our own count a report is flagged; it stands all the same. */
const IMPLAUSIBLE_FACTOR = 4;

/** Counts of the details that have a meaning here; other members pass as they are. */
const INPUT_DETAILS = ["cached_tokens", "cache_write_tokens", "cache_write_1h_tokens", "audio_tokens", "image_tokens"];
const OUTPUT_DETAILS = [
  "reasoning_tokens",
  "audio_tokens",
  "image_tokens",
  "accepted_prediction_tokens",
  "rejected_prediction_tokens",
];

export interface CheckedUsage {
  /** The report itself where nothing was wrong with it. */
  readonly usage: Usage;
  readonly flags: readonly UsageFlag[];
  /** Prompt or answer tokens are our own count, because the upstream reported none, or none that can be true. */
  readonly isEstimated: boolean;
}

const NO_FLAGS: readonly UsageFlag[] = Object.freeze([]);

/**
 * Holds what an upstream reports against what can be true and against our own count (R18): counts that are negative, not
 * finite, no integers, beyond any request, or less than reported before are ignored, details that are more than their whole are left out.
 * Flags say so, and also where a report is over four times our count.
 *
 * @param reported - `undefined`: nothing was.
 * @param ours - What was counted or estimated here.
 * @param before - An earlier report of the same answer.
 * @param mediaTokens - The most that images, sound and files of the prompt may count, which ours leaves out.
 */
export function checkedUsage(reported: Usage | undefined, ours: Usage, before?: Usage, mediaTokens = 0): CheckedUsage {
  if (!reported) return { usage: before ?? ours, flags: NO_FLAGS, isEstimated: before === undefined };
  const flags: UsageFlag[] = [];
  const prompt = credible(reported.prompt_tokens, before?.prompt_tokens);
  const completion = credible(reported.completion_tokens, before?.completion_tokens);
  const usage = repaired(
    reported,
    prompt ?? before?.prompt_tokens ?? ours.prompt_tokens,
    completion ?? before?.completion_tokens ?? ours.completion_tokens,
  );
  if (usage !== reported) flags.push("usage-malformed");

  const isImplausible =
    usage.prompt_tokens > IMPLAUSIBLE_FACTOR * ours.prompt_tokens + mediaTokens ||
    seenTokens(usage) > IMPLAUSIBLE_FACTOR * ours.completion_tokens;
  if (isImplausible) flags.push("usage-implausible");
  const isEstimated = (prompt === undefined || completion === undefined) && before === undefined;
  return { usage, flags: flags.length === 0 ? NO_FLAGS : flags, isEstimated };
}

/** Without what a model thinks or guesses unseen, and what is no text: nobody here could have counted those. */
function seenTokens({ completion_tokens: all, completion_tokens_details: details }: Usage): number {
  if (!details) return all;
  const { reasoning_tokens, audio_tokens, image_tokens, rejected_prediction_tokens } = details;
  return all - (reasoning_tokens ?? 0) - (audio_tokens ?? 0) - (image_tokens ?? 0) - (rejected_prediction_tokens ?? 0);
}

/** No request has as many tokens; sums of counts below it stay exact. */
const MAX_COUNT = 1_000_000_000;

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_COUNT;

const isTotal = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function credible(count: unknown, before: number | undefined): number | undefined {
  return isCount(count) && (before === undefined || count >= before) ? count : undefined;
}

/** @returns the same object if it is right. */
function repaired(reported: Usage, prompt: number, completion: number): Usage {
  const { prompt_tokens_details: input, completion_tokens_details: output } = reported;
  const isInputRight = areDetailsRight(input, INPUT_DETAILS, prompt);
  const isOutputRight = areDetailsRight(output, OUTPUT_DETAILS, completion);
  const isRight =
    prompt === reported.prompt_tokens &&
    completion === reported.completion_tokens &&
    isInputRight &&
    isOutputRight &&
    isTotal(reported.total_tokens);
  if (isRight) return reported;
  const { prompt_tokens_details: _input, completion_tokens_details: _output, ...rest } = reported;
  const isWhole = prompt === reported.prompt_tokens && completion === reported.completion_tokens;
  const usage: Usage = {
    ...rest,
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: isWhole && isTotal(reported.total_tokens) ? reported.total_tokens : prompt + completion,
  };
  const rightInput = isInputRight ? input : rightDetails(input, INPUT_DETAILS, prompt);
  const rightOutput = isOutputRight ? output : rightDetails(output, OUTPUT_DETAILS, completion);
  if (rightInput) usage.prompt_tokens_details = rightInput;
  if (rightOutput) usage.completion_tokens_details = rightOutput;
  return usage;
}

type Details = Readonly<Record<string, unknown>>;

function areDetailsRight(details: Details | undefined, names: readonly string[], whole: number): boolean {
  if (details === undefined) return true;
  if (typeof details !== "object" || details === null) return false;
  for (const name of names) {
    const value = details[name];
    if (value !== undefined && !(isCount(value) && value <= whole)) return false;
  }
  return !areTooMany(details, whole);
}

/** A prompt token is read from the cache or written to it, not both. */
function areTooMany({ cached_tokens: read, cache_write_tokens: written }: Details, whole: number): boolean {
  return isCount(read) && isCount(written) && read + written > whole;
}

function rightDetails(details: unknown, names: readonly string[], whole: number): Details | undefined {
  if (typeof details !== "object" || details === null) return undefined;
  const right: Record<string, unknown> = { ...details };
  for (const name of names) if (!(isCount(right[name]) && right[name] <= whole)) delete right[name];
  // The dearer of the two accounts: nothing came from the cache.
  if (areTooMany(right, whole)) delete right.cached_tokens;
  return Object.keys(right).length > 0 ? right : undefined;
}
