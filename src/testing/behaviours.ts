import type { FinishReason } from "../protocol/chat.js";
import type { Usage } from "../protocol/usage.js";
import type { SimulatedModel } from "../providers/simulated/options.js";
import type { PlannedFailure } from "../providers/simulated/stream.js";
import {
  badFramingOptions,
  checked,
  delayOptions,
  errorOptions,
  hugeOptions,
  informationalOptions,
  rawOptions,
  redirectOptions,
  refusal,
  replyOptions,
  responseOptions,
  silenceOptions,
  slowHeadersOptions,
  streamOptions,
  surplusBytesOptions,
  wrongTypeOptions,
} from "./behaviour-options.js";

/**
 * What one request meets at a fake upstream. Plain data: make it with the functions below, each of which throws an
 * {@link InvalidOptionsError} where an option is none or cannot be that.
 */
export type Behaviour =
  | AnswerBehaviour
  | ResponseBehaviour
  | ResetBehaviour
  | CloseEarlyBehaviour
  | SilenceBehaviour
  | SlowHeadersBehaviour
  | InformationalBehaviour
  | BadFramingBehaviour
  | SurplusBytesBehaviour
  | RawBehaviour;

const KINDS: ReadonlySet<unknown> = new Set<Behaviour["kind"]>([
  "answer",
  "respond",
  "reset",
  "close-early",
  "silence",
  "slow-headers",
  "informational",
  "bad-framing",
  "surplus-bytes",
  "raw",
]);

/** @throws {InvalidOptionsError} it is none. @param path - Where it was given. */
export function expectBehaviour(path: string, value: unknown): void {
  const isBehaviour = typeof value === "object" && value !== null && "kind" in value && KINDS.has(value.kind);
  if (!isBehaviour) throw refusal(path, "a behaviour, such as reply() or error(500)", value);
}

/** Waits before a behaviour begins; the request has then been received. */
export interface DelayOptions {
  /** In milliseconds, on the upstream's clock. @default 0 */
  readonly delayMs?: number | undefined;
  /** Begins when this settles: for tests that hold an answer back. Comes after `delayMs`. */
  readonly until?: PromiseLike<unknown> | undefined;
}

export interface ScriptedToolCall {
  readonly name: string;
  /** JSON text as the model wrote it, valid or not; an object is serialised. @default {} */
  readonly arguments?: string | { readonly [name: string]: unknown } | undefined;
  /** Made up unless given. */
  readonly id?: string | undefined;
}

/** What an answer says, streamed or whole. */
export interface ReplyOptions extends DelayOptions {
  /**
   * The text, delivered as it is. Without text and tool calls the model echoes the last user message, obeys
   * `max_tokens`, `stop` and `n`, and fits `response_format` and `tool_choice` like provider `simulated`.
   */
  readonly text?: string | undefined;
  /** Visible reasoning (`reasoning_content`) before the text. */
  readonly reasoning?: string | undefined;
  readonly toolCalls?: readonly ScriptedToolCall[] | undefined;
  /** `null`: a stream never says why it ended. @default what fits the content */
  readonly finishReason?: FinishReason | null | undefined;
  /** Token counts to report: counted by default; `"absent"`: none; `"absurd"`: negative, fractional and enormous ones. */
  readonly usage?: Usage | "absent" | "absurd" | undefined;
  /** The model that the answer names. @default the one asked for */
  readonly model?: string | undefined;
  /** Length of embedding vectors where the request gives no `dimensions`. @default 64 */
  readonly embeddingDimensions?: number | undefined;
  /** Added to the response's headers. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * How an answer is streamed. Points of a stream are counted in events, the role chunk included: `0` is after the headers
 * and before the first event. A point beyond the last event is its end, before `[DONE]`. Requests that are not streamed
 * get the same answer whole, after as long as the stream would have taken.
 */
export interface StreamOptions extends ReplyOptions {
  /** The text in exactly these pieces, one event each, instead of `text`. */
  readonly chunks?: readonly string[] | undefined;
  /** Length of the answer in tokens: the text is repeated or cut. */
  readonly tokens?: number | undefined;
  /** Time to the first token, in milliseconds. @default 0 */
  readonly firstTokenMs?: number | undefined;
  /** Time between two tokens, in milliseconds. @default 0 */
  readonly msPerToken?: number | undefined;
  /** Each of these waits is longer or shorter by a random share of up to this much, 0–1. @default 0 */
  readonly jitter?: number | undefined;
  /** Send the usage chunk? @default what the request asks for in `stream_options` */
  readonly includeUsage?: boolean | undefined;
  /** `false`: `[DONE]` is missing. @default true */
  readonly done?: boolean | undefined;
  /** Content of events that follow `[DONE]`. */
  readonly afterDone?: readonly string[] | undefined;
  /** The body breaks off after this many bytes, within a chunk of HTTP's framing. */
  readonly cutAfterBytes?: number | undefined;
  /** The body breaks off after this many events. */
  readonly cutAfterEvents?: number | undefined;
  /** How a cut body ends: with a TCP reset, or with an orderly close without the end of the framing. @default "reset" */
  readonly cut?: "reset" | "close" | undefined;
  /** Silence after this many events. */
  readonly stallAfterEvents?: number | undefined;
  /** How long the silence lasts, in milliseconds. @default for ever */
  readonly stallMs?: number | undefined;
  /** Comments every so many milliseconds while the stream stalls: bytes without content. */
  readonly pingMs?: number | undefined;
  /** An error event after this many events, and no more. */
  readonly errorAfterEvents?: number | undefined;
  /** Content of the error event. @default a `server_error` in OpenAI's shape */
  readonly error?: unknown;
  /** An event of bytes that are no text at all after this many events; the stream goes on behind it. */
  readonly garbageAfterEvents?: number | undefined;
  /** An event whose JSON breaks off after this many events; the stream goes on behind it. */
  readonly invalidJsonAfterEvents?: number | undefined;
  /** An event of at least this many bytes behind the first one. */
  readonly hugeEventBytes?: number | undefined;
  /** Bytes of your own between events: comments, unknown events, whatever comes to mind. */
  readonly insert?: readonly { readonly afterEvents: number; readonly bytes: string | Uint8Array }[] | undefined;
  /** Writes the body in pieces of this many bytes, which a client sees cut anywhere. */
  readonly pieceBytes?: number | undefined;
}

/** A correct answer, but for the faults it is told to have. */
export interface AnswerBehaviour {
  readonly kind: "answer";
  readonly options: StreamOptions;
  /** Instead of `application/json` or `text/event-stream`. */
  readonly contentType?: string | undefined;
  readonly coding?: "gzip" | undefined;
  /** The JSON of the body, or of the first event, breaks off. */
  readonly isInvalidJson?: boolean | undefined;
  /** Members that mean nothing make the body, or an event, at least this large. */
  readonly paddingBytes?: number | undefined;
}

/** An answer of a simulated model in place of a script. Not for tests: `startSimulatedUpstream` makes it. */
export interface SimulatedAnswer extends AnswerBehaviour {
  readonly simulation: { readonly model: SimulatedModel; readonly failure: PlannedFailure | undefined };
}

export function simulationOf(behaviour: AnswerBehaviour): SimulatedAnswer["simulation"] | undefined {
  return "simulation" in behaviour ? (behaviour as SimulatedAnswer).simulation : undefined; // only those have it
}

/** Part of a body, or a wait before the next part. */
export type BodyPiece = string | Uint8Array | { readonly waitMs: number };

/** A response of your own. */
export interface ResponseBehaviour extends DelayOptions {
  readonly kind: "respond";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: readonly BodyPiece[];
}
export interface ResetBehaviour extends DelayOptions {
  readonly kind: "reset";
  readonly at: "before-headers" | "after-headers";
}
export interface CloseEarlyBehaviour {
  readonly kind: "close-early";
}
export interface SilenceBehaviour {
  readonly kind: "silence";
  readonly afterHeaders: boolean;
}
export interface SlowHeadersBehaviour {
  readonly kind: "slow-headers";
  readonly overMs: number;
}
export interface InformationalBehaviour {
  readonly kind: "informational";
  readonly count: number;
  readonly everyMs: number;
}
export interface BadFramingBehaviour {
  readonly kind: "bad-framing";
  readonly fault: FramingFault;
}
export type FramingFault = "chunk-size" | "content-lengths" | "status-line";
export interface SurplusBytesBehaviour {
  readonly kind: "surplus-bytes";
  readonly afterMs: number;
}
export interface RawBehaviour extends DelayOptions {
  readonly kind: "raw";
  readonly pieces: readonly BodyPiece[];
  readonly end: "close" | "reset" | "stay";
}

/** A correct answer, streamed or whole, as the request asks. */
export function reply(options: ReplyOptions = {}): AnswerBehaviour {
  return { kind: "answer", options: checked("reply", replyOptions, options) };
}

/** A correct answer with timing and faults of its stream. */
export function stream(options: StreamOptions = {}): AnswerBehaviour {
  return { kind: "answer", options: checked("stream", streamOptions, options) };
}

export interface ErrorOptions extends DelayOptions {
  readonly message?: string | undefined;
  /** @default what OpenAI says with that status */
  readonly type?: string | undefined;
  readonly code?: string | null | undefined;
  readonly param?: string | null | undefined;
  /** The whole body instead: text as it is, anything else as JSON. */
  readonly body?: unknown;
  /** The `Retry-After` header: seconds, or any text. */
  readonly retryAfter?: number | string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** An error in OpenAI's shape. */
export function error(status: number, options: ErrorOptions = {}): ResponseBehaviour {
  checked("error", errorOptions, { ...options, status });
  const { message = `Scripted error ${status}`, type = errorType(status), code = null, param = null } = options;
  const { body = { error: { message, type, param, code } }, retryAfter, headers, delayMs, until } = options;
  return {
    kind: "respond",
    status,
    headers: {
      "content-type": typeof body === "string" ? "text/plain; charset=utf-8" : "application/json",
      ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
      ...headers,
    },
    body: [typeof body === "string" ? body : JSON.stringify(body)],
    delayMs,
    until,
  };
}

function errorType(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

export interface ResponseOptions extends DelayOptions {
  /** @default 200 */
  readonly status?: number | undefined;
  /** @default content-type: application/json */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Text and bytes as they are, pieces one by one with their waits, anything else as JSON. @default nothing */
  readonly body?: unknown;
}

/** Any response, for upstreams that speak something other than OpenAI's format. */
export function respond(options: ResponseOptions = {}): ResponseBehaviour {
  checked("respond", responseOptions, options);
  const { status = 200, headers = { "content-type": "application/json" }, body, delayMs, until } = options;
  return { kind: "respond", status, headers, body: bodyPieces(body), delayMs, until };
}

function bodyPieces(body: unknown): readonly BodyPiece[] {
  if (body === undefined) return [];
  if (typeof body === "string" || body instanceof Uint8Array) return [body];
  return Array.isArray(body) && body.every(isBodyPiece) ? body : [JSON.stringify(body)];
}

function isBodyPiece(value: unknown): value is BodyPiece {
  if (typeof value === "string" || value instanceof Uint8Array) return true;
  return typeof value === "object" && value !== null && "waitMs" in value;
}

/** The connection is reset once the request has arrived. */
export function resetBeforeHeaders(options: DelayOptions = {}): ResetBehaviour {
  return { kind: "reset", at: "before-headers", ...checked("resetBeforeHeaders", delayOptions, options) };
}

/** The connection is reset once the client has the headers of a good response. */
export function resetAfterHeaders(options: DelayOptions = {}): ResetBehaviour {
  return { kind: "reset", at: "after-headers", ...checked("resetAfterHeaders", delayOptions, options) };
}

/** Half of a good body, shorter than its `Content-Length`, then an orderly close. */
export function closeEarly(): CloseEarlyBehaviour {
  return { kind: "close-early" };
}

/** Nothing more, until the client gives up. @param options.afterHeaders - The headers of a good response come first. */
export function silence(options: { readonly afterHeaders?: boolean | undefined } = {}): SilenceBehaviour {
  const { afterHeaders = false } = checked("silence", silenceOptions, options);
  return { kind: "silence", afterHeaders };
}

/** A good answer whose headers trickle in. @param overMs - How long they take, in milliseconds. */
export function slowHeaders(overMs: number): SlowHeadersBehaviour {
  return { kind: "slow-headers", ...checked("slowHeaders", slowHeadersOptions, { overMs }) };
}

/**
 * Informational responses (`102 Processing`), then a good answer.
 * @param count - How many; by default they never end.
 * @param everyMs - Time between two, in milliseconds.
 */
export function informational(count = Number.POSITIVE_INFINITY, everyMs = 10): InformationalBehaviour {
  return { kind: "informational", ...checked("informational", informationalOptions, { count, everyMs }) };
}

/** @param status - 301, 302, 303, 307 or 308. */
export function redirect(url: string, status = 302): ResponseBehaviour {
  checked("redirect", redirectOptions, { url, status });
  return { kind: "respond", status, headers: { location: url }, body: [] };
}

/** A good answer that is compressed although nobody asked. */
export function gzip(options: ReplyOptions = {}): AnswerBehaviour {
  return { kind: "answer", options: checked("gzip", replyOptions, options), coding: "gzip" };
}

/** A good answer under a content type that is wrong for it. */
export function wrongType(contentType = "text/html; charset=utf-8"): AnswerBehaviour {
  return { kind: "answer", options: {}, ...checked("wrongType", wrongTypeOptions, { contentType }) };
}

/** An answer whose JSON breaks off: the whole body, or the first event of a stream. The framing is correct. */
export function invalidJson(): AnswerBehaviour {
  return { kind: "answer", options: {}, isInvalidJson: true };
}

/** A good answer, blown up by members that mean nothing: a body, or an event, of at least this many bytes. */
export function hugeBody(bytes: number): AnswerBehaviour {
  checked("hugeBody", hugeOptions, { bytes });
  return { kind: "answer", options: {}, paddingBytes: bytes };
}

/** A good answer with a header of this many bytes. */
export function hugeHeaders(bytes: number): AnswerBehaviour {
  checked("hugeHeaders", hugeOptions, { bytes });
  return { kind: "answer", options: { headers: { "x-padding": "x".repeat(bytes) } } };
}

/** A response that breaks HTTP itself: a chunk size that is no number, two content lengths, or no status line. */
export function badFraming(fault: FramingFault = "chunk-size"): BadFramingBehaviour {
  return { kind: "bad-framing", ...checked("badFraming", badFramingOptions, { fault }) };
}

/**
 * A good answer, then a second one that nobody asked for, on the same connection.
 * @param afterMs - How much later, in milliseconds; 0 is together with the end of the first.
 */
export function surplusBytes(afterMs = 0): SurplusBytesBehaviour {
  return { kind: "surplus-bytes", ...checked("surplusBytes", surplusBytesOptions, { afterMs }) };
}

export interface RawOptions extends DelayOptions {
  /** What happens to the connection at the end. With `"stay"` it stays open and answers nothing more. @default "close" */
  readonly end?: "close" | "reset" | "stay" | undefined;
}

/** Exactly these bytes, from the status line on. */
export function raw(pieces: readonly BodyPiece[], options: RawOptions = {}): RawBehaviour {
  checked("raw", rawOptions, { ...options, pieces });
  const { end = "close", delayMs, until } = options;
  return { kind: "raw", pieces, end, delayMs, until };
}
