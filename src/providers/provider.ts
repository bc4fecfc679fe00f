import type { UpstreamError } from "../errors/upstream-error.js";
import type { Clock } from "../internal/clock.js";
import type { Random } from "../internal/random.js";
import type { FeatureSet } from "../protocol/features.js";
import type { Model } from "../protocol/models.js";
import type { Chunk, Operation, Reply, RequestBody } from "../protocol/operations.js";
import type { Usage } from "../protocol/usage.js";

/**
 * Whom we call: a known provider, or one that a user writes. It describes itself, and `connect` makes from a
 * deployment's settings the object that speaks with the upstream.
 */
export interface Provider {
  /** As deployments name it: lower case, `[a-z0-9-]`. */
  readonly name: string;
  /** Used where a deployment gives no `baseUrl`; without it `baseUrl` is required. */
  readonly defaultBaseUrl?: string | undefined;
  /** `required`: a deployment without `apiKey` is refused. */
  readonly apiKey: "required" | "optional" | "none";
  /** Names of the options that only this provider has (`apiVersion`, …); `connect` checks their values. */
  readonly ownOptions?: readonly string[] | undefined;
  /** Models are loaded on demand: the first token may take minutes (at least 120 s). */
  readonly loadsModelsOnDemand?: boolean | undefined;
  /**
   * @throws {ProviderOptionError} an option of the deployment is wrong.
   */
  connect(settings: ProviderSettings): Upstream;
}

/** What a deployment tells its provider; checked for type, not for the provider's own rules. */
export interface ProviderSettings {
  /** The model as the provider names it; `*` in wildcard groups. */
  readonly model: string;
  /** Without a trailing slash. */
  readonly baseUrl: string | undefined;
  readonly unknownFields: "forward" | "drop" | "reject";
  /** Where it runs, as the deployment says; some providers find their address by it. */
  readonly region?: string | undefined;
  /** An `apiKey` was given; `undefined` where nobody can tell. */
  readonly hasApiKey?: boolean | undefined;
  /** The options named by `ownOptions` that were given. */
  readonly own: Readonly<Record<string, unknown>>;
}

/** A provider's own option is wrong: `path` within the deployment, and what is allowed. */
export class ProviderOptionError extends Error {
  override readonly name = "ProviderOptionError";
  constructor(
    readonly path: string,
    message: string,
  ) {
    super(message);
  }
}

/** The most that one embeddings call may carry. */
export interface EmbeddingLimits {
  /** Texts, or lists of token ids. */
  readonly inputs: number;
  /** Tokens of all inputs together; texts are estimated. */
  readonly tokens?: number | undefined;
}

/** What an operation of this upstream cannot do. */
export interface FeatureSupport {
  /** Left out and reported (`unsupported: "drop"`), or a reason to look elsewhere (`"error"`). */
  readonly drops: FeatureSet;
  /** Cannot be expressed: the deployment is not eligible. */
  readonly rejects: FeatureSet;
}

export type Upstream = WireUpstream | DirectUpstream;

interface UpstreamBase {
  /** For people and logs: `api.openai.com`, `gpu-a:8000`, `simulated`. */
  readonly host: string;
  /** The operations that this upstream has, with their limits; others make the deployment ineligible. */
  readonly operations: Readonly<Partial<Record<Operation, FeatureSupport>>>;
  /**
   * A chat that ends with an assistant message is answered with the rest of that message, where the attempt says so
   * (`continuesAnswer`). Without it: unknown, so that only a deployment's `prefill: true` relies on it.
   *
   * @param model - As the deployment names it; with a `*` nobody knows yet.
   */
  takesPrefill?(model: string): boolean;
}

/** What every step of one attempt may need to know. */
export interface AttemptContext {
  readonly operation: Operation;
  /** The model name that goes on the wire. */
  readonly model: string;
  readonly isStreaming: boolean;
  /** The caller asked for a usage chunk. */
  readonly includeUsage: boolean;
  /** The caller asked for logprobs. */
  readonly wantsLogprobs: boolean;
  /** The caller asked for `encoding_format: "base64"` (embeddings). */
  readonly wantsBase64: boolean;
  /** The last message is the beginning of the answer that is asked for, and ends in no white space (prefill). @default false */
  readonly continuesAnswer?: boolean | undefined;
  readonly clock: Clock;
  readonly random: Random;
  /**
   * The upstream reported token counts that cannot be true, and they were left out: the attempt's entry in the ledger says
   * so. Without it nobody wants to know.
   */
  noteMalformedUsage?(): void;
}

/** An HTTP request in the upstream's dialect, without credentials. */
export interface EncodedRequest {
  readonly method: "GET" | "POST";
  /** Only of model lists and health probes, where they lie elsewhere than the upstream's own origin. */
  readonly origin?: string | undefined;
  /** Path and query below the origin. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Request fields that this dialect left out or approximated, as the caller names them. */
  readonly dropped?: readonly string[] | undefined;
}

/** The parts of a whole response that dialects read. */
export interface WholeResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
  /** The dialect says so where the reply is what `text` says, and nothing else: a relay may copy its bytes. */
  isAsSent?: boolean;
}

/**
 * An upstream behind HTTP: pure translation. The router sends what `encode` makes through the transport, with its
 * deadlines, and hands back what arrives. Nothing here does I/O, keeps state between attempts, or decides about
 * retries.
 */
export interface WireUpstream extends UpstreamBase {
  readonly kind: "wire";
  /** Scheme, host and port. */
  readonly origin: string;
  /**
   * The caller's body in the dialect's words. Never changes `body`.
   * @throws {UpstreamError} class `invalid_request` with `lacksFeature`: this dialect cannot express it.
   */
  encode(body: RequestBody, context: AttemptContext): EncodedRequest;
  /** Adds the credential. Called for each attempt, so that a retried request is signed anew. */
  authorize(request: EncodedRequest, apiKey: string | undefined): EncodedRequest | Promise<EncodedRequest>;
  /** The content types that a whole answer and a stream may have; anything else is a bad response. */
  readonly contentTypes: { readonly whole: readonly string[]; readonly stream: readonly string[] };
  /**
   * A 2xx answer as OpenAI's shape.
   * @throws {UpstreamError} it is an error in disguise, or unreadable.
   */
  decodeReply(response: WholeResponse, context: AttemptContext): Reply;
  /** A decoder for one stream. */
  openStream(context: AttemptContext): StreamDecoder<Chunk>;
  /**
   * The same stream for relays that look at no chunk. Where it is missing, chunks are serialised.
   */
  openTextStream?(context: AttemptContext): StreamDecoder<RelayPiece>;
  /**
   * What one embeddings call may carry. A request with more becomes several calls of the same attempt. Without it, or
   * with `undefined`: no limit.
   */
  embeddingLimits?(context: AttemptContext): EmbeddingLimits | undefined;
  /** What a non-2xx answer means. Never throws, whatever the body is. */
  decodeError(response: WholeResponse, context: AttemptContext): UpstreamError;
  /** Headers of any answer that tell what is left of the account's limits. @default none */
  readonly rateLimitHeaders?: readonly RateLimitHeader[] | undefined;
  /** `GET` of the upstream's model list, where it has one. */
  readonly modelList?: ModelListRequest | undefined;
  /** Where an engine tells how busy it is, if it does. */
  readonly loadSignals?: LoadSignals | undefined;
  /** The cheapest request that tells whether the upstream is alive; any 2xx is a yes. */
  readonly healthProbe?: EncodedRequest | undefined;
}

/** How an upstream tells one of its limits. Names in lower case. */
export interface RateLimitHeader {
  readonly counts: "requests" | "tokens" | "input-tokens" | "output-tokens";
  /** Integers; -1 says that it is not known. */
  readonly limit: string;
  readonly remaining: string;
  /** When all of the limit is there again: seconds, a duration such as `6m0s`, or a time. */
  readonly reset?: string | undefined;
  /** What is used comes back little by little until then, or all at once. Where no reset is told: evenly, within a minute. */
  readonly refill: "evenly" | "at-reset";
}

/** How an upstream tells which models it has. */
export interface ModelListRequest {
  readonly request: EncodedRequest;
  /** @throws {UpstreamError} the text is no model list. */
  decode(text: string): Model[];
  /** The request of the page after this one, where lists have pages; `undefined`: it was the last. */
  nextPage?(text: string): EncodedRequest | undefined;
  /** Another name that the upstream takes for a listed model, where it does. */
  readonly otherNameOf?: ((id: string) => string | undefined) | undefined;
}

/** What an engine says about itself; what it does not say is `undefined`, which is not 0. */
export interface EngineLoad {
  /** Requests that it works on. */
  readonly running: number | undefined;
  /** Requests that wait for it to begin. */
  readonly waiting: number | undefined;
  /** Share of its KV cache that is free, 0–1. */
  readonly kvFree: number | undefined;
}

/** Where an engine tells its load. */
export interface LoadSignals {
  /** `undefined`: at an address that only the operator knows. */
  readonly request: EncodedRequest | undefined;
  /** Never throws. @returns `undefined`: the text tells nothing. */
  decode(text: string): EngineLoad | undefined;
}

/** What a relay writes: the JSON text of one chunk, or of several the server-sent events in UTF-8, framed as ours are. */
export type RelayPiece = string | Uint8Array;

/**
 * Turns the bytes of one stream into chunks. Chunks are the same however the bytes are cut.
 *
 * @typeParam T - `Chunk`, or what a relay writes of it.
 */
export interface StreamDecoder<T> {
  /**
   * Appends to `out` what the bytes complete.
   * @throws {UpstreamError} the stream reports an error or is unreadable; what came before it is in `out`.
   */
  push(bytes: Uint8Array, out: T[]): void;
  /**
   * The transport's end: appends what was held back, the usage chunk included.
   * @throws {UpstreamError} class `network`: the answer is not complete.
   */
  end(out: T[]): void;
  /** The upstream's own end marker came: what follows is dropped, and the body need not be read further. */
  readonly isDone: boolean;
  /** Number of entries of `out`, since the start, before the first that carries content; `undefined` before it came. */
  readonly contentAt: number | undefined;
  /** What was delivered, for accounting and for broken streams. */
  readonly summary: StreamSummary;
}

/** Running totals of a stream, kept by its decoder. */
export interface StreamSummary {
  /** As last reported by the upstream. */
  readonly usage: Usage | undefined;
  /** Text of choice 0 so far; empty on text streams, which count only. */
  readonly text: string;
  /** UTF-16 units of text, reasoning, refusals and tool arguments over all choices. */
  readonly outputLength: number;
  /** Reasoning was seen. */
  readonly hasReasoning: boolean;
  /** Of the first choice that finished. */
  readonly finishReason: string | undefined;
  /** Every choice that began, and at least one, has a finish reason. */
  readonly isComplete: boolean;
  /** The model that the upstream reports. */
  readonly model: string | undefined;
}

/** An upstream that is not behind our transport: a simulated model, another library's model object. */
export interface DirectUpstream extends UpstreamBase {
  readonly kind: "direct";
  /**
   * Answers one request. `signal` aborts it, also while its stream runs.
   * @throws {UpstreamError} every failure, so that it can be classified.
   */
  call(body: RequestBody, context: AttemptContext, call: DirectCall): Promise<DirectAnswer>;
}
export interface DirectCall {
  readonly signal: AbortSignal;
  readonly apiKey: string | undefined;
}
export type DirectAnswer = (
  | { readonly kind: "reply"; readonly reply: Reply }
  /** Chunks end with the finish reasons; the usage chunk always comes and is filtered by the router. */
  | { readonly kind: "stream"; readonly chunks: AsyncIterable<Chunk> }
) & {
  /** Request fields that were left out or approximated, as the caller names them. */
  readonly dropped?: readonly string[] | undefined;
};
