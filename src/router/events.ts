import type { Deployment } from "../deployments/deployment.js";
import type { ErrorCode } from "../errors/catalog.js";
import type { FallbackChain } from "../errors/classify.js";
import type { RouterError } from "../errors/router-error.js";
import type { RequestOutcome, SettledUsage } from "../plugins/plugin.js";
import type { RequestState } from "./request.js";
import type { AttemptRecord } from "./routing-record.js";
import type { GroupState, Runtime } from "./runtime.js";

/** What events say of an attempt. */
interface AttemptFacts {
  readonly request: RequestState;
  readonly number: number;
  readonly deployment: Deployment;
}

/** What every event of a request says. */
function base(runtime: Runtime, request: RequestState) {
  return {
    requestId: request.id,
    at: runtime.clock.wallNow(),
    operation: request.operation,
    model: request.model,
    group: request.group?.name ?? "",
    principal: request.principal,
    tags: request.guarded?.tags ?? request.tags,
    metadata: request.guarded?.metadata ?? request.metadata,
  };
}

// Each function asks first whether anybody listens: an event that nobody hears is not built.

export function emitRequestStarted(runtime: Runtime, request: RequestState): void {
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("request-started")) return;
  plugins.emit({ ...base(runtime, request), type: "request-started", isStreaming: request.checked.isStreaming });
}

export function emitAttemptStarted(runtime: Runtime, attempt: AttemptFacts): void {
  const { request } = attempt;
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("attempt-started")) return;
  plugins.emit({
    ...base(runtime, request),
    type: "attempt-started",
    attempt: attempt.number,
    deployment: attempt.deployment.id,
    provider: attempt.deployment.provider.name,
  });
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
    ...base(runtime, request),
    type: "attempt-ended",
    attempt: record.number,
    deployment: record.deployment,
    provider: record.provider,
    outcome: record.outcome,
    errorClass: record.errorClass,
    code: record.code,
    status: record.status,
    durationMs: record.durationMs,
    ttftMs: record.ttftMs,
    usage,
  });
}

export function emitFirstToken(runtime: Runtime, attempt: AttemptFacts, ttftMs: number): void {
  const { request } = attempt;
  const { plugins } = request.snapshot;
  if (!plugins.listensTo("first-token")) return;
  plugins.emit({
    ...base(runtime, request),
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
    ...base(runtime, request),
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
  plugins.emit({ ...base(runtime, request), type: "fallback-taken", from: from.name, to: to.name, chain, code });
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
    plugins.emit({ ...base(runtime, request), type: "request-failed", outcome, error });
  }
  if (!plugins.listensTo("request-settled")) return;
  plugins.emit({
    ...base(runtime, request),
    type: "request-settled",
    outcome,
    code: error?.code,
    deployment: request.servedBy?.deployment.id,
    provider: request.servedBy?.deployment.provider.name,
    attempts: request.attempts.length,
    durationMs: request.durationMs ?? 0,
    ttftMs: request.ttftMs,
    usage: request.usage,
  });
}
