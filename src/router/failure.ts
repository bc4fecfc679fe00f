import type { FallbackChain } from "../errors/classify.js";
import { type PartialReply, RouterError, type RouterErrorFields, routerError } from "../errors/router-error.js";
import type { StreamSummary } from "../providers/provider.js";
import { estimatedUsage } from "./reply-facts.js";
import type { AttemptFailure, RequestState } from "./request.js";

/** A group could not serve the request: which chain that takes, and what the caller reads if nothing else serves. */
export class GroupFailure extends Error {
  override readonly name = "GroupFailure";
  constructor(
    /** `undefined`: no other group would do better. */
    readonly chain: FallbackChain | undefined,
    /** Set where no attempt was made: the reason. */
    readonly refusal: RouterError | undefined,
  ) {
    super("the group could not serve the request");
  }
}

/** What a failure of a deployment means for the rest of its request. */
export function noteFailure(request: RequestState, { lease, verdict, isCredentialStale }: AttemptFailure): void {
  const { deployment } = lease.candidate;
  if (isCredentialStale) {
    deployment.credential.drop();
    request.renewedCredentials.push(deployment.id);
  } else if (!verdict.sameAgain) request.ruledOut.push(deployment.id);
}

/** Statuses of the upstream that the caller sees as they are. */
const KEPT_STATUSES: ReadonlySet<number> = new Set([503, 504]);

/**
 * What the caller reads after the last group has failed, with every attempt: the first cause, where a mistake of
 * configuration comes last. A mistake in the request comes before all others: nothing but mending it would help.
 */
export function failureOf(request: RequestState, refusal: RouterError | undefined): RouterError {
  const { failures } = request;
  const isConfigOnly = failures.every(({ verdict }) => verdict.outcome === "config");
  if (refusal && isConfigOnly) return refusal;
  const cause =
    failures.find(({ verdict }) => verdict.outcome === "caller" && verdict.chain === undefined) ??
    failures.find(({ verdict }) => verdict.outcome !== "config") ??
    failures[0];
  if (!cause) return refusal ?? routerError("internal_error", { requestId: request.id });
  return errorOfAttempt(request, cause);
}

/** The failed attempt as the error that callers read. */
export function errorOfAttempt(
  request: RequestState,
  failure: AttemptFailure,
  more: Pick<RouterErrorFields, "partial"> = {},
): RouterError {
  const { error, verdict, record } = failure;
  const { deployment } = failure.lease.candidate;
  const count = request.failures.length;
  const { code } = verdict;
  const isUpstreamFault = code === "upstream_error" || code === "upstream_unreachable";
  return routerError(code, {
    message: `${deployment.id}: ${record.message}${count > 1 ? ` (one of ${count} failed attempts)` : ""}`,
    param: error.param,
    status: isUpstreamFault && error.status && KEPT_STATUSES.has(error.status) ? error.status : undefined,
    requestId: request.id,
    deployment: deployment.id,
    provider: deployment.provider.name,
    retryAfterMs: failure.retryAfterMs,
    attempts: request.failedAttempts(),
    ...more,
  });
}

/** An error that broke a stream after its commit point, with what had arrived. */
export function interrupted(
  request: RequestState,
  failure: AttemptFailure | RouterError,
  partial: PartialReply,
): RouterError {
  if (RouterError.isRouterError(failure)) {
    return failure.code === "cancelled"
      ? failure
      : routerError(failure.code as Parameters<typeof routerError>[0], {
          message: failure.message,
          status: failure.status,
          requestId: request.id,
          retryAfterMs: failure.retryAfterMs,
          attempts: failure.attempts,
          partial,
        });
  }
  return errorOfAttempt(request, failure, { partial });
}

/** What had arrived of a stream. */
export function partialOf(request: RequestState, { text, usage, outputLength }: StreamSummary): PartialReply {
  const { prompt_tokens, completion_tokens } = usage ?? estimatedUsage(request.promptTokens, outputLength);
  return {
    text,
    usage: { promptTokens: prompt_tokens, completionTokens: completion_tokens, isEstimated: usage === undefined },
  };
}
