import { badResponse } from "../../errors/upstream-error.js";
import { exceedsDepth } from "../../protocol/json.js";

/** What a parsed JSON object is before anything is known of it. */
export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Both directions alike (S37). */
const MAX_DEPTH = 64;
const BRACKETS = ["{", "["] as const;

/**
 * Whether a text has enough opening brackets to nest too deeply, those inside strings included. Few answers have, and
 * `indexOf` finds them ten times as fast as a loop over the characters.
 */
function mayBeTooDeep(text: string): boolean {
  let rest = MAX_DEPTH;
  for (const bracket of BRACKETS) {
    for (let index = text.indexOf(bracket); index !== -1; index = text.indexOf(bracket, index + 1)) {
      if (rest-- === 0) return true;
    }
  }
  return false;
}

/**
 * An upstream's JSON.
 * @param what - For the message: `the body`, `an event`.
 * @throws {UpstreamError} bad response: not JSON, or nested too deeply. The text itself is in no message or cause.
 */
export function parseUpstreamJson(text: string, what: string): unknown {
  if (mayBeTooDeep(text) && exceedsDepth(text, MAX_DEPTH)) {
    throw badResponse(`${what} nests deeper than ${MAX_DEPTH} levels`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw badResponse(`${what} is not valid JSON`);
  }
}

/** {@link parseUpstreamJson} where only an object makes sense. */
export function parseUpstreamObject(text: string, what: string): JsonObject {
  const value = parseUpstreamJson(text, what);
  if (!isJsonObject(value)) throw badResponse(`${what} is not a JSON object`);
  return value;
}

/** A non-empty string, or `undefined`. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Removes the members that are null, but for those that the schema wants to be there. */
export function removeNulls(object: JsonObject, ...wanted: readonly string[]): void {
  for (const key of Object.keys(object)) if (object[key] === null && !wanted.includes(key)) delete object[key];
}
