import { badResponse } from "../../errors/upstream-error.js";
import { exceedsDepth } from "../../protocol/json.js";

/** What a parsed JSON object is before anything is known of it. */
export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Both directions alike (S37). */
const MAX_DEPTH = 64;
/** A shorter JSON text has no room for 65 opening and closing brackets. */
const SHORTEST_TOO_DEEP = 2 * (MAX_DEPTH + 1);

/**
 * An upstream's JSON.
 * @param what - For the message: `the body`, `an event`.
 * @throws {UpstreamError} bad response: not JSON, or nested too deeply. The text itself is in no message or cause.
 */
export function parseUpstreamJson(text: string, what: string): unknown {
  if (text.length >= SHORTEST_TOO_DEEP && exceedsDepth(text, MAX_DEPTH)) {
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
