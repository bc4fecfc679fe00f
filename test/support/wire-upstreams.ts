import { UpstreamError } from "../../src/errors/upstream-error.js";
import type { Chunk, Operation, Reply, RequestBody } from "../../src/protocol/operations.js";
import type { AttemptContext, EncodedRequest, ProviderSettings, WireUpstream } from "../../src/providers/provider.js";
import { knownProviders } from "../../src/providers/registry.js";
import { anAttempt } from "./attempt-context.js";
import { type DecodedStream, decodeStream } from "./vectors.js";

export type Json = Record<string, unknown>;

/** The upstream of a known provider, with a model of its own unless told otherwise. */
export function connectWire(name: string, settings: Partial<ProviderSettings> = {}): WireUpstream {
  const provider = knownProviders.get(name);
  if (!provider) throw new Error(`${name} is not known`);
  const upstream = provider.connect({
    model: "wire-model",
    baseUrl: provider.defaultBaseUrl,
    unknownFields: "forward",
    own: {},
    ...settings,
  });
  if (upstream.kind !== "wire") throw new Error(`${name} is no wire upstream`);
  return upstream;
}

export interface Sent extends EncodedRequest {
  readonly json: Json;
}

export interface SendOptions extends Partial<ProviderSettings> {
  readonly operation?: Operation;
}

/** What a provider makes of a body. The body must stay as it is. */
export function send(name: string, body: Json, { operation, ...settings }: SendOptions = {}): Sent {
  const upstream = connectWire(name, settings);
  const before = JSON.stringify(body);
  const context = anAttempt({
    operation: operation ?? "chat.completions",
    isStreaming: body.stream === true,
    model: settings.model ?? "wire-model",
  });
  const encoded = upstream.encode(body as unknown as RequestBody, context); // any object may arrive
  if (JSON.stringify(body) !== before) throw new Error("the caller's body was changed");
  return { ...encoded, json: JSON.parse(encoded.body ?? "null") as Json };
}

export const HI = { role: "user", content: "Hi" };

/** A chat body of these fields. */
export function chat(fields: Json = {}): Json {
  return { model: "group", messages: [HI], ...fields };
}

/** The error that `run` throws. */
export function upstreamErrorOf(run: () => unknown): UpstreamError {
  try {
    run();
  } catch (error) {
    if (error instanceof UpstreamError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** A whole answer, decoded. */
export function decodeWhole(
  upstream: WireUpstream,
  body: unknown,
  context: Partial<AttemptContext> = {},
  headers: Readonly<Record<string, string>> = {},
): Reply {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return upstream.decodeReply({ status: 200, headers: new Map(Object.entries(headers)), text }, anAttempt(context));
}

/** What becomes of a stream of these events: objects as JSON with their `type` as the event's name, texts as they are. */
export function decodeEvents(
  upstream: WireUpstream,
  events: readonly unknown[],
  context: Partial<AttemptContext> = {},
): DecodedStream<Chunk> {
  return decodeText(upstream, events.map(eventText).join(""), context);
}

export function decodeText(
  upstream: WireUpstream,
  text: string,
  context: Partial<AttemptContext> = {},
): DecodedStream<Chunk> {
  const decoder = upstream.openStream(anAttempt({ isStreaming: true, ...context }));
  return decodeStream(decoder, [new TextEncoder().encode(text)]);
}

function eventText(event: unknown): string {
  if (typeof event === "string") return event;
  const { type } = event as { type?: unknown };
  return `${typeof type === "string" ? `event: ${type}\n` : ""}data: ${JSON.stringify(event)}\n\n`;
}

/** The deltas of all chunks, with the finish reason where there is one. */
export function deltasOf({ chunks }: { readonly chunks: readonly Chunk[] }): unknown[] {
  return chunks.flatMap(({ choices }) =>
    choices.map((choice) => {
      if (!("delta" in choice)) return choice;
      return choice.finish_reason === null ? choice.delta : choice.finish_reason;
    }),
  );
}

/** What a failed call means. */
export function errorOf(
  upstream: WireUpstream,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): UpstreamError {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return upstream.decodeError({ status, headers: new Map(Object.entries(headers)), text }, anAttempt());
}
