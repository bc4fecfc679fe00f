import type { Deployment } from "../deployments/deployment.js";
import type { ErrorCode } from "../errors/catalog.js";
import type { FallbackChain } from "../errors/classify.js";
import type { RouterError } from "../errors/router-error.js";
import type { RequestOutcome, SettledUsage } from "../plugins/plugin.js";
import type { AttemptContext } from "../providers/provider.js";
import type { RequestState } from "./request.js";
import type { AttemptRecord } from "./routing-record.js";
import type { GroupState, Runtime } from "./runtime.js";

/** What events say of an attempt. */
interface AttemptFacts {
  readonly request: RequestState;
  readonly number: number;
  readonly isHedge: boolean;
  readonly resumed: boolean;
  readonly group: GroupState;
  readonly deployment: Deployment;
  readonly context: AttemptContext;
  readonly traceHeaders: Map<string, string>;
}

/** Exclusions that an event lists: enough to see why, whatever the size of the group. */
const MAX_EXCLUDED = 32;
const NONE: readonly never[] = Object.freeze([]);

// Events are written out field by field: put together with `...`, each costs as much as ten.

const tagsOf = ({ guarded, tags }: RequestState) => guarded?.tags ?? tags;
const metadataOf = ({ guarded, metadata }: RequestState) => guarded?.metadata ?? metadata;

// Each function asks first whether anybody listens: an event that nobody hears is not built.

export function emitRequestStarted(runtime: Runtime, request: RequestState): void {
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("request-started")) return;
  plugins.emit({
    requestId: request.id,
    at: runtime.clock.wallNow(),
    operation: request.operation,
    model: request.model,
    group: request.group?.name ?? "",
    principal: request.principal,
    tags: tagsOf(request),
    metadata: metadataOf(request),
    experiment: request.experiment,
    shadowOf: request.shadow?.of,
    type: "request-started",
    isStreaming: request.checked.isStreaming,
  });
}

export function emitAttemptStarted(runtime: Runtime, attempt: AttemptFacts): void {
  const { request } = attempt;
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("attempt-started")) return;
  plugins.emit(
    {
      requestId: request.id,
      at: runtime.clock.wallNow(),
      operation: request.operation,
      model: request.model,
      group: request.group?.name ?? "",
      principal: request.principal,
      tags: tagsOf(request),
      metadata: metadataOf(request),
      experiment: request.experiment,
      shadowOf: request.shadow?.of,
      type: "attempt-started",
      isStreaming: attempt.context.isStreaming,
      attempt: attempt.number,
      isHedge: attempt.isHedge,
      resumed: attempt.resumed,
      attemptGroup: attempt.group.name,
      deployment: attempt.deployment.id,
      provider: attempt.deployment.provider.name,
      upstreamModel: attempt.context.model,
      configuredModel: attempt.deployment.model,
      host: attempt.deployment.upstream.host,
    },
    attempt.traceHeaders,
  );
}

export function emitAttemptEnded(
  runtime: Runtime,
  attempt: AttemptFacts,
  record: AttemptRecord,
  usage: SettledUsage | undefined,
): void {
  const { request } = attempt;
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("attempt-ended")) return;
  plugins.emit({
    requestId: request.id,
    at: runtime.clock.wallNow(),
    operation: request.operation,
    model: request.model,
    group: request.group?.name ?? "",
    principal: request.principal,
    tags: tagsOf(request),
    metadata: metadataOf(request),
    experiment: request.experiment,
    shadowOf: request.shadow?.of,
    type: "attempt-ended",
    isStreaming: attempt.context.isStreaming,
    attempt: attempt.number,
    isHedge: attempt.isHedge,
    resumed: attempt.resumed,
    attemptGroup: attempt.group.name,
    deployment: attempt.deployment.id,
    provider: attempt.deployment.provider.name,
    upstreamModel: attempt.context.model,
    configuredModel: attempt.deployment.model,
    host: attempt.deployment.upstream.host,
    outcome: record.outcome,
    errorClass: record.errorClass,
    code: record.code,
    status: record.status,
    durationMs: record.durationMs,
    ttftMs: record.ttftMs,
    finishReason: record.outcome === "ok" ? request.finishReason : undefined,
    usage,
  });
}

export function emitFirstToken(runtime: Runtime, attempt: AttemptFacts, ttftMs: number): void {
  const { request } = attempt;
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("first-token")) return;
  plugins.emit({
    requestId: request.id,
    at: runtime.clock.wallNow(),
    operation: request.operation,
    model: request.model,
    group: request.group?.name ?? "",
    principal: request.principal,
    tags: tagsOf(request),
    metadata: metadataOf(request),
    experiment: request.experiment,
    shadowOf: request.shadow?.of,
    type: "first-token",
    attempt: attempt.number,
    deployment: attempt.deployment.id,
    ttftMs,
  });
}

/** The answer goes to the caller: a whole reply, or a stream at its commit point. */
export function emitReply(runtime: Runtime, request: RequestState): void {
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("reply-ready")) return;
  plugins.emit({
    requestId: request.id,
    at: runtime.clock.wallNow(),
    operation: request.operation,
    model: request.model,
    group: request.group?.name ?? "",
    principal: request.principal,
    tags: tagsOf(request),
    metadata: metadataOf(request),
    experiment: request.experiment,
    shadowOf: request.shadow?.of,
    type: "reply-ready",
    deployment: request.servedBy?.deployment.id,
    finishReason: request.finishReason,
  });
}

export function emitFallback(
  runtime: Runtime,
  request: RequestState,
  from: GroupState,
  to: GroupState,
  chain: FallbackChain,
  code: ErrorCode,
): void {
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("fallback-taken")) return;
  plugins.emit({
    requestId: request.id,
    at: runtime.clock.wallNow(),
    operation: request.operation,
    model: request.model,
    group: request.group?.name ?? "",
    principal: request.principal,
    tags: tagsOf(request),
    metadata: metadataOf(request),
    experiment: request.experiment,
    shadowOf: request.shadow?.of,
    type: "fallback-taken",
    from: from.name,
    to: to.name,
    chain,
    code,
  });
}

/** The request has ended: what went wrong, if anything, and the account of it. */
export function emitSettled(
  runtime: Runtime,
  request: RequestState,
  outcome: RequestOutcome,
  error: RouterError | undefined,
): void {
  const { plugins } = request.snapshot;
  if (error && outcome !== "succeeded" && plugins.listensTo("request-failed")) {
    plugins.emit({
      requestId: request.id,
      at: runtime.clock.wallNow(),
      operation: request.operation,
      model: request.model,
      group: request.group?.name ?? "",
      principal: request.principal,
      tags: tagsOf(request),
      metadata: metadataOf(request),
      experiment: request.experiment,
      shadowOf: request.shadow?.of,
      type: "request-failed",
      outcome,
      error,
    });
  }
  if (!plugins.listensTo("request-settled")) return;
  plugins.emit({
    requestId: request.id,
    at: runtime.clock.wallNow(),
    operation: request.operation,
    model: request.model,
    group: request.group?.name ?? "",
    principal: request.principal,
    tags: tagsOf(request),
    metadata: metadataOf(request),
    experiment: request.experiment,
    shadowOf: request.shadow?.of,
    type: "request-settled",
    // Not known where the body was refused.
    isStreaming: request.checked?.isStreaming,
    outcome,
    code: error?.code,
    finishReason: request.finishReason,
    deployment: request.servedBy?.deployment.id,
    provider: request.servedBy?.deployment.provider.name,
    answeredBy: request.answeredBy,
    cache: request.cache,
    groups: frozenList(request.visited),
    excluded: frozenList(request.excluded, MAX_EXCLUDED),
    dropped: frozenList(request.dropped),
    attempts: request.attempts.length,
    durationMs: request.durationMs ?? 0,
    ttftMs: request.ttftMs,
    usage: request.usage,
    content: request.content?.shownAfter(outcome),
  });
}

/** A copy: what the request goes on with is its own. */
function frozenList<T>(items: readonly T[], most?: number): readonly T[] {
  return items.length === 0 ? NONE : Object.freeze(items.slice(0, most));
}
