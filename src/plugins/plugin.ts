import type { ErrorCode } from "../errors/catalog.js";
import type { FallbackChain, Outcome } from "../errors/classify.js";
import type { RouterError } from "../errors/router-error.js";
import type { ErrorClass } from "../errors/upstream-error.js";
import type { Claim } from "../limits/claim.js";
import type { Lease, SettledUsage } from "../limits/lease.js";
import type { Chunk, Operation, Reply, RequestBody } from "../protocol/operations.js";

export type { Claim } from "../limits/claim.js";
export type { Lease, SettledUsage } from "../limits/lease.js";

/** Whoever is charged. Its outermost level is the tenant. */
export interface Principal {
  readonly key?: string | undefined;
  readonly user?: string | undefined;
  readonly team?: string | undefined;
  readonly organization?: string | undefined;
}

/** What plugins see of a request: frozen, without credentials or raw headers (S19). */
export interface PluginRequest {
  readonly id: string;
  readonly operation: Operation;
  readonly isStreaming: boolean;
  /** The name that the caller asked for. */
  readonly model: string;
  /** The group that the name resolved to. */
  readonly group: string;
  readonly principal: Principal | undefined;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** The body as it stands after earlier guards. Do not change it: return a patch. */
  readonly body: Readonly<RequestBody>;
  readonly signal: AbortSignal;
  /** How many requests made by plugins this one is inside of: 0 for a caller's own, at most 3. */
  readonly depth: number;
}

/** What plugins see of an attempt. */
export interface PluginAttempt {
  readonly request: PluginRequest;
  /** 1 for the first attempt of the request. */
  readonly number: number;
  readonly group: string;
  readonly deployment: string;
  readonly provider: string;
  readonly model: string;
}

/** Fields of the body to set; `undefined` removes one. */
export interface RequestPatch {
  readonly body?: Readonly<Record<string, unknown>> | undefined;
  /** Added to the request's tags. */
  readonly tags?: readonly string[] | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}
export interface AttemptPatch {
  readonly body?: Readonly<Record<string, unknown>> | undefined;
}

/** An answer instead of a call: what `beforeRequest` returns to answer at once. */
export interface EarlyReply {
  /** A whole reply. For a streaming request it is replayed as a stream. */
  readonly reply: Reply;
}

/** How a request ended (R1). */
export type RequestOutcome = "succeeded" | "rejected" | "failed" | "interrupted" | "blocked" | "cancelled";

interface EventBase {
  readonly requestId: string;
  /** Unix milliseconds. */
  readonly at: number;
  readonly operation: Operation;
  readonly model: string;
  readonly group: string;
  readonly principal: Principal | undefined;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}
export interface RequestStartedEvent extends EventBase {
  readonly type: "request-started";
  readonly isStreaming: boolean;
}
export interface AttemptEvent extends EventBase {
  readonly type: "attempt-started" | "attempt-ended";
  readonly attempt: number;
  readonly deployment: string;
  readonly provider: string;
  /** Set when the attempt has ended. */
  readonly outcome?: Outcome | undefined;
  readonly errorClass?: ErrorClass | undefined;
  readonly code?: ErrorCode | undefined;
  readonly status?: number | undefined;
  readonly durationMs?: number | undefined;
  readonly ttftMs?: number | undefined;
  readonly usage?: SettledUsage | undefined;
}
export interface FirstTokenEvent extends EventBase {
  readonly type: "first-token";
  readonly attempt: number;
  readonly deployment: string;
  readonly ttftMs: number;
}
export interface ReplyEvent extends EventBase {
  readonly type: "reply-ready";
  readonly deployment: string | undefined;
  readonly finishReason: string | undefined;
}
export interface FallbackEvent extends EventBase {
  readonly type: "fallback-taken";
  readonly from: string;
  readonly to: string;
  readonly chain: FallbackChain;
  readonly code: ErrorCode;
}
export interface CooldownEvent {
  readonly type: "deployment-cooled" | "deployment-recovered";
  readonly at: number;
  readonly deployment: string;
  readonly provider: string;
  readonly cause: "failures" | "limited" | "config" | undefined;
  readonly untilMs: number | undefined;
}
export interface WarningEvent {
  readonly type: "warning-raised";
  readonly at: number;
  readonly message: string;
  readonly deployment?: string | undefined;
  readonly requestId?: string | undefined;
}
export interface FailureEvent extends EventBase {
  readonly type: "request-failed";
  readonly outcome: Exclude<RequestOutcome, "succeeded">;
  readonly error: RouterError;
}
export interface SettledEvent extends EventBase {
  readonly type: "request-settled";
  readonly outcome: RequestOutcome;
  readonly code: ErrorCode | undefined;
  readonly deployment: string | undefined;
  readonly provider: string | undefined;
  readonly attempts: number;
  readonly durationMs: number;
  readonly ttftMs: number | undefined;
  readonly usage: SettledUsage | undefined;
}
export type RouterEvent =
  | RequestStartedEvent
  | AttemptEvent
  | FirstTokenEvent
  | ReplyEvent
  | FallbackEvent
  | CooldownEvent
  | WarningEvent
  | FailureEvent
  | SettledEvent;

type MaybePromise<T> = T | Promise<T>;
// biome-ignore lint/suspicious/noConfusingVoidType: a guard that has nothing to say is a function without `return`.
type OrNothing<T> = T | void;

/**
 * Code of the operator's in the path (guards: `reserve`, `before…`, `after…`, `transform…`) or beside it (observers:
 * `on…`). Guards run in the array's order on the way in and in its reverse on the way out.
 *
 * @typeParam R - The router that `start` hands over.
 */
export interface Plugin<R = unknown> {
  readonly name: string;
  /** Nearest to the model, wherever it is listed: for caches, so that their hits pass every guard. */
  readonly innermost?: boolean | undefined;
  /** What a guard that breaks or hangs does to the request (R7): refuse it (`closed`, the default) or skip the guard. */
  readonly failure?: "closed" | "open" | undefined;
  /** How long each guard function may take. @default 2000 for `reserve` and `before…`, 5000 for `after…` */
  readonly timeoutMs?: number | undefined;
  /** Called once, with the router. Requests that the plugin makes there are requests of their own, at most 3 deep. */
  start?(router: R): void;
  /** Claims join one reservation, all or nothing; a lease is your own account. Throw to refuse. */
  reserve?(request: PluginRequest): MaybePromise<OrNothing<readonly Claim[] | Lease>>;
  /** Rewrite, answer at once, or throw to refuse. */
  beforeRequest?(request: PluginRequest): MaybePromise<OrNothing<RequestPatch | EarlyReply>>;
  beforeAttempt?(attempt: PluginAttempt): MaybePromise<OrNothing<AttemptPatch>>;
  /** Rewrite or throw. Sees whole replies; streams pass `transformStream`. */
  afterReply?(reply: Reply, request: PluginRequest): MaybePromise<OrNothing<Reply>>;
  transformStream?(chunks: AsyncIterable<Chunk>, request: PluginRequest): AsyncIterable<Chunk>;
  onRequest?(event: RequestStartedEvent): unknown;
  onAttempt?(event: AttemptEvent): unknown;
  onFirstToken?(event: FirstTokenEvent): unknown;
  onReply?(event: ReplyEvent): unknown;
  onFallback?(event: FallbackEvent): unknown;
  onCooldown?(event: CooldownEvent): unknown;
  onWarning?(event: WarningEvent): unknown;
  onFailure?(event: FailureEvent): unknown;
  onSettled?(event: SettledEvent): unknown;
  close?(): MaybePromise<void>;
}
