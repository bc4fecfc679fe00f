import { badResponse } from "../../errors/upstream-error.js";

/** Of choices and tool calls (S30). */
const MAX_INDEX = 127;

/**
 * The index that an upstream gave, or `fallback` where it gave none.
 * @throws {UpstreamError} bad response: outside 0…127.
 */
export function boundedIndex(value: unknown, fallback: number, what: string): number {
  const index = typeof value === "number" ? value : fallback;
  if (!Number.isInteger(index) || index < 0 || index > MAX_INDEX) {
    throw badResponse(`${what} has an index outside 0…${MAX_INDEX}`);
  }
  return index;
}

/** Arguments as JSON text (wire C8); missing ones are empty. */
export function argumentsText(value: unknown): string {
  if (typeof value === "string") return value;
  return value === undefined || value === null ? "" : JSON.stringify(value);
}
