import type { ResolvedPrincipal } from "../access/directory.js";
import { type RouterError, routerError } from "../errors/router-error.js";
import { frozenPrincipal } from "../plugins/guarded-request.js";
import type { CacheControl, DeploymentRequirement, Principal } from "../plugins/plugin.js";
import type { Operation, RequestBody } from "../protocol/operations.js";
import { estimateTokens } from "../tokens/estimate.js";
import { countRequestTokens } from "../tokens/request-tokens.js";
import { answerScopeOf } from "./answer-scope.js";
import type { CallOptions } from "./call.js";
import { checkCallOptions } from "./call-options.js";
import { emitRequestStarted } from "./events.js";
import { takePart } from "./experiment.js";
import { checkBody } from "./input-limits.js";
import { pinRequest } from "./pin-request.js";
import type { RequestState } from "./request.js";
import { reserve } from "./reserve.js";
import { MAX_BUFFERED_BYTES, type Runtime } from "./runtime.js";
import { withinRequest } from "./within-request.js";

/**
 * Lets a request in: knows whose it is, checks what the router reads of it, finds its group, and reserves what limits and
 * budgets of its principal and the claims of all plugins ask for, all or nothing.
 *
 * @returns a promise only if something has to be waited for.
 * @throws {RouterError} the request is refused; nothing is reserved then.
 */
export function admit(runtime: Runtime, request: RequestState): Promise<void> | undefined {
  const { plugins } = request.snapshot;
  request.depth = plugins.admitDepth();
  if (runtime.transport.bufferedBytes > MAX_BUFFERED_BYTES) {
    throw routerError("overloaded", { message: "Too many unread bytes of answers are held.", retryAfterMs: 1_000 });
  }
  if (runtime.ledger?.isFull) {
    throw routerError("accounting_unavailable", {
      message: "The ledger does not answer, and no more entries can be kept for it.",
      retryAfterMs: 1_000,
    });
  }
  const identified = admitWithoutReserving(runtime, request);
  const enter = () => {
    emitRequestStarted(runtime, request);
    if (plugins.hasGuards) request.guarded = plugins.guard(new GuardFacts(request), request.body);
    return reserve(runtime, request);
  };
  return identified ? identified.then(enter) : enter();
}

/** How long it may take to find out whose a request is, where the caller does not say (R7). */
const LONGEST_ADMISSION_MS = 60_000;

/** The part of `admit` that decides and holds nothing. @throws {RouterError} the request is refused. */
export function admitWithoutReserving(runtime: Runtime, request: RequestState): Promise<void> | undefined {
  const { call } = request;
  if (runtime.isDraining) throw routerError("draining", { requestId: request.id });
  if (call.options !== undefined) checkCallOptions(call.options, call.cancellation !== undefined);
  request.followCaller();
  if (request.cancellation.isCancelled) throw request.cancelled();
  // Until its group is known, which has the last word: a directory may hang, too.
  request.deadlineAt = request.startedAt + (call.options?.deadlineMs ?? LONGEST_ADMISSION_MS);
  request.hasOwnDeadline = true;
  const access = identify(request);
  if (access instanceof Promise)
    return withinRequest(runtime, request, access).then((known) => enterAs(runtime, request, known));
  enterAs(runtime, request, access);
  return undefined;
}

/** What the directory says of whoever calls. @throws {RouterError} `invalid_api_key`: it does not know them. */
function identify(request: RequestState): ResolvedPrincipal | undefined | Promise<ResolvedPrincipal> {
  const principal = request.call.options?.principal;
  const { directory } = request.snapshot.settings;
  return principal && directory ? directory.resolve(principal) : undefined;
}

function enterAs(runtime: Runtime, request: RequestState, access: ResolvedPrincipal | undefined): void {
  request.access = access;
  // Before anything can be refused: whose requests those are is for the records to tell.
  const asked = request.call.options?.principal;
  request.principal = access?.principal ?? (asked && frozenPrincipal(asked));
  readBody(request, request.call.body);
  const { model } = request.checked;
  const resolved = request.snapshot.settings.registry.resolve(model);
  // What is forbidden looks like what is unknown.
  if (!resolved || (access && !access.mayUse(model))) throw unknownModel(request, model);
  request.captured = resolved.captured;
  request.group = request.snapshot.groupOf(resolved.group);
  if (resolved.captured !== undefined && request.group.models?.lacks(resolved.captured))
    throw unknownModel(request, model);
  const isPlaced = request.checked.references !== undefined || request.call.options?.require?.deployment !== undefined;
  // Whatever it needs is in the group that it names.
  if (resolved.group.experiment && !isPlaced) takePart(runtime, request, resolved.group.experiment);
  applyOptions(request);
  if (isPlaced) pinRequest(runtime, request);
}

/**
 * Checks a body, and takes over what the router needs to know of it; again after guards have changed it.
 *
 * @throws {RouterError} `invalid_request`, `request_too_large`.
 */
export function readBody(request: RequestState, body: unknown): void {
  const { inputLimits, allowFields } = request.snapshot.settings;
  request.checked = checkBody(request.operation, body, inputLimits, allowFields);
  // `checkBody` has seen every field that is read of it as this operation's body.
  request.body = body as RequestBody;
  countTokens(request, request.body);
}

/** Input tokens, as far as they can be known before the upstream has counted them. */
function countTokens(request: RequestState, body: RequestBody): void {
  const { counter } = request.snapshot.settings.counterLoader;
  request.promptTokens =
    counter.kind === "estimate"
      ? estimateTokens(request.checked.textLength)
      : countRequestTokens(counter, request.operation, body).tokens;
}

function applyOptions(request: RequestState): void {
  const { options } = request.call;
  const { totalMs } = request.group.settings.timeouts;
  const deadlineMs = options?.deadlineMs;
  request.hasOwnDeadline = deadlineMs !== undefined && deadlineMs <= totalMs;
  request.deadlineAt = request.startedAt + Math.min(totalMs, deadlineMs ?? totalMs);
  const { access } = request;
  if (access && access.tags.length > 0) request.tags = access.tags;
  if (!options) return;
  // Copies: the caller may change its own objects meanwhile, and events carry these.
  if (options.tags) request.tags = Object.freeze([...new Set([...request.tags, ...options.tags])]);
  if (options.metadata) request.metadata = Object.freeze({ ...options.metadata });
  if (!options.fallbacks) return;
  const { registry } = request.snapshot.settings;
  const from = { group: request.group.settings, captured: request.captured };
  // What is forbidden looks like what is unknown. The group's own fallbacks need no grant.
  const isUsable = (name: string) => (!access || access.mayUse(name)) && registry.resolveFallback(name, from);
  const unknown = options.fallbacks.find((name) => !isUsable(name));
  if (unknown !== undefined) {
    throw routerError("invalid_request", {
      param: "fallbacks",
      message: `The fallback ${JSON.stringify(unknown.slice(0, 100))} is not a configured model.`,
      requestId: request.id,
    });
  }
  request.fallbacks = options.fallbacks;
}

function unknownModel(request: RequestState, model: string): RouterError {
  return routerError("model_not_found", {
    param: "model",
    message: `The model ${JSON.stringify(model.slice(0, 100))} does not exist or is not permitted.`,
    requestId: request.id,
  });
}

/** What guards may know of a request; the signal is made only for those who ask. */
export class GuardFacts {
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

  remainingMs(): number {
    return this.#request.remainingMs();
  }

  passDeadline(): void {
    this.#request.cancellation.cancel(this.#request.deadlineError());
  }

  get cache(): CacheControl | undefined {
    return cacheControlOf(this.#request.call.options?.cache);
  }

  get require(): DeploymentRequirement | undefined {
    return requirementOf(this.#request.call.options?.require);
  }

  get fallbacks(): readonly string[] | undefined {
    const { fallbacks } = this.#request;
    return fallbacks && Object.freeze([...fallbacks]);
  }

  get answerScope(): string | undefined {
    return answerScopeOf(this.#request);
  }
}

/** A copy: what the caller has is its own. */
function requirementOf(option: CallOptions["require"]): DeploymentRequirement | undefined {
  if (option === undefined) return undefined;
  return Object.freeze({ ...option, ...(option.tags && { tags: Object.freeze([...option.tags]) }) });
}

function cacheControlOf(option: CallOptions["cache"]): CacheControl | undefined {
  if (option === undefined) return undefined;
  if (option === false) return Object.freeze({ noCache: true, noStore: true, maxAgeMs: undefined });
  const { noCache = false, noStore = false, maxAgeMs } = option;
  return Object.freeze({ noCache, noStore, maxAgeMs });
}
