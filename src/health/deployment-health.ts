import type { Outcome } from "../errors/classify.js";
import type { UpstreamError } from "../errors/upstream-error.js";
import type { Clock } from "../internal/clock.js";
import { ewma } from "../internal/ewma.js";
import type { Random } from "../internal/random.js";
import { AdaptiveCap } from "./adaptive-cap.js";
import { LatencyEstimate, type Speed } from "./latency-estimate.js";
import { LiveNumbers, openRow } from "./live-numbers.js";
import type { CooldownSettings } from "./options.js";
import { OutcomeWindow } from "./outcome-window.js";

/** One attempt under way on a deployment: in-flight accounting, and what it teaches when it ends. */
export interface AttemptInFlight {
  /** It decides whether a half-open deployment is closed again. */
  readonly isProbe: boolean;
  /** The first content arrived (streams only). Later calls do nothing. */
  firstToken(): void;
  /**
   * The attempt is over. Exactly the first call counts; every path calls it.
   */
  end(result: AttemptResult): void;
  /** The attempt turns out to be the caller's fault (poison request): takes back what `end` did to health. */
  reclassifyAsCaller(): void;
}

export interface AttemptResult {
  readonly outcome: Outcome;
  readonly error?: UpstreamError | undefined;
  /** Tokens of the answer, reported or estimated; 0 where nothing came. */
  readonly outputTokens: number;
}

/** Somebody asks after an upstream's health. */
export interface HealthCheck {
  /** Only the first call counts. @param isAlive - False: the cooldown begins anew, and longer. */
  end(isAlive: boolean): void;
}

/** What an attempt asks of its deployment. */
export interface AttemptWork {
  /** Prompt tokens that the upstream has to read; those in its prefix cache left out. */
  readonly uncachedTokens: number;
  readonly isStreaming: boolean;
  /** Output tokens to expect: the group's average, or the request's cap if that is less. */
  readonly expectedOutputTokens: number;
  /** Use the deployment although it is cooling down (`cooldown.panic`): its half-open state begins with this attempt. */
  readonly isProbe?: boolean | undefined;
}

/** May a deployment be used now, and if not, why not. */
export type Availability = "available" | "cooling-down" | "probing" | "rate-limited" | "parked";

/** A deployment was withdrawn or came back. Repeated rate limits of a withdrawn one are not reported again. */
export interface CooldownTransition {
  readonly type: "deployment-cooled" | "deployment-recovered";
  /** On the router's clock. */
  readonly at: number;
  readonly deployment: string;
  readonly cause: "failures" | "limited" | "config";
  /** When it may be used again, on the router's clock; `undefined` on recovery. */
  readonly until: number | undefined;
  /** Another process found out, and told. */
  readonly isReceived: boolean;
}

/** A group in which the deployment serves: caps how many may be open at once, and follows who may be used. */
export interface HealthScope {
  /** Does the cap allow one more opening by failures? */
  mayOpen(): boolean;
  /** Do most of the others that are in service succeed? */
  areOthersWell(health: DeploymentHealth, now: number): boolean;
  /** `health` left the closed state. */
  onWithdrawn(health: DeploymentHealth): void;
  /** `health` is closed again. */
  onRecovered(health: DeploymentHealth): void;
  /** {@link DeploymentHealth.isFree} changed. */
  onFreeChanged(health: DeploymentHealth): void;
}

export interface DeploymentHealthOptions {
  readonly id: string;
  /** Of the deployment's configuration: while it stays the same, a refused credential stays refused. */
  readonly fingerprint: string;
  /** Most attempts at the same time; `Infinity` without a limit. */
  readonly maxParallel: number;
  /** Of these, as many as have their first token within this time on average. @default all */
  readonly ttftTargetMs?: number | undefined;
  readonly clock: Clock;
  /** For jitter. */
  readonly random: Random;
  readonly settings: CooldownSettings;
  /**
   * After an opening by failures somebody asks after the upstream's health: until {@link DeploymentHealth.beginCheck} has
   * its answer, or this long after the end of the cooldown, no request comes back. @default 0, nobody asks
   */
  readonly checkMs?: number | undefined;
  readonly onTransition?: ((transition: CooldownTransition) => void) | undefined;
}

/** Plain numbers for `status()` and `explain`. Times are on the router's clock. */
export interface HealthSnapshot {
  readonly availability: Availability;
  /** When it may be used again; `undefined` while it is available or its probe runs. */
  readonly availableAt: number | undefined;
  readonly state: "closed" | "open" | "half-open";
  /** Openings in a row, which lengthen the next one. */
  readonly openings: number;
  readonly consecutiveFailures: number;
  readonly streams: number;
  readonly waitingTokens: number;
  readonly successRate: number;
  readonly samples: number;
  readonly slownessMs: number;
  readonly msPerOutputToken: number;
  readonly averageStreams: number;
}

type BreakerState =
  | { readonly kind: "closed" }
  | { readonly kind: "open"; readonly cause: "failures" | "config"; readonly until: number }
  | {
      readonly kind: "half-open";
      readonly cause: "failures" | "config";
      /** The one attempt that decides, while it runs. */
      probe: Attempt | undefined;
      unprobedSince: number;
      /** Until then an answer about its health is waited for. */
      heldUntil: number;
    };

/** How soon to look again whether a check has ended: nobody knows when it will. */
const HELD_LOOK_MS = 50;

/** What others tell is a little older than what is known here: only news that changes something is taken. */
const LEAST_NEWS_MS = 100;

const CLOSED: BreakerState = { kind: "closed" };

/** A reset that lies further ahead is looked at again after this long: upstreams misreport. */
const LONGEST_PARKED_MS = 86_400_000;
const SHORTEST_PARKED_MS = 1_000;

/** Closer to 1 than this, the success average is 1: otherwise one old failure would lose every tie for ever. */
const SUCCESS_ROUNDING = 1e-4;

/** Below this many samples an attempt carries no prediction (routing §15). */
const LEAST_PREDICTING_SAMPLES = 4;

/**
 * Account-keeper of one deployment: in-flight work, learned speed, and whether it may be used (routing §2, §3, §5).
 *
 * One object serves every group that names the deployment and outlives configuration reloads ({@link reconfigure}), so
 * that attempts of an older configuration still end on the same account. Counts are local to the process.
 *
 * A breaker (closed → open → half-open), and beside it a pause after rate limits, which is no failure. Time-based
 * transitions happen when somebody looks: there are no timers.
 */
export class DeploymentHealth extends LiveNumbers {
  readonly id: string;
  /** Reasoning was seen from it: it may be silent for longer (routing §7). */
  hasReasoned = false;
  readonly #clock: Clock;
  readonly #random: Random;
  #settings: CooldownSettings;
  #fingerprint: string;
  #onTransition: ((transition: CooldownTransition) => void) | undefined;
  #checkMs: number;
  #scopes: readonly HealthScope[] = [];

  #maxParallel: number;
  /** Set where the number of attempts is found out. */
  #adaptive: AdaptiveCap | undefined;
  /** Those who wait for a slot. */
  readonly #followers: (() => void)[] = [];
  /** Whose turn it is to be told first. */
  #turn = 0;
  /** Attempts without a first token, oldest first: a doubly linked list through the attempts. */
  #oldestWaiting: Attempt | undefined;
  #newestWaiting: Attempt | undefined;
  readonly #latency: LatencyEstimate;

  #outcomes = 0;
  #lastOutcomeAt: number;
  #lastOkAt = Number.NEGATIVE_INFINITY;

  #state: BreakerState = CLOSED;
  /** Neither withdrawn nor limited: the answer of nearly every look, without asking the time. */
  #isClear = true;
  #isFree = true;
  /** Counts openings: an attempt of an earlier epoch says nothing about the present one. */
  #epoch = 0;
  #openings = 0;
  #consecutiveFailures = 0;
  #lastHardAt = Number.NEGATIVE_INFINITY;
  /** Counts runs of failures: a failure that is taken back is taken from its own run. */
  #run = 0;
  /** Counts recoveries, each of which forgets the failures before it. */
  #recoveries = 0;
  #cleanSince: number;
  readonly #window = new OutcomeWindow();

  #limitedUntil = 0;
  #limitedSince = 0;
  #limitedBackoffs = 0;
  #isLimitReported = false;
  #quotaBackoffs = 0;

  /** What attempts may do to their deployment; nobody else has it. */
  readonly #account: AttemptAccount = {
    now: () => this.#clock.now(),
    answered: (attempt) => this.#onFirstToken(attempt),
    ended: (attempt, result) => this.#onEnd(attempt, result),
    // What was taken back may have kept the deployment out.
    tookBack: () => this.#tellFollowers(),
  };

  constructor(options: DeploymentHealthOptions) {
    super(openRow());
    this.success = 1;
    this.id = options.id;
    this.#fingerprint = options.fingerprint;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#settings = options.settings;
    this.#onTransition = options.onTransition;
    this.#checkMs = options.checkMs ?? 0;
    this.#maxParallel = options.maxParallel;
    this.#adapt(options);
    const now = options.clock.now();
    this.#latency = new LatencyEstimate(now, this);
    this.#lastOutcomeAt = now;
    this.#cleanSince = now;
  }

  /**
   * A reload: keeps everything learned and everything in flight. Where `fingerprint` is another one, a withdrawal by a
   * refused credential, an unknown model or an exhausted quota ends.
   */
  reconfigure(options: Omit<DeploymentHealthOptions, "id" | "clock" | "random">): void {
    this.#settings = options.settings;
    this.#onTransition = options.onTransition;
    this.#checkMs = options.checkMs ?? 0;
    this.#maxParallel = options.maxParallel;
    this.#adapt(options);
    this.#updateFree();
    if (options.fingerprint === this.#fingerprint) return;
    this.#fingerprint = options.fingerprint;
    this.#quotaBackoffs = 0;
    // What still runs speaks of the old configuration.
    this.#epoch++;
    if (this.#state.kind !== "closed" && this.#state.cause === "config") this.#close(this.#clock.now());
  }

  /** Called by the scope itself. */
  join(scope: HealthScope): void {
    this.#scopes = [...this.#scopes, scope];
    if (this.#state.kind !== "closed") scope.onWithdrawn(this);
  }

  /** Called by the scope itself. */
  leave(scope: HealthScope): void {
    this.#scopes = this.#scopes.filter((other) => other !== scope);
  }

  /** Calls `onEnded` in the same turn in which an attempt ends, or in which more are allowed. @returns stops that. */
  follow(onEnded: () => void): () => void {
    this.#followers.push(onEnded);
    return () => {
      const position = this.#followers.indexOf(onEnded);
      if (position >= 0) this.#followers.splice(position, 1);
    };
  }

  get maxParallel(): number {
    return this.#maxParallel;
  }
  /** What answers taught about its speed. */
  get speed(): Speed {
    return this.#latency;
  }
  get oldestWaitingSince(): number | undefined {
    return this.#oldestWaiting?.startedAt;
  }
  get oldestWaitingPredictedMs(): number {
    return this.#oldestWaiting === undefined ? 0 : this.#oldestWaiting.predictedMs;
  }

  /** Share of attempts that succeed lately, 0–1; bad news is forgiven with idle time. */
  successRate(now: number): number {
    const success = this.success;
    return success === 1 ? 1 : 1 - (1 - success) * Math.exp((this.#lastOutcomeAt - now) / this.#settings.forgiveMs);
  }

  /**
   * Certainly available and below `maxParallel`, without a look at the time. Where false, a pause may have ended
   * unnoticed: ask {@link availability} and {@link isFull}.
   */
  get isFree(): boolean {
    return this.#isFree;
  }

  /** As many attempts under way as `maxParallel` lets. */
  get isFull(): boolean {
    return this.streams >= this.#maxParallel;
  }

  availability(now: number): Availability {
    if (this.#isClear) return "available";
    const state = this.#stateAt(now);
    if (state.kind === "open") return state.cause === "config" ? "parked" : "cooling-down";
    if (state.kind === "half-open") {
      // Before its probe: whoever waits for the end of the cooldown goes on waiting.
      if (now < state.heldUntil) return "cooling-down";
      if (state.probe !== undefined) return "probing";
    }
    return this.#isLimited(now) ? "rate-limited" : "available";
  }

  /** The earliest time at which the deployment may be used, at least `now`. A probe under way may end at any moment. */
  availableAt(now: number): number {
    if (this.#isClear) return now;
    const state = this.#stateAt(now);
    const until = state.kind === "open" ? state.until : isHeld(state, now) ? now + HELD_LOOK_MS : now;
    return Math.max(now, this.#limitedUntil, until);
  }

  /** The breaker is open or half-open because of failures: one of the openings that the cap counts. */
  get isOpenByFailures(): boolean {
    return this.#state.kind !== "closed" && this.#state.cause === "failures";
  }

  /** Half-open, and nobody has probed it for so long that the next request which may be repeated must. */
  wantsProbe(now: number): boolean {
    if (this.#isClear) return false;
    const state = this.#stateAt(now);
    return (
      state.kind === "half-open" &&
      state.probe === undefined &&
      !isHeld(state, now) &&
      now - state.unprobedSince >= this.#settings.unprobedMs &&
      !this.#isLimited(now)
    );
  }

  /** The next attempt would be the one that decides whether it is closed again. */
  awaitsProbe(now: number): boolean {
    if (this.#isClear) return false;
    const state = this.#stateAt(now);
    return state.kind === "half-open" && state.probe === undefined;
  }

  /** Did an attempt succeed within the last `withinMs`? */
  wasOkWithin(withinMs: number, now: number): boolean {
    return now - this.#lastOkAt <= withinMs;
  }

  /** Predicted time to the first token of a request; `undefined` before any sample. */
  predictedTtftMs(uncachedTokens: number): number | undefined {
    return this.#latency.predictMs(this.#workAhead(uncachedTokens), 0);
  }

  /** Predicted time to the last of `outputTokens`; `undefined` before any sample. */
  predictedDurationMs(uncachedTokens: number, outputTokens: number): number | undefined {
    return this.#latency.predictMs(this.#workAhead(uncachedTokens), outputTokens);
  }

  /**
   * An attempt begins. Called in the same turn as the choice, so that a half-open deployment gets one probe.
   */
  begin(work: AttemptWork): AttemptInFlight {
    const now = this.#clock.now();
    const tokens = Math.max(1, work.uncachedTokens);
    const workAhead = this.#workAhead(tokens);
    const outputTokens = work.isStreaming ? 0 : work.expectedOutputTokens;
    const predictedMs =
      this.#latency.samples < LEAST_PREDICTING_SAMPLES ? 0 : (this.#latency.predictMs(workAhead, outputTokens) ?? 0);
    const attempt = new Attempt(
      this.#account,
      now,
      this.#epoch,
      tokens,
      workAhead,
      outputTokens,
      predictedMs,
      work.isStreaming,
    );

    if (!this.#isClear) {
      let state = this.#stateAt(now);
      if (state.kind === "open" && work.isProbe) {
        state = { kind: "half-open", cause: state.cause, probe: undefined, unprobedSince: now, heldUntil: 0 };
        this.#state = state;
        this.#updateClear(now);
      }
      if (state.kind === "half-open" && state.probe === undefined) {
        state.probe = attempt;
        attempt.isProbe = true;
        // Whatever a check would say, the probe says more.
        state.heldUntil = 0;
      }
    }

    this.streams++;
    this.#adaptive?.noteStreams(this.streams);
    if (this.#isFree) this.#updateFree();
    this.waitingTokens += tokens;
    attempt.older = this.#newestWaiting;
    if (this.#newestWaiting) this.#newestWaiting.newer = attempt;
    else this.#oldestWaiting = attempt;
    this.#newestWaiting = attempt;
    return attempt;
  }

  /**
   * To be called when a cooldown after failures is over: somebody asks after the upstream's health, and requests come back
   * if it is alive. The check is no attempt: it counts neither as a stream nor as an outcome.
   *
   * @returns `undefined`: there is nothing to check.
   */
  beginCheck(): HealthCheck | undefined {
    const state = this.#stateAt(this.#clock.now());
    if (state.kind !== "half-open" || state.cause !== "failures" || state.probe !== undefined) return undefined;
    const epoch = this.#epoch;
    return {
      end: (isAlive) => {
        // A reload, a panic probe or the end of the hold came in between.
        if (this.#epoch !== epoch || this.#state !== state || state.probe !== undefined) return;
        const now = this.#clock.now();
        state.heldUntil = 0;
        state.unprobedSince = now;
        // It has its place under the cap already.
        if (!isAlive) this.#open(now);
      },
    };
  }

  /**
   * What the deployment was withdrawn for may be mended: the next request finds out. Does nothing unless it is parked.
   */
  reconsider(): void {
    const now = this.#clock.now();
    const state = this.#stateAt(now);
    if (state.kind !== "open" || state.cause !== "config") return;
    this.#state = { kind: "half-open", cause: "config", probe: undefined, unprobedSince: now, heldUntil: 0 };
    this.#updateClear(now);
    this.#tellFollowers();
  }

  /**
   * Another process found the deployment failing or limited: the later time wins, within the bounds of one's own findings.
   * Probing stays with each process.
   *
   * @param until - On the router's clock.
   */
  receive(cause: "failures" | "limited", until: number): void {
    const now = this.#clock.now();
    if (!this.#settings.isEnabled || until <= now + LEAST_NEWS_MS) return;
    if (cause === "limited") {
      const ends = Math.min(until, now + this.#settings.limitedMaxMs);
      if (ends <= this.#limitedUntil + LEAST_NEWS_MS) return;
      this.#limitedUntil = ends;
      this.#limitedSince = now;
      this.#updateClear(now);
      if (this.#isLimitReported) return;
      this.#isLimitReported = true;
      this.#report("deployment-cooled", "limited", ends, now, true);
      return;
    }
    const { maxMs, jitter } = this.#settings;
    const ends = Math.min(until, now + maxMs * (1 + jitter));
    const state = this.#stateAt(now);
    if (state.kind === "open" && state.cause === "failures") {
      if (ends > state.until) this.#state = { ...state, until: ends };
    } else if (state.kind === "closed" && this.#mayOpen()) {
      this.#withdraw("failures", ends, now, true);
    }
  }

  snapshot(now: number): HealthSnapshot {
    const availability = this.availability(now);
    return {
      availability,
      availableAt: availability === "available" || availability === "probing" ? undefined : this.availableAt(now),
      state: this.#state.kind,
      openings: this.#openings,
      consecutiveFailures: this.#consecutiveFailures,
      streams: this.streams,
      waitingTokens: this.waitingTokens,
      successRate: this.successRate(now),
      samples: this.#latency.samples,
      slownessMs: this.#latency.slownessMs,
      msPerOutputToken: this.#latency.msPerOutputToken,
      averageStreams: this.#latency.averageStreams,
    };
  }

  #workAhead(uncachedTokens: number): number {
    return this.waitingTokens + Math.max(1, uncachedTokens) + 100 * this.streams + 100;
  }

  #onFirstToken(attempt: Attempt): void {
    const now = this.#clock.now();
    attempt.firstTokenAt = now;
    this.#stopWaiting(attempt);
    this.#latency.sampleFirstToken(now - attempt.startedAt, attempt.workAhead, now);
    if (this.#adaptive && this.#learnCap(attempt, now)) this.#tellFollowers();
  }

  /** @returns whether more attempts are allowed now. */
  #learnCap(attempt: Attempt, now: number): boolean {
    const adaptive = this.#adaptive;
    if (!adaptive?.sample(now - attempt.startedAt, now)) return false;
    const before = this.#maxParallel;
    this.#maxParallel = adaptive.cap;
    // For the window that begins.
    adaptive.noteStreams(this.streams);
    this.#updateFree();
    return adaptive.cap > before;
  }

  #adapt({ ttftTargetMs, maxParallel }: Pick<DeploymentHealthOptions, "ttftTargetMs" | "maxParallel">): void {
    if (ttftTargetMs === undefined) this.#adaptive = undefined;
    else if (this.#adaptive?.ttftTargetMs !== ttftTargetMs || this.#adaptive.most !== maxParallel) {
      this.#adaptive = new AdaptiveCap(ttftTargetMs, maxParallel, this.#clock.now());
    }
    if (this.#adaptive) this.#maxParallel = this.#adaptive.cap;
  }

  /** In turns: a deployment of several groups belongs to the one as much as to the other. */
  #tellFollowers(): void {
    const followers = this.#followers;
    if (followers.length === 0) return;
    // A copy: whoever is told may stop following.
    const first = this.#turn++ % followers.length;
    for (const tell of [...followers.slice(first), ...followers.slice(0, first)]) tell();
  }

  #onEnd(attempt: Attempt, { outcome, error, outputTokens }: AttemptResult): void {
    const now = this.#clock.now();
    this.streams--;
    if (!this.#isFree) this.#updateFree();
    const wasWaiting = attempt.isWaiting;
    if (wasWaiting) this.#stopWaiting(attempt);
    const state = this.#stateAt(now);
    const isProbe = state.kind === "half-open" && state.probe === attempt;
    if (isProbe) {
      state.probe = undefined;
      state.unprobedSince = now;
    }
    switch (outcome) {
      case "ok":
        this.#learnSpeed(attempt, wasWaiting, outputTokens, now);
        this.#onOk(attempt, isProbe, now);
        break;
      case "soft":
        if (wasWaiting) {
          this.#learnCensored(attempt, now);
          // Later than that, had it come at all.
          if (this.#adaptive && attempt.isStreaming) this.#learnCap(attempt, now);
        }
        this.#onFailure(attempt, isProbe, now);
        break;
      case "hard":
        this.#lastHardAt = now;
        this.#onFailure(attempt, isProbe, now);
        break;
      case "limited":
        this.#onLimited(attempt, error, now);
        break;
      case "config":
        this.#onConfig(attempt, error, now);
        break;
      case "cancelled":
        if (wasWaiting) this.#learnCensored(attempt, now);
        break;
      case "caller":
        break;
    }
    // Last, for whoever is told may begin the next attempt at once.
    this.#tellFollowers();
  }

  #stopWaiting(attempt: Attempt): void {
    this.waitingTokens -= attempt.uncachedTokens;
    const { older, newer } = attempt;
    if (older) older.newer = newer;
    else this.#oldestWaiting = newer;
    if (newer) newer.older = older;
    else this.#newestWaiting = older;
    attempt.older = undefined;
    attempt.newer = undefined;
    attempt.isWaiting = false;
  }

  #learnSpeed(attempt: Attempt, wasWaiting: boolean, outputTokens: number, now: number): void {
    if (!attempt.isStreaming) {
      this.#latency.sampleWhole(now - attempt.startedAt, attempt.workAhead, outputTokens, now);
    } else if (!wasWaiting) {
      // The first token is no part of the time after it.
      this.#latency.sampleDecode(now - attempt.firstTokenAt, outputTokens - 1, now);
    }
    this.#latency.sampleStreams(this.streams);
  }

  #learnCensored(attempt: Attempt, now: number): void {
    this.#latency.sampleCensored(now - attempt.startedAt, attempt.workAhead, attempt.expectedOutputTokens, now);
  }

  #onOk(attempt: Attempt, isProbe: boolean, now: number): void {
    this.#recordOutcome(1, now);
    this.#lastOkAt = now;
    this.#limitedBackoffs = 0;
    if (this.#isLimitReported && !this.#isLimited(now)) {
      this.#isLimitReported = false;
      this.#report("deployment-recovered", "limited", undefined, now);
    }
    if (attempt.epoch !== this.#epoch) return;
    if (isProbe) {
      this.#quotaBackoffs = 0;
      this.#consecutiveFailures = 0;
      this.#run++;
      this.#recoveries++;
      this.#window.clear();
      this.#close(now);
    } else if (this.#state.kind === "closed") {
      this.#quotaBackoffs = 0;
      this.#consecutiveFailures = 0;
      this.#run++;
      this.#window.record(false, this.#settings.windowMs, now);
    }
  }

  #onFailure(attempt: Attempt, isProbe: boolean, now: number): void {
    const weight = this.#settings.successWeight;
    const success = this.success;
    const lastOutcomeAt = this.#lastOutcomeAt;
    this.#recordOutcome(0, now);
    const outcomes = this.#outcomes;
    const takeBackOutcome = () => {
      // The average is linear: each later outcome has weighed down what this one took.
      const later = this.#outcomes - outcomes;
      this.#setSuccess(this.success + weight * success * (1 - weight) ** later);
      if (later === 0) this.#lastOutcomeAt = lastOutcomeAt;
    };
    attempt.takeBack = takeBackOutcome;
    // Begun before the last opening: it neither extends that one nor counts towards the next.
    if (attempt.epoch !== this.#epoch) return;
    if (isProbe) this.#onFailedProbe(attempt, takeBackOutcome, now);
    else if (this.#state.kind === "closed") this.#onCountedFailure(attempt, takeBackOutcome, now);
  }

  #onFailedProbe(attempt: Attempt, takeBackOutcome: () => void, now: number): void {
    // Withdrawn for its configuration, it holds no place under the cap yet: without one it stays half-open.
    if (!this.isOpenByFailures && !this.#mayOpen()) return;
    const openings = this.#openings;
    const epoch = this.#open(now);
    attempt.takeBack = (at) => {
      takeBackOutcome();
      if (this.#epoch !== epoch || this.#state.kind === "closed") return;
      this.#openings = openings;
      this.#state = { kind: "half-open", cause: "failures", probe: undefined, unprobedSince: at, heldUntil: 0 };
      this.#updateClear(at);
    };
  }

  #onCountedFailure(attempt: Attempt, takeBackOutcome: () => void, now: number): void {
    const { cleanMs, failures, errorRate, minOutcomes, windowMs } = this.#settings;
    if (now - this.#cleanSince >= cleanMs) this.#openings = 0;
    this.#cleanSince = now;
    this.#consecutiveFailures++;
    const tenth = this.#window.record(true, windowMs, now);
    const run = this.#run;
    const recoveries = this.#recoveries;
    const openings = this.#openings;

    const isFailing =
      this.#consecutiveFailures >= failures || this.#window.errorRate(minOutcomes, windowMs, now) >= errorRate;
    // Timeouts alone may mean that there is too much to do for all: to withdraw some of them would leave the others more of it.
    const isOwnFault = () =>
      now - this.#lastHardAt <= windowMs || this.#scopes.every((scope) => scope.areOthersWell(this, now));
    const epoch = isFailing && isOwnFault() && this.#mayOpen() ? this.#open(now) : undefined;

    attempt.takeBack = (at) => {
      takeBackOutcome();
      if (this.#run === run) this.#consecutiveFailures--;
      if (this.#recoveries === recoveries) this.#window.takeBackFailure(tenth, this.#settings.windowMs, at);
      if (epoch !== this.#epoch || this.#state.kind === "closed") return;
      this.#openings = openings;
      this.#close(at);
    };
  }

  #onLimited(attempt: Attempt, error: UpstreamError | undefined, now: number): void {
    const { limitedBaseMs, limitedMaxMs, overloadedMaxMs } = this.#settings;
    const before = this.#limitedUntil;
    const backoffs = this.#limitedBackoffs;
    const asked = error?.retryAfterMs;
    let pauseMs: number;
    if (asked !== undefined && !Number.isNaN(asked)) {
      pauseMs = Math.min(limitedMaxMs, Math.max(0, asked));
    } else {
      // Attempts of the same burst are one piece of news: they must not double the pause one by one.
      if (this.#isLimited(now) && attempt.startedAt <= this.#limitedSince) return;
      pauseMs = Math.min(limitedMaxMs, limitedBaseMs * 2 ** backoffs);
      if (error?.errorClass === "overloaded") pauseMs = Math.min(overloadedMaxMs, pauseMs);
      this.#limitedBackoffs++;
    }
    const until = now + pauseMs;
    if (until <= Math.max(now, before)) return;
    this.#limitedUntil = until;
    this.#limitedSince = now;
    this.#updateClear(now);
    attempt.takeBack = (at) => {
      // A later answer has set its own pause meanwhile.
      if (this.#limitedUntil !== until) return;
      this.#limitedUntil = before;
      this.#limitedBackoffs = backoffs;
      this.#updateClear(at);
    };
    if (this.#isLimitReported) return;
    this.#isLimitReported = true;
    this.#report("deployment-cooled", "limited", until, now);
  }

  #onConfig(attempt: Attempt, error: UpstreamError | undefined, now: number): void {
    // Of an earlier epoch: parked already, or about a configuration that is gone.
    if (!this.#settings.isEnabled || attempt.epoch !== this.#epoch) return;
    const { configMs, quotaBaseMs, quotaMaxMs } = this.#settings;
    const quotaBackoffs = this.#quotaBackoffs;
    let parkedMs = configMs;
    if (error?.errorClass === "quota") {
      const resetMs = error.retryAfterMs;
      if (resetMs !== undefined && resetMs > 0) {
        parkedMs = Math.min(LONGEST_PARKED_MS, Math.max(SHORTEST_PARKED_MS, resetMs));
      } else {
        parkedMs = Math.min(quotaMaxMs, quotaBaseMs * 2 ** quotaBackoffs);
        this.#quotaBackoffs++;
      }
    }
    const epoch = this.#withdraw("config", now + parkedMs, now);
    attempt.takeBack = (at) => {
      if (this.#epoch !== epoch || this.#state.kind === "closed") return;
      this.#quotaBackoffs = quotaBackoffs;
      this.#close(at);
    };
  }

  #recordOutcome(outcome: 0 | 1, now: number): void {
    this.#setSuccess(ewma(this.success, outcome, this.#settings.successWeight));
    this.#outcomes++;
    this.#lastOutcomeAt = now;
  }

  #setSuccess(success: number): void {
    this.success = success > 1 - SUCCESS_ROUNDING ? 1 : success;
  }

  #mayOpen(): boolean {
    return this.#settings.isEnabled && this.#scopes.every((scope) => scope.mayOpen());
  }

  /** @returns the epoch of the opening. */
  #open(now: number): number {
    const { baseMs, maxMs, jitter } = this.#settings;
    const spread = 1 + jitter * (2 * this.#random.next() - 1);
    const until = now + Math.min(maxMs, baseMs * 2 ** this.#openings) * spread;
    this.#openings++;
    return this.#withdraw("failures", until, now);
  }

  #withdraw(cause: "failures" | "config", until: number, now: number, isReceived = false): number {
    const wasClosed = this.#state.kind === "closed";
    this.#state = { kind: "open", cause, until };
    this.#updateClear(now);
    this.#epoch++;
    if (wasClosed) for (const scope of this.#scopes) scope.onWithdrawn(this);
    this.#report("deployment-cooled", cause, until, now, isReceived);
    return this.#epoch;
  }

  #close(now: number): void {
    const state = this.#state;
    if (state.kind === "closed") return;
    this.#state = CLOSED;
    this.#cleanSince = now;
    this.#updateClear(now);
    for (const scope of this.#scopes) scope.onRecovered(this);
    this.#report("deployment-recovered", state.cause, undefined, now);
  }

  #stateAt(now: number): BreakerState {
    const state = this.#state;
    if (state.kind !== "open" || now < state.until) return state;
    const { cause, until } = state;
    const heldUntil = cause === "failures" && this.#checkMs > 0 ? until + this.#checkMs : 0;
    this.#state = { kind: "half-open", cause, probe: undefined, unprobedSince: until, heldUntil };
    return this.#state;
  }

  #isLimited(now: number): boolean {
    if (now < this.#limitedUntil) return true;
    if (!this.#isClear) this.#updateClear(now);
    return false;
  }

  #updateClear(now: number): void {
    const state = this.#state;
    this.#isClear = state.kind === "closed" && now >= this.#limitedUntil;
    if (this.#isClear) this.blockedUntil = 0;
    else this.blockedUntil = state.kind === "open" ? Math.max(state.until, this.#limitedUntil) : this.#limitedUntil;
    this.#updateFree();
  }

  #updateFree(): void {
    const isFree = this.#isClear && this.streams < this.#maxParallel;
    if (isFree === this.#isFree) return;
    this.#isFree = isFree;
    for (const scope of this.#scopes) scope.onFreeChanged(this);
  }

  #report(
    type: CooldownTransition["type"],
    cause: CooldownTransition["cause"],
    until: number | undefined,
    now: number,
    isReceived = false,
  ): void {
    this.#onTransition?.({ type, at: now, deployment: this.id, cause, until, isReceived });
  }
}

function isHeld(state: BreakerState, now: number): boolean {
  return state.kind === "half-open" && now < state.heldUntil;
}

/** Undoes an account's entry as of time `at`. */
type TakeBack = (at: number) => void;

interface AttemptAccount {
  now(): number;
  answered(attempt: Attempt): void;
  ended(attempt: Attempt, result: AttemptResult): void;
  tookBack(): void;
}

class Attempt implements AttemptInFlight {
  /** Neighbours among the attempts that wait for their first token. */
  older: Attempt | undefined;
  newer: Attempt | undefined;
  isWaiting = true;
  isProbe = false;
  firstTokenAt = 0;
  /** What the end entered against the deployment, where it can be taken back. */
  takeBack: TakeBack | undefined;
  #isEnded = false;
  readonly #account: AttemptAccount;

  constructor(
    account: AttemptAccount,
    readonly startedAt: number,
    /** Of the deployment, when the attempt began. */
    readonly epoch: number,
    readonly uncachedTokens: number,
    readonly workAhead: number,
    /** 0 for streams, whose first token does not wait for the others. */
    readonly expectedOutputTokens: number,
    readonly predictedMs: number,
    readonly isStreaming: boolean,
  ) {
    this.#account = account;
  }

  firstToken(): void {
    if (this.isStreaming && this.isWaiting) this.#account.answered(this);
  }

  end(result: AttemptResult): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#account.ended(this, result);
  }

  reclassifyAsCaller(): void {
    const { takeBack } = this;
    this.takeBack = undefined;
    if (!takeBack) return;
    takeBack(this.#account.now());
    this.#account.tookBack();
  }
}
