import { type RouterError, routerError } from "../errors/router-error.js";
import { frozenPrincipal, type GuardedRequest } from "../plugins/guarded-request.js";
import type { Principal } from "../plugins/plugin.js";
import type { Operation, RequestBody } from "../protocol/operations.js";
import { estimateTokens } from "../tokens/estimate.js";
import { checkCallOptions } from "./call-options.js";
import { emitRequestStarted } from "./events.js";
import { checkBody } from "./input-limits.js";
import type { RequestState } from "./request.js";
import { MAX_BUFFERED_BYTES, type Runtime } from "./runtime.js";
import { withinRequest } from "./within-request.js";

/**
 * Lets a request in: checks what the router reads of it, finds its group, and reserves the claims of all plugins,
 * all or nothing.
 *
 * @returns a promise only if some plugin reserves.
 * @throws {RouterError} the request is refused; nothing is reserved then.
 */
export function admit(runtime: Runtime, request: RequestState): Promise<void> | undefined {
  const { plugins } = request.snapshot;
  request.depth = plugins.admitDepth();
  if (runtime.transport.bufferedBytes > MAX_BUFFERED_BYTES) {
    throw routerError("overloaded", { message: "Too many unread bytes of answers are held.", retryAfterMs: 1_000 });
  }
  admitWithoutReserving(runtime, request);
  emitRequestStarted(runtime, request);
  if (!plugins.hasGuards) return undefined;
  request.guarded = plugins.guard(new GuardFacts(request), request.body);
  return plugins.hasReserve ? reserve(runtime, request, request.guarded) : undefined;
}

/** The part of `admit` that decides and holds nothing. @throws {RouterError} the request is refused. */
export function admitWithoutReserving(runtime: Runtime, request: RequestState): void {
  const { snapshot, call } = request;
  if (runtime.isDraining) throw routerError("draining", { requestId: request.id });
  if (call.options !== undefined) checkCallOptions(call.options, call.cancellation !== undefined);
  request.followCaller();
  if (request.cancellation.isCancelled) throw request.cancelled();
  readBody(request, call.body);
  const { model } = request.checked;
  const resolved = snapshot.settings.registry.resolve(model);
  if (!resolved) throw unknownModel(request, model);
  request.captured = resolved.captured;
  request.group = snapshot.groupOf(resolved.group);
  applyOptions(request);
}

/**
 * Checks a body, and takes over what the router needs to know of it; again after guards have changed it.
 *
 * @throws {RouterError} `invalid_request`, `request_too_large`.
 */
export function readBody(request: RequestState, body: unknown): void {
  const { inputLimits, allowFields } = request.snapshot.settings;
  request.checked = checkBody(request.operation, body, inputLimits, allowFields);
  request.promptTokens = estimateTokens(request.checked.textLength);
  // `checkBody` has seen every field that is read of it as this operation's body.
  request.body = body as RequestBody;
}

function applyOptions(request: RequestState): void {
  const { options } = request.call;
  const { totalMs } = request.group.settings.timeouts;
  const deadlineMs = options?.deadlineMs;
  request.hasOwnDeadline = deadlineMs !== undefined && deadlineMs <= totalMs;
  request.deadlineAt = request.startedAt + Math.min(totalMs, deadlineMs ?? totalMs);
  if (!options) return;
  // Copies: the caller may change its own objects meanwhile, and events carry these.
  if (options.principal) request.principal = frozenPrincipal(options.principal);
  if (options.tags) request.tags = Object.freeze([...options.tags]);
  if (options.metadata) request.metadata = Object.freeze({ ...options.metadata });
  if (!options.fallbacks) return;
  const { registry } = request.snapshot.settings;
  const from = { group: request.group.settings, captured: request.captured };
  const unknown = options.fallbacks.find((name) => !registry.resolveFallback(name, from));
  if (unknown !== undefined) {
    throw routerError("invalid_request", {
      param: "fallbacks",
      message: `The fallback ${JSON.stringify(unknown.slice(0, 100))} is not a configured model.`,
      requestId: request.id,
    });
  }
  request.fallbacks = options.fallbacks;
}

async function reserve(runtime: Runtime, request: RequestState, guarded: GuardedRequest): Promise<void> {
  const reserving = request.snapshot.plugins.reserve(guarded);
  const { claims, leases } = await withinRequest(runtime, request, reserving, (late) => late.leases.release());
  // From here on the request's end settles or releases them, whatever happens next.
  request.leases = leases;
  if (claims.length === 0) return;
  const answer = runtime.limits.reserve(claims.map(({ claim }) => claim));
  const reservation = answer instanceof Promise ? await answer : answer;
  if (reservation.isReserved) {
    leases.add(reservation, "limits");
    return;
  }
  const owner = claims[reservation.index]?.plugin ?? "limits";
  throw routerError("rate_limit_exceeded", {
    message: `At most ${reservation.limit} requests of ${reservation.key} may run at the same time (${owner}).`,
    requestId: request.id,
    retryAfterMs: 1_000,
  });
}

function unknownModel(request: RequestState, model: string): RouterError {
  return routerError("model_not_found", {
    param: "model",
    message: `The model ${JSON.stringify(model.slice(0, 100))} does not exist or is not permitted.`,
    requestId: request.id,
  });
}

/** What guards may know of a request; the signal is made only for those who ask. */
class GuardFacts {
  readonly id: string;
  readonly operation: Operation;
  readonly isStreaming: boolean;
  readonly model: string;
  readonly group: string;
  readonly principal: Principal | undefined;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly depth: number;
  readonly #request: RequestState;

  constructor(request: RequestState) {
    this.id = request.id;
    this.operation = request.operation;
    this.isStreaming = request.isStreaming;
    this.model = request.model;
    this.group = request.group.name;
    this.principal = request.principal;
    this.tags = request.tags;
    this.metadata = request.metadata;
    this.depth = request.depth;
    this.#request = request;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }
}
