import { errorBody } from "./reply.js";

/** Ends a stream that ended well, and no other (R5). Exactly these characters (S31). */
export const DONE_EVENT = "data: [DONE]\n\n";

/**
 * Frames chunks as server-sent events, all in one text, so that they go out in one write.
 *
 * Only `data` lines are written: no names, ids or retry values (S33).
 *
 * @param texts - JSON texts, at least one.
 */
export function eventsOf(texts: readonly string[]): string {
  let events = "";
  for (const text of texts) events += `data: ${singleLine(text)}\n\n`;
  return events;
}

/** The last event of a stream that broke. */
export function errorEvent(thrown: unknown): string {
  return eventsOf([JSON.stringify(errorBody(thrown))]);
}

/** A line break inside an event would begin another field. In JSON it can only be space between tokens. */
function singleLine(text: string): string {
  return text.includes("\n") || text.includes("\r") ? text.replace(/[\r\n]+/g, " ") : text;
}
