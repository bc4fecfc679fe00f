import type { Deployment } from "../deployments/deployment.js";
import { wireModel } from "../deployments/registry.js";
import { secretsOf } from "../deployments/secrets.js";
import { classify, type Outcome, type Verdict } from "../errors/classify.js";
import { RouterError, routerError } from "../errors/router-error.js";
import { sanitisedMessage } from "../errors/sanitise.js";
import { UpstreamError, unreachable } from "../errors/upstream-error.js";
import { Cancellation } from "../internal/cancellation.js";
import { withheldCause } from "../internal/withheld-cause.js";
import type { SettledUsage } from "../plugins/plugin.js";
import { Feature } from "../protocol/features.js";
import type { Usage } from "../protocol/usage.js";
import type { AttemptContext } from "../providers/provider.js";
import { answerTimeoutMs, idleTimeoutMs } from "../routing/timeouts.js";
import { costNanoUsd, NANO_USD_PER_USD, type ServiceTier, serviceTierOf } from "../tokens/pricing.js";
import { mediaPartsOf, mediaTokensBound } from "../tokens/request-tokens.js";
import { type CheckedUsage, checkedUsage } from "../tokens/usage-check.js";
import { AttemptDeadlines, type ExpiredDeadline } from "../transport/deadlines.js";
import type { AttemptRace } from "./attempt-race.js";
import { bookingOf } from "./booking.js";
import { emitAttemptEnded, emitAttemptStarted, emitFirstToken } from "./events.js";
import { type OutputHold, outputHoldOf } from "./output-hold.js";
import { priceOf } from "./prices.js";
import { estimatedUsage } from "./reply-facts.js";
import type { AttemptFailure, Lease, RequestState } from "./request.js";
import type { AttemptRecord } from "./routing-record.js";
import type { GroupState, Runtime } from "./runtime.js";

/** Parts of a prompt that count otherwise than text. */
const MEDIA = Feature.imageUrl | Feature.imageData | Feature.audioInput | Feature.file;
const MALFORMED = "usage-malformed";
const NOTHING_DROPPED: readonly string[] = Object.freeze([]);

/** No upstream makes a caller wait longer (R19). */
const MAX_RETRY_AFTER_MS = 60_000;

/** What has arrived of an answer; of a stream it grows. */
export interface AttemptUse {
  readonly usage: Usage | undefined;
  readonly outputLength: number;
}

/** One upstream call of a request: its record, its deadlines, and the one place where it ends. */
export class Attempt {
  readonly number: number;
  readonly isHedge: boolean;
  /** It goes on with a stream that has broken. */
  readonly resumed: boolean;
  readonly group: GroupState;
  readonly deployment: Deployment;
  readonly context: AttemptContext;
  /** Run from {@link begin} on. */
  deadlines!: AttemptDeadlines;
  readonly startedAt: number;
  ttftMs: number | undefined;
  /** A plugin asked for another form of answer than plain text: nobody else could go on with that. */
  isReshaped = false;
  /** The `service_tier` of the body that was sent, and of the reply. */
  sentTier: unknown;
  servedTier: unknown;
  /** As far as it came, once something has. */
  used: AttemptUse | undefined;
  /** Fields of the request that were left out. */
  #dropped: readonly string[] = NOTHING_DROPPED;
  /** What plugins add to the call, so that it belongs to the caller's trace. Filled before the call. */
  readonly traceHeaders = new Map<string, string>();
  readonly #lease: Lease;
  /** What happens when a deadline passes; without it whoever waits for the upstream meets the error. */
  onExpired: ((error: UpstreamError | RouterError) => void) | undefined;
  #cancelUpstream: ((reason: unknown) => void) | undefined;
  #stopListening: () => void;
  #isEnded = false;
  #isBegun = false;
  #expired: UpstreamError | RouterError | undefined;
  /** Set when another attempt was first. */
  #lost: RouterError | undefined;
  /** What was odd about the upstream's numbers. */
  #flags: CheckedUsage["flags"] = [];
  #isUsageMalformed = false;
  /** The credential that it was sent with. */
  #key: string | undefined;

  constructor(
    private readonly runtime: Runtime,
    readonly request: RequestState,
    lease: Lease,
    /** With whom it competes for the request; `undefined`: with nobody. */
    private readonly race?: AttemptRace,
  ) {
    const { deployment } = lease.candidate;
    this.group = lease.group;
    this.deployment = deployment;
    this.#lease = lease;
    // Whoever is under way has its number, and no record yet.
    const running = race?.join(this) ?? 0;
    this.isHedge = race !== undefined && race.first !== this;
    this.number = request.attempts.length + running + 1;
    this.startedAt = runtime.clock.now();
    const { checked, continuation } = request;
    this.resumed = continuation !== undefined;
    this.context = {
      operation: request.operation,
      model: wireModel(deployment, lease.captured),
      isStreaming: checked.isStreaming,
      includeUsage: checked.includeUsage,
      wantsLogprobs: checked.wantsLogprobs,
      wantsBase64: checked.wantsBase64,
      clock: runtime.clock,
      random: runtime.random,
      continuesAnswer: continuation?.isPrefilledAt(deployment) ?? false,
      noteMalformedUsage: () => {
        this.#isUsageMalformed = true;
      },
    };
    this.#stopListening = request.cancellation.onCancel((reason) => this.cancelUpstream(reason));
    emitAttemptStarted(runtime, this);
  }

  /** A hard budget applies, the request's or the deployment's: the answer is no longer than what is held. */
  get isBounded(): boolean {
    return this.request.isBudgeted || this.#lease.isBounded === true;
  }

  /** What a wildcard group put in the place of `*`. */
  get captured(): string | undefined {
    return this.#lease.captured;
  }

  /** How long each part of the attempt may take (routing §7); a deployment's own settings win over the group's. */
  #startDeadlines({ group, candidate }: Lease): AttemptDeadlines {
    const { request, deployment } = this;
    const { health } = candidate;
    const { timeouts } = group.settings;
    const own = deployment.timeouts;
    const { isStreaming } = request.checked;
    const isReasoning = request.checked.hasReasoning || health.hasReasoned;
    const predictedMs = isStreaming
      ? health.predictedTtftMs(request.promptTokens)
      : health.predictedDurationMs(request.promptTokens, group.health.p95OutputTokens);
    const answerMs = answerTimeoutMs({
      isStreaming,
      firstTokenMs: own.firstTokenMs ?? timeouts.firstTokenMs,
      totalMs: own.totalMs ?? timeouts.totalMs,
      predictedMs,
      isReasoning,
      loadsModelsOnDemand: deployment.provider.loadsModelsOnDemand ?? false,
    });
    return new AttemptDeadlines(this.runtime.clock, {
      connectMs: own.connectMs ?? timeouts.connectMs,
      answerMs,
      idleMs: idleTimeoutMs(own.idleMs ?? timeouts.idleMs, isReasoning),
      stallMs: own.stallMs ?? timeouts.stallMs,
      deadlineAt: request.deadlineAt,
      isStreaming,
      onExpired: (which) => this.#expire(which),
    });
  }

  /** What comes before the call is done: from here on the upstream's time runs. */
  begin(): void {
    this.#isBegun = true;
    if (this.isHedge) this.group.hedging?.recordSent();
    this.#lease.prefix.begin();
    this.deadlines = this.#startDeadlines(this.#lease);
  }

  #expire(which: ExpiredDeadline): void {
    const error = this.#timeoutError(which);
    this.#expired = error;
    if (this.onExpired) this.onExpired(error);
    else this.cancelUpstream(error);
  }

  /** Tells how the call under way can be ended; it is, at once, if that was asked for before. */
  canBeCancelledBy(cancel: (reason: unknown) => void): void {
    this.#cancelUpstream = cancel;
    const { cancellation } = this.request;
    if (cancellation.isCancelled) cancel(cancellation.reason);
    else if (this.#expired) cancel(this.#expired);
    else if (this.#lost) cancel(this.#lost);
  }

  /** Waits for what comes before the call, no longer than the attempt may. */
  async prepared<T>(work: Promise<T>): Promise<T> {
    const stop = new Cancellation();
    this.canBeCancelledBy((reason) => stop.cancel(reason));
    return Promise.race([work, stop.asRejection()]);
  }

  /** Somebody else hears of the request's cancellation from now on, and decides what follows. */
  leaveCancellation(): void {
    this.#stopListening();
  }

  cancelUpstream(reason: unknown): void {
    this.#cancelUpstream?.(reason);
  }

  /** The upstream is being asked. */
  get isBegun(): boolean {
    return this.#isBegun;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Another attempt serves the request. */
  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** @throws {RouterError} nothing more may be started for this attempt. */
  throwIfOver(): void {
    if (this.#lost) throw this.#lost;
    this.request.throwIfOver();
  }

  /** The upstream has answered: its headers may tell what is left of its limits. @param sentAt - When it was asked. */
  noteHeaders(headers: ReadonlyMap<string, string>, sentAt: number): void {
    const { upstream } = this.deployment;
    const table = upstream.kind === "wire" ? upstream.rateLimitHeaders : undefined;
    if (table !== undefined) this.#lease.share?.learn(table, headers, sentAt);
  }

  /** It is sent with this key: a refusal is about no other one. */
  noteKey(key: string | undefined): void {
    this.#key = key;
  }

  /** What of the request the upstream does not know. */
  noteDropped(dropped: readonly string[]): void {
    this.#dropped = dropped;
    // Of two, the one that serves says so once it does.
    if (!this.isHedge && !this.#lost) this.request.dropped = dropped;
  }

  /**
   * Its first content is there, or its whole reply, and it is in order: from here on it serves the request.
   *
   * @throws {RouterError} another attempt does: this one has ended.
   */
  win(): void {
    if (this.#lost) throw this.#lost;
    const { race } = this;
    if (!race) return;
    race.won(this);
    this.request.dropped = this.#dropped;
    if (race.hedge) this.#lease.prefix.served();
  }

  /** Another attempt serves the request: this one ends now, whatever is still on its way (routing §7). */
  lose(): void {
    if (this.#isEnded) return;
    const message = "Another attempt of the request was first.";
    this.#lost = routerError("cancelled", { message, requestId: this.request.id });
    this.cancelUpstream(this.#lost);
    this.#end("cancelled", undefined, this.#settle(this.used, this.#lost));
  }

  /** The first content arrived. */
  firstToken(): void {
    this.#lease.flight.firstToken();
    const now = this.runtime.clock.now();
    this.ttftMs = now - this.startedAt;
    this.group.hedging?.recordAnswer("stream", this.ttftMs);
    this.request.ttftMs ??= now - this.request.startedAt;
    emitFirstToken(this.runtime, this, this.ttftMs);
  }

  /** What the stream may still cost; `undefined`: what is held bounds it. @param cut - Ends the stream with an error. */
  openHold(cut: (error: RouterError) => void): OutputHold | undefined {
    return this.request.expectedHold && outputHoldOf(this.runtime, this, cut);
  }

  /** The model reasons: from here on it may be silent for longer. */
  noteReasoning(): void {
    this.#lease.candidate.health.hasReasoned = true;
    const idleMs = this.deployment.timeouts.idleMs ?? this.group.settings.timeouts.idleMs;
    this.deadlines.setIdleMs(idleTimeoutMs(idleMs, true));
  }

  /**
   * The complete answer came.
   *
   * @param text - What the next turn of the conversation will have of it; empty where that is not known.
   */
  succeed(usage: Usage | undefined, outputLength: number, text: string): void {
    // Of a continuation it is only the end of what the next turn repeats.
    this.#lease.prefix.answered(usage, this.resumed ? "" : text);
    const settled = this.#settledUsage(usage, outputLength);
    this.request.addUsage(settled);
    this.#end("ok", undefined, settled);
  }

  /**
   * The attempt broke.
   *
   * @param thrown - An `UpstreamError`, the reason of a cancellation, or a defect.
   * @param used - What arrived before it broke.
   * @returns what follows from it, or the error that ends the request.
   */
  fail(thrown: unknown, used?: AttemptUse): AttemptFailure | RouterError {
    const { request } = this;
    if (this.#lost) return this.#lost;
    const settled = this.#settle(used, thrown);
    if (request.cancellation.isCancelled) {
      this.#end("cancelled", undefined, settled);
      return request.cancelled();
    }
    if (RouterError.isRouterError(thrown)) {
      // Our own word: the request's deadline, or a guard's refusal. It says nothing about the deployment, unless the
      // upstream was given all the time that the group allows.
      this.#end(thrown.code === "upstream_timeout" ? "soft" : "cancelled", undefined, settled);
      return thrown;
    }
    if (!(thrown instanceof UpstreamError)) {
      // A defect of ours, or of a provider that a user wrote: no other deployment would mend it.
      this.#end("cancelled", undefined, settled);
      return routerError("internal_error", {
        requestId: request.id,
        deployment: this.deployment.id,
        cause: withheldCause(thrown),
      });
    }
    const error = thrown;
    // Whatever its process had read is gone with it.
    if (this.#isBegun && isUnreachable(error) && !this.deadlines.isConnected) {
      this.runtime.prefixes.forget(this.deployment.id, this.runtime.clock.now());
    }
    const verdict = classify(error, this.group.settings.isWildcard);
    const { credential, id } = this.deployment;
    // Not the deployment's fault before a fresh credential was refused, too (routing §5).
    const isCredentialStale =
      error.errorClass === "authentication" && credential.isRenewable && !request.renewedCredentials.includes(id);
    const record = this.#end(isCredentialStale ? "cancelled" : verdict.outcome, error, settled, verdict.code);
    if (error.errorClass === "authentication" && credential.isRenewable && !isCredentialStale) {
      this.runtime.background.refusedKeys.watch(this.#lease.candidate.health, this.#key);
    }
    const retryAfterMs = this.#retryAfterMs(error, verdict);
    const failure: AttemptFailure = { error, verdict, lease: this.#lease, record, retryAfterMs, isCredentialStale };
    request.failures.push(failure);
    return failure;
  }

  /** What a broken answer used counts, too: each once (R13). */
  #settle(used: AttemptUse | undefined, thrown: unknown): SettledUsage | undefined {
    const isUsed = used !== undefined && (used.usage !== undefined || used.outputLength > 0);
    if (!isUsed && !this.#mayBeBilled(thrown)) return undefined;
    const settled = this.#settledUsage(used?.usage, used?.outputLength ?? 0);
    this.request.addUsage(settled);
    return settled;
  }

  /**
   * We gave up on an upstream that had the request, and that neither answered nor refused: it has most likely read the
   * prompt, and providers bill that. Whoever refuses, or cannot be reached, bills nothing.
   */
  #mayBeBilled(thrown: unknown): boolean {
    if (!this.#isBegun || !this.deadlines.isConnected) return false;
    if (thrown instanceof UpstreamError) return thrown.errorClass === "timeout" && thrown.status === undefined;
    return this.request.cancellation.isCancelled || RouterError.isRouterError(thrown);
  }

  #end(outcome: Outcome, error?: UpstreamError, usage?: SettledUsage, code?: AttemptRecord["code"]): AttemptRecord {
    if (this.#isEnded) throw new Error("an attempt ends once");
    this.#isEnded = true;
    if (this.#isBegun) this.deadlines.stop();
    this.#stopListening();
    if (error?.errorClass === "rate_limit") this.#lease.share?.refused();
    this.#lease.share?.end(this.#isBegun, usage ? usage.promptTokens + usage.completionTokens : 0);
    const costNanoUsd = usage?.costNanoUsd ?? 0;
    this.#lease.budget?.end({ isAttempted: this.#isBegun, tokens: 0, costNanoUsd });
    // After its share: whoever waits for the slot is served at once.
    this.#lease.flight.end({ outcome, error, outputTokens: usage?.completionTokens ?? 0 });
    if (outcome === "ok" && usage && !this.resumed) this.group.health.recordOutput(usage.completionTokens);
    if (outcome === "ok" && !this.context.isStreaming) this.#recordWholeAnswer();
    const record: AttemptRecord = {
      number: this.number,
      isHedge: this.isHedge,
      resumed: this.resumed,
      group: this.group.name,
      deployment: this.deployment.id,
      provider: this.deployment.provider.name,
      outcome,
      errorClass: error?.errorClass,
      code,
      status: error?.status,
      message: error && this.#describe(error),
      durationMs: this.runtime.clock.now() - this.startedAt,
      ttftMs: this.ttftMs,
      matchedTokens: this.#lease.prefix.match.tokens,
      usageFlags: this.#flags,
    };
    // An attempt that a guard refused, or the caller left, before anything was asked of the upstream is none.
    if (this.#isBegun || error) this.request.noteAttempt(record);
    if (usage && this.runtime.ledger)
      this.request.bookings.push(bookingOf(this.runtime, this.request, this.context.model, record, usage, this.#flags));
    emitAttemptEnded(this.runtime, this, record, usage);
    return record;
  }

  #recordWholeAnswer(): void {
    const { hedging } = this.group;
    if (!hedging) return;
    const kind = this.context.operation === "embeddings" ? "embeddings" : "reply";
    hedging.recordAnswer(kind, this.runtime.clock.now() - this.startedAt);
  }

  /** As the upstream said, or as long as its limit keeps the deployment out. */
  #retryAfterMs({ retryAfterMs }: UpstreamError, { outcome }: Verdict): number | undefined {
    if (retryAfterMs !== undefined) return Math.min(MAX_RETRY_AFTER_MS, Math.max(0, retryAfterMs));
    if (outcome !== "limited") return undefined;
    const now = this.runtime.clock.now();
    return Math.ceil(this.#lease.candidate.health.availableAt(now) - now);
  }

  /** The upstream's words about a refused credential may quote it, so they are never shown (S21). */
  #describe(error: UpstreamError): string {
    if (error.errorClass === "authentication" || error.errorClass === "permission") {
      return `the upstream refused the configured credential${error.status ? ` (${error.status})` : ""}`;
    }
    return sanitisedMessage(error.message, secretsOf(this.deployment));
  }

  #settledUsage(reported: Usage | undefined, outputLength: number): SettledUsage {
    const { promptTokens, checked, body } = this.request;
    const ours = estimatedUsage(promptTokens, outputLength);
    const mediaTokens = (checked.features & MEDIA) === 0 ? 0 : mediaTokensBound(mediaPartsOf(body));
    const { usage, flags, isEstimated } = checkedUsage(reported, ours, undefined, mediaTokens);
    // The dialect has left out what could not be true before it came here.
    this.#flags = this.#isUsageMalformed && !flags.includes(MALFORMED) ? [MALFORMED, ...flags] : flags;
    const nanoUsd = this.#costNanoUsd(usage);
    return {
      promptTokens: usage.prompt_tokens,
      cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
      cacheWriteTokens: usage.prompt_tokens_details?.cache_write_tokens ?? 0,
      completionTokens: usage.completion_tokens,
      reasoningTokens: usage.completion_tokens_details?.reasoning_tokens ?? 0,
      isEstimated,
      costNanoUsd: nanoUsd ?? null,
      costUsd: nanoUsd === undefined ? null : nanoUsd / NANO_USD_PER_USD,
    };
  }

  #costNanoUsd(usage: Usage): number | undefined {
    const { request, runtime, deployment } = this;
    const price = priceOf(request.snapshot.settings, deployment, this.#lease.captured, runtime.clock.wallNow());
    return costNanoUsd(price, usage, this.#serviceTier());
  }

  /** As the reply says. Where it does not: the standard, or what was asked for if that is dearer and was sent at all. */
  #serviceTier(): ServiceTier {
    if (typeof this.servedTier === "string") return serviceTierOf(this.servedTier);
    const isSent = !this.#dropped.includes("service_tier");
    return isSent && serviceTierOf(this.sentTier) === "priority" ? "priority" : "standard";
  }

  #timeoutError(which: ExpiredDeadline): UpstreamError | RouterError {
    const waitedMs = Math.round(this.runtime.clock.now() - this.startedAt);
    switch (which) {
      case "deadline":
        return this.request.deadlineError();
      case "connect":
        return unreachable(`no connection to ${this.deployment.upstream.host} within ${waitedMs} ms`);
      case "first-token":
      case "whole-answer":
      case "idle":
      case "stall":
        return new UpstreamError(`${TIMEOUT_WORDS[which]} (after ${waitedMs} ms)`, { errorClass: "timeout" });
    }
  }
}

function isUnreachable({ errorClass, isBadResponse, status }: UpstreamError): boolean {
  return errorClass === "network" && !isBadResponse && status === undefined;
}

const TIMEOUT_WORDS = {
  "first-token": "no first token in time",
  "whole-answer": "no whole answer in time",
  idle: "the stream fell silent",
  stall: "the stream sent bytes but no content",
} as const;
