import type { DroppedFields } from "./encoded-body.js";
import type { JsonObject } from "./json-object.js";

/** The most tokens that the answer may have: the newer name wins. */
export function maxTokensOf({ max_completion_tokens: newer, max_tokens: older }: JsonObject): number | undefined {
  if (typeof newer === "number") return newer;
  return typeof older === "number" ? older : undefined;
}

/** The texts that end an answer, for upstreams that refuse those of whitespace only. */
export function stopSequences(stop: unknown, report: DroppedFields): string[] {
  if (stop === undefined || stop === null) return [];
  const given = Array.isArray(stop) ? stop : [stop];
  const usable = given.filter((sequence): sequence is string => typeof sequence === "string" && sequence.trim() !== "");
  if (usable.length < given.length) report.add("stop");
  return usable;
}
