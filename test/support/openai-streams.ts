import { expect } from "vitest";
import type { Chunk } from "../../src/protocol/operations.js";
import { openaiCompatible } from "../../src/providers/openai/facts/openai.js";
import type { OpenAiFacts } from "../../src/providers/openai/facts.js";
import type { KnownShapes } from "../../src/providers/openai/known-shapes.js";
import { chunkForm, textForm } from "../../src/providers/openai/stream.js";
import { openRepairedStream } from "../../src/providers/openai/upstream.js";
import type { AttemptContext, RelayPiece } from "../../src/providers/provider.js";
import { anAttempt } from "./attempt-context.js";
import { type DecodedStream, decodeStream } from "./vectors.js";

const utf8 = new TextEncoder();

/** Server-sent events: objects as JSON, texts as they are; `[DONE]` is not added. */
export function sse(...events: readonly unknown[]): Uint8Array {
  return utf8.encode(
    events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join(""),
  );
}

/** An event of a chat stream with one choice; `members` override or add to the event. */
export function anEvent(
  choice: Record<string, unknown>,
  members: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    id: "chatcmpl-up",
    object: "chat.completion.chunk",
    created: 1_767_225_000,
    model: "up-model",
    choices: [{ index: 0, finish_reason: null, ...choice }],
    ...members,
  };
}

/** An event whose delta is `delta`. */
export function aDelta(delta: Record<string, unknown>, members: Record<string, unknown> = {}): Record<string, unknown> {
  return anEvent({ delta }, members);
}

export const roleEvent = aDelta({ role: "assistant", content: "" });
export const stopEvent = anEvent({ delta: {}, finish_reason: "stop" });

export interface StreamOptions extends Partial<AttemptContext> {
  readonly facts?: OpenAiFacts;
  readonly splices?: boolean;
  /** What earlier streams of the same upstream had. */
  readonly known?: KnownShapes;
}

/** What becomes of a stream of these bytes. */
export function repairBytes(
  bytes: Uint8Array | Iterable<Uint8Array>,
  options: StreamOptions = {},
): DecodedStream<Chunk> {
  const { facts = openaiCompatible, splices = true, known: _known, ...context } = options;
  const decoder = openRepairedStream(facts, anAttempt({ isStreaming: true, ...context }), chunkForm, splices);
  return decodeStream(decoder, bytes instanceof Uint8Array ? [bytes] : bytes);
}

/** The same as JSON text, out of whatever the relay would write. */
export function repairText(
  bytes: Uint8Array | Iterable<Uint8Array>,
  options: StreamOptions = {},
): DecodedStream<string> {
  const { facts = openaiCompatible, splices = true, known, ...context } = options;
  const decoder = openRepairedStream(facts, anAttempt({ isStreaming: true, ...context }), textForm, splices, known);
  const decoded = decodeStream(decoder, bytes instanceof Uint8Array ? [bytes] : bytes);
  return { ...decoded, chunks: decoded.chunks.flatMap(textsOf) };
}

/** The texts of the chunks in one piece; framed events are checked to be nothing but `data` lines. */
export function textsOf(piece: RelayPiece): string[] {
  if (typeof piece === "string") return [piece];
  const events = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(piece);
  expect(events).toMatch(/^(?:data: [^\r\n]+\n\n)+$/);
  return events.slice("data: ".length, -2).split("\n\ndata: ");
}

/** What becomes of a stream of these events and `[DONE]`. */
export function repairEvents(events: readonly unknown[], options: StreamOptions = {}): DecodedStream<Chunk> {
  return repairBytes(sse(...events, "[DONE]"), options);
}

/** The choices of the chunks, without the members that all have in common. */
export function choicesOf({ chunks }: DecodedStream<Chunk>): unknown[] {
  return chunks.flatMap((chunk): unknown[] => chunk.choices);
}

/** The deltas of the chunks. */
export function deltasOf({ chunks }: DecodedStream<Chunk>): unknown[] {
  return chunks.flatMap(({ choices }) => choices.map((choice) => ("delta" in choice ? choice.delta : choice)));
}
