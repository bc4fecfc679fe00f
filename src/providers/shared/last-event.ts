import { UpstreamError } from "../../errors/upstream-error.js";

/**
 * Reads what is left when a stream ends: an event that lacks its empty line, or the half of an event that was cut.
 *
 * A half is cut, not unreadable: whether the answer is complete does not depend on it.
 */
export function readLastEvent(reader: { end(): void }): void {
  try {
    reader.end();
  } catch (error) {
    if (!(error instanceof UpstreamError) || !error.isBadResponse) throw error;
  }
}
