import type { Principal } from "../access/principal.js";
import type { ErrorCode } from "../errors/catalog.js";
import type { FallbackChain, Outcome } from "../errors/classify.js";
import type { RouterError } from "../errors/router-error.js";
import type { ErrorClass } from "../errors/upstream-error.js";
import type { BudgetClaim, Claim } from "../limits/claim.js";
import type { Lease, SettledUsage } from "../limits/lease.js";
import type { Chunk, Operation, Reply, RequestBody } from "../protocol/operations.js";
import type { ExperimentAssignment } from "../routing/experiment/assignment.js";

export type { Principal } from "../access/principal.js";
export type { Claim } from "../limits/claim.js";
export type { Lease, SettledUsage } from "../limits/lease.js";
export type { ExperimentAssignment } from "../routing/experiment/assignment.js";

/** What plugins see of a request: frozen, without credentials or raw headers. */
export interface PluginRequest {
  readonly id: string;
  /** The same object in all hooks of a request, and of no other: a key for a `WeakMap` of what a plugin keeps per request. */
  readonly identity: object;
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
  /** What the caller says to caches. */
  readonly cache?: CacheControl | undefined;
  /** Where the caller lets the request go: for plugins that make requests on its behalf. `undefined`: anywhere. */
  readonly require?: DeploymentRequirement | undefined;
  /** Groups to try after the named one, where the caller says so itself. */
  readonly fallbacks?: readonly string[] | undefined;
  /**
   * Names what decides an answer beside the body and the principal: the group's configuration, the policies of all guards,
   * and what the caller requires of deployments. Equal in every process. Answers may be given to another request only if
   * it is equal; where it is `undefined`, to none.
   */
  readonly answerScope?: string | undefined;
}

/** What a caller requires of the deployment that serves it; all of it. */
export interface DeploymentRequirement {
  readonly tags?: readonly string[] | undefined;
  readonly region?: string | undefined;
  /** Its id. */
  readonly deployment?: string | undefined;
}

/** What the caller of one request says to caches. */
export interface CacheControl {
  /** It wants a new answer; that may be stored. */
  readonly noCache: boolean;
  /** Its answer is not to be stored. */
  readonly noStore: boolean;
  /** It takes stored answers up to this age. */
  readonly maxAgeMs: number | undefined;
}

/** What a cache did for a request: gave it a stored answer, one that was stored for a like request, or had none. */
export type CacheStatus = "hit" | "semantic" | "miss";

/** What plugins see of an attempt. */
export interface PluginAttempt {
  readonly request: PluginRequest;
  /** 1 for the first attempt of the request. */
  readonly number: number;
  /** It goes on with the answer of an attempt whose stream broke (`midStream`). */
  readonly resumed: boolean;
  readonly group: string;
  readonly deployment: string;
  readonly provider: string;
  readonly model: string;
}

/** What plugins may know of a deployment when they state its limits. */
export interface LimitedDeployment {
  readonly id: string;
  readonly provider: string;
  readonly model: string;
  readonly tags: readonly string[];
  readonly region: string | undefined;
}

/** Limits and budgets of one deployment, of all processes that share the store. */
export interface DeploymentRates {
  /** Requests per minute, an integer, 1–1000000000000. */
  readonly rpm?: number | undefined;
  /** Tokens per minute, input and output, an integer, 1–1000000000000. */
  readonly tpm?: number | undefined;
  /**
   * Budgets that each attempt at it is held against: a hard one without room excludes it (`over-budget`), so that others
   * serve. Always `reserve: "upper-bound"`.
   */
  readonly budgets?: readonly BudgetClaim[] | undefined;
}

/** Fields of the body to set; `undefined` removes one. */
export interface RequestPatch {
  readonly body?: Readonly<Record<string, unknown>> | undefined;
  /** Added to the request's tags. */
  readonly tags?: readonly string[] | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The plugin is a cache that was asked and has no answer: for the reply's header and the records. */
  readonly cache?: "miss" | undefined;
}
/** The only headers that a plugin may add to an upstream call: those that tie it to the caller's trace. */
export type TraceHeader = "traceparent" | "tracestate" | "baggage";

export interface AttemptPatch {
  readonly body?: Readonly<Record<string, unknown>> | undefined;
  /** Sent over HTTP only, and never in the place of a header that the deployment has. */
  readonly headers?: Readonly<Partial<Record<TraceHeader, string>>> | undefined;
}

/** An answer instead of a call: what `beforeRequest` returns to answer at once. */
export interface EarlyReply {
  /** A whole reply. For a streaming request it is replayed as a stream. */
  readonly reply: Reply;
  /** The plugin is a cache: for the reply's header and the records. The request costs nothing then. */
  readonly cache?: "hit" | "semantic" | undefined;
}

/** How a request ended. */
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
  /** The experiment of the named group, and the variant that the request got. */
  readonly experiment?: ExperimentAssignment | undefined;
  /** The request is a copy, made for the `shadow` of a group, of the one with this id: no caller waits for it. */
  readonly shadowOf?: string | undefined;
}
export interface RequestStartedEvent extends EventBase {
  readonly type: "request-started";
  readonly isStreaming: boolean;
}
export interface AttemptEvent extends EventBase {
  readonly type: "attempt-started" | "attempt-ended";
  readonly isStreaming: boolean;
  readonly attempt: number;
  /** It runs beside another one that takes unusually long to begin; one of the two ends as `cancelled`. */
  readonly isHedge: boolean;
  /** It goes on with the answer of an attempt whose stream broke (`midStream`). */
  readonly resumed: boolean;
  /** The group that the attempt was made in: another than `group` after a fallback. */
  readonly attemptGroup: string;
  readonly deployment: string;
  readonly provider: string;
  /** The model as the upstream names it. */
  readonly upstreamModel: string;
  /** The same in the deployment's configuration, with `*` where callers choose it: as many values as there are deployments. */
  readonly configuredModel: string;
  /** Where the upstream is: `api.openai.com`, `gpu-a:8000`. */
  readonly host: string;
  /** Set when the attempt has ended. */
  readonly outcome?: Outcome | undefined;
  readonly errorClass?: ErrorClass | undefined;
  readonly code?: ErrorCode | undefined;
  readonly status?: number | undefined;
  readonly durationMs?: number | undefined;
  readonly ttftMs?: number | undefined;
  readonly finishReason?: string | undefined;
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
/** What was sent to the model, and what the caller got: both as all guards left them. Frozen. */
export interface RequestContent {
  /** The request's body. */
  readonly input: Readonly<RequestBody>;
  /** Of a stream: what its chunks add up to, as far as it came. Embeddings have none. */
  readonly output: Reply | undefined;
  /** UTF-16 units of all texts in both. */
  readonly length: number;
}
export interface SettledEvent extends EventBase {
  readonly type: "request-settled";
  /** `undefined`: refused before that was known. */
  readonly isStreaming: boolean | undefined;
  readonly outcome: RequestOutcome;
  readonly code: ErrorCode | undefined;
  readonly finishReason: string | undefined;
  readonly deployment: string | undefined;
  readonly provider: string | undefined;
  /** The plugin that answered, instead of a deployment. */
  readonly answeredBy: string | undefined;
  /** What a cache did for it; `undefined`: none was asked. */
  readonly cache: CacheStatus | undefined;
  /** The groups that were tried, in order. */
  readonly groups: readonly string[];
  /** Deployments that could not be taken: the first 32. */
  readonly excluded: readonly { readonly group: string; readonly deployment: string; readonly reason: string }[];
  /** Request fields that the last upstream does not know and that were left out. */
  readonly dropped: readonly string[];
  readonly attempts: number;
  readonly durationMs: number;
  readonly ttftMs: number | undefined;
  readonly usage: SettledUsage | undefined;
  /** Only for plugins with `observesContent`, and never of requests that were refused or blocked. */
  readonly content?: RequestContent | undefined;
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
 * Under this key a plugin of this package is told of events at once, in the caller's own asynchronous context, instead
 * of a turn later: tracing has to find the caller's span. Whatever it throws is reported and forgotten.
 * @internal
 */
export const observeAtOnce: unique symbol = Symbol.for("llm-switchyard.observeAtOnce");

/**
 * Under this key a plugin of this package lists the events that it makes something of: an event that nobody wants is not
 * made. It also says that the plugin leaves events as they are and shows them to nobody. For it alone none is frozen:
 * measured, that cost as much as making it.
 * @internal
 */
export const eventsOfInterest: unique symbol = Symbol.for("llm-switchyard.eventsOfInterest");

/**
 * Under this key a plugin of this package says that it only counts warnings: nobody has read them then.
 * @internal
 */
export const countsWarnings: unique symbol = Symbol.for("llm-switchyard.countsWarnings");

/** A name of a model in the options of a plugin. */
export interface ModelMention {
  /** Where it stands: `judge.group`. */
  readonly option: string;
  readonly model: string;
  /** The plugin sends requests to it; without it, it only limits those that name it, which may be none. */
  readonly isCalled: boolean;
}

/**
 * Under this key a plugin of this package lists the models that its options name: a configuration that has not one of
 * those that it calls is refused.
 * @internal
 */
export const mentionedModels: unique symbol = Symbol.for("llm-switchyard.mentionedModels");

/** What becomes of the records that a sink was given, in numbers. */
export interface SinkView {
  /** Waiting, or on their way. */
  readonly queued: number;
  readonly delivered: number;
  /** Lost: the sink was full, failed too often, or refused them. */
  readonly dropped: number;
}

/**
 * Under this key a plugin of this package tells how far it keeps up.
 * @internal
 */
export const sinkView: unique symbol = Symbol.for("llm-switchyard.sinkView");

/**
 * Under this key a plugin of this package says what `GET /metrics` answers.
 * @internal
 */
export const metricsText: unique symbol = Symbol.for("llm-switchyard.metricsText");

/** What `GET /metrics` answers. */
export interface MetricsPage {
  readonly contentType: string;
  readonly text: string;
}

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
  /** What a guard that breaks or hangs does to the request: refuse it (`closed`, the default) or skip the guard. */
  readonly failure?: "closed" | "open" | undefined;
  /**
   * Names what this guard's configuration makes of answers, the same in every process. It is part of the key under which
   * an answer may be stored and given to another request.
   */
  readonly policyVersion?: string | undefined;
  /** `onSettled` gets what was asked and answered. Streams are collected for it, which costs memory. @default false */
  readonly observesContent?: boolean | undefined;
  /** How long each guard function may take. @default 2000 for `reserve` and `before…`, 5000 for `after…` */
  readonly timeoutMs?: number | undefined;
  /** Called once, with the router. Requests that the plugin makes there are requests of their own, at most 3 deep. */
  start?(router: R): void;
  /**
   * Limits of a deployment, beside those that it states itself: of each kind the tightest holds. Called once for each
   * deployment of a configuration; what it throws refuses the configuration.
   */
  deploymentLimits?(deployment: LimitedDeployment): OrNothing<DeploymentRates>;
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
  /** @param headers - Of an `attempt-started`: takes the trace headers that the call is to carry. */
  [observeAtOnce]?(event: RouterEvent, headers?: Map<string, string>): void;
  readonly [eventsOfInterest]?: readonly RouterEvent["type"][];
  readonly [countsWarnings]?: boolean;
  readonly [mentionedModels]?: readonly ModelMention[];
  [metricsText]?(): Promise<MetricsPage>;
  [sinkView]?(): SinkView;
}
