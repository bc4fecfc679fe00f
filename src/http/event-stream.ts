import type { RelayPiece } from "../providers/provider.js";
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

/** What is to be written of a batch, in order: events that come framed as they are, texts between them in one piece. */
export function framesOf(pieces: readonly RelayPiece[]): readonly RelayPiece[] {
  const [first] = pieces;
  if (pieces.length === 1 && first instanceof Uint8Array) return pieces;
  const frames: RelayPiece[] = [];
  let texts: string[] = [];
  for (const piece of pieces) {
    if (typeof piece === "string") {
      texts.push(piece);
      continue;
    }
    if (texts.length > 0) frames.push(eventsOf(texts));
    texts = [];
    frames.push(piece);
  }
  if (texts.length > 0) frames.push(eventsOf(texts));
  return frames;
}

/** The last event of a stream that broke. */
export function errorEvent(thrown: unknown): string {
  return eventsOf([JSON.stringify(errorBody(thrown))]);
}

/** A line break inside an event would begin another field. In JSON it can only be space between tokens. */
function singleLine(text: string): string {
  return text.includes("\n") || text.includes("\r") ? text.replace(/[\r\n]+/g, " ") : text;
}
