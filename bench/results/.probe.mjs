// src/internal/random.ts
function seededRandom(seed) {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 1831565813) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    },
  };
}

// src/internal/secret.ts
var Secret = class {
  #value;
  constructor(value) {
    this.#value = value;
  }
  reveal() {
    return this.#value;
  }
  toString() {
    return "[secret]";
  }
  toJSON() {
    return "[secret]";
  }
  [/* @__PURE__ */ Symbol.for("nodejs.util.inspect.custom")]() {
    return "[secret]";
  }
};

// src/deployments/credential.ts
var Credential = class {
  #source;
  #clock;
  #cached;
  #cachedUntil = 0;
  /** One look-up at a time: attempts that need the key meanwhile wait for the same one. */
  #pending;
  constructor(apiKey, clock2) {
    this.#source = typeof apiKey === "string" ? new Secret(apiKey) : apiKey;
    this.#clock = clock2;
  }
  /** The key comes from a function, so that a refused one can be replaced (routing §5). */
  get isRenewable() {
    return typeof this.#source === "function";
  }
  /** The key for one attempt: at once where it is known, so that the usual attempt does not wait. */
  resolve() {
    const source = this.#source;
    if (source === void 0) return void 0;
    if (source instanceof Secret) return source.reveal();
    if (this.#cached && this.#clock.now() < this.#cachedUntil) return this.#cached.reveal();
    this.#pending ??= this.#renew(source).finally(() => {
      this.#pending = void 0;
    });
    return this.#pending;
  }
  async #renew(source) {
    const result = await source();
    const value = typeof result === "string" ? result : result?.value;
    if (typeof value !== "string" || value === "") throw new TypeError("`apiKey` returned no key");
    if (typeof result === "object" && result.ttlMs > 0) {
      this.#cached = new Secret(value);
      this.#cachedUntil = this.#clock.now() + result.ttlMs;
    }
    return value;
  }
  /** Forgets a cached key: the upstream refused it. */
  drop() {
    this.#cached = void 0;
  }
};

// src/internal/ewma.ts
function ewma(average, sample, weight) {
  return average + weight * (sample - average);
}

// src/health/latency-estimate.ts
var SLOWNESS_WEIGHT = 0.1;
var SLOWNESS_PAUSE_MS = 1e4;
var DECODE_WEIGHT = 0.05;
var DECODE_PAUSE_MS = 2e4;
var STREAMS_WEIGHT = 0.05;
var DEFAULT_OUTPUT_FACTOR = 100;
var SHORTEST_MS = 1e-3;
var LatencyEstimate = class {
  #samples = 0;
  #slownessMs = 0;
  #msPerOutputToken = 0;
  #averageStreams = 0;
  #lastSampleAt;
  #ttftMean = 0;
  #workMean = 0;
  #decodeSamples = 0;
  #lastDecodeSampleAt;
  #decodeMean = 0;
  #tokensMean = 0;
  #completions = 0;
  /**
   * `msPerOutputToken / slownessMs` as streams showed it. Whole replies cannot tell the two apart: read back from an
   * estimate that they move themselves, it would drift at random.
   */
  #outputFactor = DEFAULT_OUTPUT_FACTOR;
  constructor(now) {
    this.#lastSampleAt = now;
    this.#lastDecodeSampleAt = now;
  }
  /** First tokens, or whole replies, seen. */
  get samples() {
    return this.#samples;
  }
  /** Milliseconds of TTFT per prompt token of work ahead; 0 before the first sample. */
  get slownessMs() {
    return this.#slownessMs;
  }
  /** Milliseconds per output token; 0 before the first sample. */
  get msPerOutputToken() {
    return this.#msPerOutputToken;
  }
  /** Other streams under way when answers completed, on average. */
  get averageStreams() {
    return this.#averageStreams;
  }
  get lastSampleAt() {
    return this.#lastSampleAt;
  }
  /** @param work - Work ahead of the attempt when it began, in prompt tokens, its own included. */
  sampleFirstToken(ttftMs, work, now) {
    this.#sampleSlowness(ttftMs, work, now);
    this.#samples++;
  }
  /** @param decodeMs - From the first content to the end, in which `tokens` came after the first one. */
  sampleDecode(decodeMs, tokens, now) {
    if (tokens < 1) return;
    this.#sampleDecode(decodeMs, tokens, now);
    if (this.#slownessMs > 0) this.#outputFactor = this.#msPerOutputToken / this.#slownessMs;
  }
  /** A reply that was not streamed: its one duration is shared out between prompt and output. */
  sampleWhole(durationMs, work, outputTokens, now) {
    const outputWork = this.#outputFactor * outputTokens;
    this.#sampleSlowness(durationMs, work + outputWork, now);
    this.#samples++;
    if (outputTokens >= 1) this.#sampleDecode((durationMs * outputWork) / (work + outputWork), outputTokens, now);
  }
  /**
   * An attempt ended before it answered: it would have taken at least this long. Raises the estimate or leaves it, and
   * says nothing where no answer has been seen yet.
   *
   * @param outputTokens - Expected ones of a reply that is not streamed; 0 for streams.
   */
  sampleCensored(elapsedMs, work, outputTokens, now) {
    const wholeWork = work + this.#outputFactor * outputTokens;
    if (this.#samples === 0 || elapsedMs <= this.#slownessMs * wholeWork) return;
    const before = this.#slownessMs;
    this.#sampleSlowness(elapsedMs, wholeWork, now);
    this.#slownessMs = Math.max(before, this.#slownessMs);
  }
  /** @param streams - Others under way when an answer completed. */
  sampleStreams(streams) {
    this.#averageStreams = ewma(this.#averageStreams, streams, Math.max(STREAMS_WEIGHT, 1 / (this.#completions + 1)));
    this.#completions++;
  }
  /** Predicted time until `work` prompt tokens are read and `outputTokens` more written; `undefined` before any sample. */
  predictMs(work, outputTokens) {
    if (this.#samples === 0) return void 0;
    return this.#slownessMs * work + outputTokens * (this.#msPerOutputToken || this.#slownessMs * this.#outputFactor);
  }
  #sampleSlowness(ms, work, now) {
    const weight = sampleWeight(SLOWNESS_WEIGHT, this.#samples, now - this.#lastSampleAt, SLOWNESS_PAUSE_MS);
    this.#ttftMean = ewma(this.#ttftMean, Math.max(SHORTEST_MS, ms), weight);
    this.#workMean = ewma(this.#workMean, work, weight);
    this.#slownessMs = this.#ttftMean / this.#workMean;
    this.#lastSampleAt = now;
  }
  #sampleDecode(ms, tokens, now) {
    const weight = sampleWeight(DECODE_WEIGHT, this.#decodeSamples, now - this.#lastDecodeSampleAt, DECODE_PAUSE_MS);
    this.#decodeMean = ewma(this.#decodeMean, Math.max(SHORTEST_MS, ms), weight);
    this.#tokensMean = ewma(this.#tokensMean, tokens, weight);
    this.#msPerOutputToken = this.#decodeMean / this.#tokensMean;
    this.#decodeSamples++;
    this.#lastDecodeSampleAt = now;
  }
};
function sampleWeight(least, samples, pauseMs, pauseScaleMs) {
  return Math.max(least, 1 / (samples + 1), 1 - Math.exp(-pauseMs / pauseScaleMs));
}

// src/health/outcome-window.ts
var BUCKETS = 10;
var OutcomeWindow = class {
  #outcomes = new Uint32Array(BUCKETS);
  #failures = new Uint32Array(BUCKETS);
  /** The present tenth, counted from the clock's origin. */
  #tenth = 0;
  /** @returns the tenth that it was counted in, for {@link takeBackFailure}. */
  record(isFailure, windowMs, now) {
    this.#advance(windowMs, now);
    const bucket = this.#tenth % BUCKETS;
    this.#outcomes[bucket]++;
    if (isFailure) this.#failures[bucket]++;
    return this.#tenth;
  }
  /** The failure counted in `tenth` was none, nor an outcome at all. */
  takeBackFailure(tenth, windowMs, now) {
    this.#advance(windowMs, now);
    const bucket = tenth % BUCKETS;
    if (tenth <= this.#tenth - BUCKETS || this.#failures[bucket] === 0) return;
    this.#outcomes[bucket]--;
    this.#failures[bucket]--;
  }
  /** Share of failures, 0–1; 0 while there are fewer than `minOutcomes`. */
  errorRate(minOutcomes, windowMs, now) {
    this.#advance(windowMs, now);
    let outcomes = 0;
    let failures = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      outcomes += this.#outcomes[bucket];
      failures += this.#failures[bucket];
    }
    return outcomes < minOutcomes || outcomes === 0 ? 0 : failures / outcomes;
  }
  clear() {
    this.#outcomes.fill(0);
    this.#failures.fill(0);
  }
  #advance(windowMs, now) {
    const tenth = Math.floor((now * BUCKETS) / windowMs);
    const steps = tenth - this.#tenth;
    if (steps === 0) return;
    if (steps >= BUCKETS || steps < 0) this.clear();
    else for (let step = 1; step <= steps; step++) this.#clearTenth(this.#tenth + step);
    this.#tenth = tenth;
  }
  #clearTenth(tenth) {
    this.#outcomes[tenth % BUCKETS] = 0;
    this.#failures[tenth % BUCKETS] = 0;
  }
};

// src/health/deployment-health.ts
var CLOSED = { kind: "closed" };
var LONGEST_PARKED_MS = 864e5;
var SHORTEST_PARKED_MS = 1e3;
var SUCCESS_ROUNDING = 1e-4;
var LEAST_PREDICTING_SAMPLES = 4;
var DeploymentHealth = class {
  id;
  #clock;
  #random;
  #settings;
  #fingerprint;
  #onTransition;
  #scopes = [];
  #streams = 0;
  #waitingTokens = 0;
  /** Attempts without a first token, oldest first: a doubly linked list through the attempts. */
  #oldestWaiting;
  #newestWaiting;
  #latency;
  #success = 1;
  #outcomes = 0;
  #lastOutcomeAt;
  #lastOkAt = Number.NEGATIVE_INFINITY;
  #state = CLOSED;
  /** Neither withdrawn nor limited: the answer of nearly every look, without asking the time. */
  #isClear = true;
  /** Counts openings: an attempt of an earlier epoch says nothing about the present one. */
  #epoch = 0;
  #openings = 0;
  #consecutiveFailures = 0;
  /** Counts runs of failures: a failure that is taken back is taken from its own run. */
  #run = 0;
  /** Counts recoveries, each of which forgets the failures before it. */
  #recoveries = 0;
  #cleanSince;
  #window = new OutcomeWindow();
  #limitedUntil = 0;
  #limitedSince = 0;
  #limitedBackoffs = 0;
  #isLimitReported = false;
  #quotaBackoffs = 0;
  /** What attempts may do to their deployment; nobody else has it. */
  #account = {
    now: () => this.#clock.now(),
    answered: (attempt) => this.#onFirstToken(attempt),
    ended: (attempt, result) => this.#onEnd(attempt, result),
  };
  constructor(options) {
    this.id = options.id;
    this.#fingerprint = options.fingerprint;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#settings = options.settings;
    this.#onTransition = options.onTransition;
    const now = options.clock.now();
    this.#latency = new LatencyEstimate(now);
    this.#lastOutcomeAt = now;
    this.#cleanSince = now;
  }
  /**
   * A reload: keeps everything learned and everything in flight. Where `fingerprint` is another one, a withdrawal by a
   * refused credential, an unknown model or an exhausted quota ends.
   */
  reconfigure(options) {
    this.#settings = options.settings;
    this.#onTransition = options.onTransition;
    if (options.fingerprint === this.#fingerprint) return;
    this.#fingerprint = options.fingerprint;
    this.#quotaBackoffs = 0;
    this.#epoch++;
    if (this.#state.kind !== "closed" && this.#state.cause === "config") this.#close(this.#clock.now());
  }
  /** Called by the scope itself. */
  join(scope) {
    this.#scopes = [...this.#scopes, scope];
    if (this.#state.kind !== "closed") scope.onWithdrawn(this);
  }
  /** Called by the scope itself. */
  leave(scope) {
    this.#scopes = this.#scopes.filter((other) => other !== scope);
  }
  /** Attempts under way. */
  get streams() {
    return this.#streams;
  }
  /** Prompt tokens of the attempts that wait for their first token. */
  get waitingTokens() {
    return this.#waitingTokens;
  }
  get samples() {
    return this.#latency.samples;
  }
  get slownessMs() {
    return this.#latency.slownessMs;
  }
  get msPerOutputToken() {
    return this.#latency.msPerOutputToken;
  }
  get averageStreams() {
    return this.#latency.averageStreams;
  }
  get lastSampleAt() {
    return this.#latency.lastSampleAt;
  }
  get oldestWaitingSince() {
    return this.#oldestWaiting?.startedAt;
  }
  get oldestWaitingPredictedMs() {
    return this.#oldestWaiting === void 0 ? 0 : this.#oldestWaiting.predictedMs;
  }
  /** Share of attempts that succeed lately, 0–1; bad news is forgiven with idle time. */
  successRate(now) {
    const success = this.#success;
    return success === 1 ? 1 : 1 - (1 - success) * Math.exp((this.#lastOutcomeAt - now) / this.#settings.forgiveMs);
  }
  /** Certainly `available`, without a look at the time; where false, ask {@link availability}. */
  get isClear() {
    return this.#isClear;
  }
  availability(now) {
    if (this.#isClear) return "available";
    const state = this.#stateAt(now);
    if (state.kind === "open") return state.cause === "config" ? "parked" : "cooling-down";
    if (state.kind === "half-open" && state.probe !== void 0) return "probing";
    return this.#isLimited(now) ? "rate-limited" : "available";
  }
  /** The earliest time at which the deployment may be used, at least `now`. A probe under way may end at any moment. */
  availableAt(now) {
    if (this.#isClear) return now;
    const state = this.#stateAt(now);
    return Math.max(now, this.#limitedUntil, state.kind === "open" ? state.until : now);
  }
  /** The breaker is open or half-open because of failures: one of the openings that the cap counts. */
  get isOpenByFailures() {
    return this.#state.kind !== "closed" && this.#state.cause === "failures";
  }
  /** Half-open, and nobody has probed it for so long that the next request which may be repeated must. */
  wantsProbe(now) {
    if (this.#isClear) return false;
    const state = this.#stateAt(now);
    return (
      state.kind === "half-open" &&
      state.probe === void 0 &&
      now - state.unprobedSince >= this.#settings.unprobedMs &&
      !this.#isLimited(now)
    );
  }
  /** Did an attempt succeed within the last `withinMs`? */
  wasOkWithin(withinMs, now) {
    return now - this.#lastOkAt <= withinMs;
  }
  /** Predicted time to the first token of a request; `undefined` before any sample. */
  predictedTtftMs(uncachedTokens) {
    return this.#latency.predictMs(this.#workAhead(uncachedTokens), 0);
  }
  /** Predicted time to the last of `outputTokens`; `undefined` before any sample. */
  predictedDurationMs(uncachedTokens, outputTokens) {
    return this.#latency.predictMs(this.#workAhead(uncachedTokens), outputTokens);
  }
  /**
   * An attempt begins. Called in the same turn as the choice, so that a half-open deployment gets one probe.
   */
  begin(work) {
    const now = this.#clock.now();
    const tokens = Math.max(1, work.uncachedTokens);
    const workAhead2 = this.#workAhead(tokens);
    const outputTokens = work.isStreaming ? 0 : work.expectedOutputTokens;
    const predictedMs =
      this.#latency.samples < LEAST_PREDICTING_SAMPLES ? 0 : (this.#latency.predictMs(workAhead2, outputTokens) ?? 0);
    const attempt = new Attempt(
      this.#account,
      now,
      this.#epoch,
      tokens,
      workAhead2,
      outputTokens,
      predictedMs,
      work.isStreaming,
    );
    if (!this.#isClear) {
      let state = this.#stateAt(now);
      if (state.kind === "open" && work.isProbe) {
        state = { kind: "half-open", cause: state.cause, probe: void 0, unprobedSince: now };
        this.#state = state;
      }
      if (state.kind === "half-open" && state.probe === void 0) state.probe = attempt;
    }
    this.#streams++;
    this.#waitingTokens += tokens;
    attempt.older = this.#newestWaiting;
    if (this.#newestWaiting) this.#newestWaiting.newer = attempt;
    else this.#oldestWaiting = attempt;
    this.#newestWaiting = attempt;
    return attempt;
  }
  snapshot(now) {
    const availability = this.availability(now);
    return {
      availability,
      availableAt: availability === "available" || availability === "probing" ? void 0 : this.availableAt(now),
      state: this.#state.kind,
      openings: this.#openings,
      consecutiveFailures: this.#consecutiveFailures,
      streams: this.#streams,
      waitingTokens: this.#waitingTokens,
      successRate: this.successRate(now),
      samples: this.samples,
      slownessMs: this.slownessMs,
      msPerOutputToken: this.msPerOutputToken,
      averageStreams: this.averageStreams,
    };
  }
  #workAhead(uncachedTokens) {
    return this.#waitingTokens + Math.max(1, uncachedTokens) + 100 * this.#streams + 100;
  }
  #onFirstToken(attempt) {
    const now = this.#clock.now();
    attempt.firstTokenAt = now;
    this.#stopWaiting(attempt);
    this.#latency.sampleFirstToken(now - attempt.startedAt, attempt.workAhead, now);
  }
  #onEnd(attempt, { outcome, error, outputTokens }) {
    const now = this.#clock.now();
    this.#streams--;
    const wasWaiting = attempt.isWaiting;
    if (wasWaiting) this.#stopWaiting(attempt);
    const state = this.#stateAt(now);
    const isProbe = state.kind === "half-open" && state.probe === attempt;
    if (isProbe) {
      state.probe = void 0;
      state.unprobedSince = now;
    }
    switch (outcome) {
      case "ok":
        this.#learnSpeed(attempt, wasWaiting, outputTokens, now);
        this.#onOk(attempt, isProbe, now);
        break;
      case "soft":
        if (wasWaiting) this.#learnCensored(attempt, now);
        this.#onFailure(attempt, isProbe, now);
        break;
      case "hard":
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
  }
  #stopWaiting(attempt) {
    this.#waitingTokens -= attempt.uncachedTokens;
    const { older, newer } = attempt;
    if (older) older.newer = newer;
    else this.#oldestWaiting = newer;
    if (newer) newer.older = older;
    else this.#newestWaiting = older;
    attempt.older = void 0;
    attempt.newer = void 0;
    attempt.isWaiting = false;
  }
  #learnSpeed(attempt, wasWaiting, outputTokens, now) {
    if (!attempt.isStreaming) {
      this.#latency.sampleWhole(now - attempt.startedAt, attempt.workAhead, outputTokens, now);
    } else if (!wasWaiting) {
      this.#latency.sampleDecode(now - attempt.firstTokenAt, outputTokens - 1, now);
    }
    this.#latency.sampleStreams(this.#streams);
  }
  #learnCensored(attempt, now) {
    this.#latency.sampleCensored(now - attempt.startedAt, attempt.workAhead, attempt.expectedOutputTokens, now);
  }
  #onOk(attempt, isProbe, now) {
    this.#recordOutcome(1, now);
    this.#lastOkAt = now;
    this.#limitedBackoffs = 0;
    if (this.#isLimitReported && !this.#isLimited(now)) {
      this.#isLimitReported = false;
      this.#report("deployment-recovered", "limited", void 0, now);
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
  #onFailure(attempt, isProbe, now) {
    const weight = this.#settings.successWeight;
    const success = this.#success;
    const lastOutcomeAt = this.#lastOutcomeAt;
    this.#recordOutcome(0, now);
    const outcomes = this.#outcomes;
    const takeBackOutcome = () => {
      const later = this.#outcomes - outcomes;
      this.#setSuccess(this.#success + weight * success * (1 - weight) ** later);
      if (later === 0) this.#lastOutcomeAt = lastOutcomeAt;
    };
    attempt.takeBack = takeBackOutcome;
    if (attempt.epoch !== this.#epoch) return;
    if (isProbe) this.#onFailedProbe(attempt, takeBackOutcome, now);
    else if (this.#state.kind === "closed") this.#onCountedFailure(attempt, takeBackOutcome, now);
  }
  #onFailedProbe(attempt, takeBackOutcome, now) {
    if (!this.isOpenByFailures && !this.#mayOpen()) return;
    const openings = this.#openings;
    const epoch = this.#open(now);
    attempt.takeBack = (at) => {
      takeBackOutcome();
      if (this.#epoch !== epoch || this.#state.kind === "closed") return;
      this.#openings = openings;
      this.#state = { kind: "half-open", cause: "failures", probe: void 0, unprobedSince: at };
    };
  }
  #onCountedFailure(attempt, takeBackOutcome, now) {
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
    const epoch = isFailing && this.#mayOpen() ? this.#open(now) : void 0;
    attempt.takeBack = (at) => {
      takeBackOutcome();
      if (this.#run === run) this.#consecutiveFailures--;
      if (this.#recoveries === recoveries) this.#window.takeBackFailure(tenth, this.#settings.windowMs, at);
      if (epoch !== this.#epoch || this.#state.kind === "closed") return;
      this.#openings = openings;
      this.#close(at);
    };
  }
  #onLimited(attempt, error, now) {
    const { limitedBaseMs, limitedMaxMs, overloadedMaxMs } = this.#settings;
    const before = this.#limitedUntil;
    const backoffs = this.#limitedBackoffs;
    const asked = error?.retryAfterMs;
    let pauseMs;
    if (asked !== void 0 && !Number.isNaN(asked)) {
      pauseMs = Math.min(limitedMaxMs, Math.max(0, asked));
    } else {
      if (this.#isLimited(now) && attempt.startedAt <= this.#limitedSince) return;
      pauseMs = Math.min(limitedMaxMs, limitedBaseMs * 2 ** backoffs);
      if (error?.errorClass === "overloaded") pauseMs = Math.min(overloadedMaxMs, pauseMs);
      this.#limitedBackoffs++;
    }
    const until = now + pauseMs;
    if (until <= Math.max(now, before)) return;
    this.#limitedUntil = until;
    this.#limitedSince = now;
    this.#isClear = false;
    attempt.takeBack = (at) => {
      if (this.#limitedUntil !== until) return;
      this.#limitedUntil = before;
      this.#limitedBackoffs = backoffs;
      this.#updateClear(at);
    };
    if (this.#isLimitReported) return;
    this.#isLimitReported = true;
    this.#report("deployment-cooled", "limited", until, now);
  }
  #onConfig(attempt, error, now) {
    if (!this.#settings.isEnabled || attempt.epoch !== this.#epoch) return;
    const { configMs, quotaBaseMs, quotaMaxMs } = this.#settings;
    const quotaBackoffs = this.#quotaBackoffs;
    let parkedMs = configMs;
    if (error?.errorClass === "quota") {
      const resetMs = error.retryAfterMs;
      if (resetMs !== void 0 && resetMs > 0) {
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
  #recordOutcome(outcome, now) {
    this.#setSuccess(ewma(this.#success, outcome, this.#settings.successWeight));
    this.#outcomes++;
    this.#lastOutcomeAt = now;
  }
  #setSuccess(success) {
    this.#success = success > 1 - SUCCESS_ROUNDING ? 1 : success;
  }
  #mayOpen() {
    return this.#settings.isEnabled && this.#scopes.every((scope) => scope.mayOpen());
  }
  /** @returns the epoch of the opening. */
  #open(now) {
    const { baseMs, maxMs, jitter } = this.#settings;
    const spread = 1 + jitter * (2 * this.#random.next() - 1);
    const until = now + Math.min(maxMs, baseMs * 2 ** this.#openings) * spread;
    this.#openings++;
    return this.#withdraw("failures", until, now);
  }
  #withdraw(cause, until, now) {
    const wasClosed = this.#state.kind === "closed";
    this.#state = { kind: "open", cause, until };
    this.#isClear = false;
    this.#epoch++;
    if (wasClosed) for (const scope of this.#scopes) scope.onWithdrawn(this);
    this.#report("deployment-cooled", cause, until, now);
    return this.#epoch;
  }
  #close(now) {
    const state = this.#state;
    if (state.kind === "closed") return;
    this.#state = CLOSED;
    this.#cleanSince = now;
    this.#updateClear(now);
    for (const scope of this.#scopes) scope.onRecovered(this);
    this.#report("deployment-recovered", state.cause, void 0, now);
  }
  #stateAt(now) {
    const state = this.#state;
    if (state.kind !== "open" || now < state.until) return state;
    this.#state = { kind: "half-open", cause: state.cause, probe: void 0, unprobedSince: state.until };
    return this.#state;
  }
  #isLimited(now) {
    if (now < this.#limitedUntil) return true;
    if (!this.#isClear) this.#updateClear(now);
    return false;
  }
  #updateClear(now) {
    this.#isClear = this.#state.kind === "closed" && now >= this.#limitedUntil;
  }
  #report(type, cause, until, now) {
    this.#onTransition?.({ type, at: now, deployment: this.id, cause, until });
  }
};
var Attempt = class {
  constructor(account, startedAt, epoch, uncachedTokens, workAhead2, expectedOutputTokens, predictedMs, isStreaming) {
    this.startedAt = startedAt;
    this.epoch = epoch;
    this.uncachedTokens = uncachedTokens;
    this.workAhead = workAhead2;
    this.expectedOutputTokens = expectedOutputTokens;
    this.predictedMs = predictedMs;
    this.isStreaming = isStreaming;
    this.#account = account;
  }
  startedAt;
  epoch;
  uncachedTokens;
  workAhead;
  expectedOutputTokens;
  predictedMs;
  isStreaming;
  /** Neighbours among the attempts that wait for their first token. */
  older;
  newer;
  isWaiting = true;
  firstTokenAt = 0;
  /** What the end entered against the deployment, where it can be taken back. */
  takeBack;
  #isEnded = false;
  #account;
  firstToken() {
    if (this.isStreaming && this.isWaiting) this.#account.answered(this);
  }
  end(result) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#account.ended(this, result);
  }
  reclassifyAsCaller() {
    const { takeBack } = this;
    this.takeBack = void 0;
    takeBack?.(this.#account.now());
  }
};

// src/health/group-health.ts
var OUTPUT_WEIGHT = 0.02;
var OUTPUTS_KEPT = 200;
var LEAST_OUTPUTS = 50;
var INITIAL_OUTPUT_TOKENS = 180;
var GroupHealth = class {
  #members = [];
  #maxOpen = 1;
  #withdrawn = [];
  #outputs = 0;
  #meanOutput = INITIAL_OUTPUT_TOKENS;
  /** The last outputs in order of arrival, and the same sorted. */
  #recent = new Float64Array(OUTPUTS_KEPT);
  #sorted = new Float64Array(OUTPUTS_KEPT);
  constructor(options) {
    this.reconfigure(options);
  }
  /** A reload. With no members the group lets go of all of them: call it for groups that are gone. */
  reconfigure({ members, hasFallbackChain, maxOpenShare }) {
    for (const member of this.#members) member.leave(this);
    this.#members = members;
    this.#maxOpen = hasFallbackChain ? members.length : Math.max(1, Math.floor(members.length * maxOpenShare));
    this.#withdrawn.length = 0;
    for (const member of members) member.join(this);
  }
  get members() {
    return this.#members;
  }
  /** Members whose breaker is not closed, in no particular order. Live: do not keep or change it. */
  get withdrawn() {
    return this.#withdrawn;
  }
  /** Does the cap on openings by failures allow one more? Deployments withdrawn for their configuration do not count. */
  mayOpen() {
    let open = 0;
    for (const health of this.#withdrawn) if (health.isOpenByFailures) open++;
    return open < this.#maxOpen;
  }
  onWithdrawn(health) {
    this.#withdrawn.push(health);
  }
  onRecovered(health) {
    const position = this.#withdrawn.indexOf(health);
    if (position < 0) return;
    const last = this.#withdrawn.pop();
    if (last !== void 0 && last !== health) this.#withdrawn[position] = last;
  }
  /** A complete answer of the group had so many output tokens. */
  recordOutput(tokens) {
    this.#meanOutput = ewma(this.#meanOutput, tokens, Math.max(OUTPUT_WEIGHT, 1 / (this.#outputs + 1)));
    const slot = this.#outputs % OUTPUTS_KEPT;
    let kept = Math.min(this.#outputs, OUTPUTS_KEPT);
    if (kept === OUTPUTS_KEPT) {
      const oldest = positionOf(this.#sorted, kept, this.#recent[slot]);
      this.#sorted.copyWithin(oldest, oldest + 1, kept);
      kept--;
    }
    const position = positionOf(this.#sorted, kept, tokens);
    this.#sorted.copyWithin(position + 1, position, kept);
    this.#sorted[position] = tokens;
    this.#recent[slot] = tokens;
    this.#outputs++;
  }
  /** Output tokens of an answer, on average. */
  get meanOutputTokens() {
    return this.#meanOutput;
  }
  /** 19 of 20 answers are no longer, by the last 200; before the first 50: four times the mean. */
  get p95OutputTokens() {
    if (this.#outputs < LEAST_OUTPUTS) return 4 * this.#meanOutput;
    const kept = Math.min(this.#outputs, OUTPUTS_KEPT);
    return this.#sorted[Math.ceil(0.95 * kept) - 1];
  }
};
function positionOf(sorted, length, value) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// src/health/options.ts
import { z } from "zod";

var milliseconds = (minimum, maximum) => z.number().min(minimum).max(maximum);
var cooldownFields = z
  .strictObject({
    failures: z.int().min(1).max(1e3).default(5),
    errorRate: z.number().gt(0).max(1).default(0.5),
    minOutcomes: z.int().min(1).max(1e5).default(10),
    windowMs: milliseconds(1e3, 36e5).default(3e4),
    baseMs: milliseconds(1, 36e5).default(5e3),
    maxMs: milliseconds(1, 36e5).default(12e4),
    jitter: z.number().min(0).max(0.5).default(0.2),
    cleanMs: milliseconds(0, 36e5).default(6e4),
    unprobedMs: milliseconds(0, 36e5).default(3e4),
    maxOpenShare: z.number().min(0).max(1).default(0.5),
    limitedBaseMs: milliseconds(1, 6e4).default(1e3),
    limitedMaxMs: milliseconds(1, 6e4).default(6e4),
    overloadedMaxMs: milliseconds(1, 6e4).default(2e3),
    configMs: milliseconds(1, 864e5).default(3e5),
    quotaBaseMs: milliseconds(1, 864e5).default(9e5),
    quotaMaxMs: milliseconds(1, 864e5).default(36e5),
    successWeight: z.number().gt(0).max(1).default(0.1),
    forgiveMs: milliseconds(1, 36e5).default(15e3),
    panic: z.boolean().default(false),
  })
  .superRefine((fields, context) => {
    for (const [lower, upper] of [
      ["baseMs", "maxMs"],
      ["limitedBaseMs", "limitedMaxMs"],
      ["quotaBaseMs", "quotaMaxMs"],
    ]) {
      if (fields[lower] > fields[upper]) {
        context.addIssue({
          code: "custom",
          path: [upper],
          message: `Expected \`${upper}\` to be at least \`${lower}\` (${fields[lower]}), received ${fields[upper]}`,
        });
      }
    }
  });
var defaultCooldown = { isEnabled: true, ...cooldownFields.parse({}) };
var cooldownOption = z.custom().transform((option, context) => {
  if (option === false) return { ...defaultCooldown, isEnabled: false };
  const parsed = cooldownFields.safeParse(option);
  if (parsed.success) return { isEnabled: true, ...parsed.data };
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option });
  return z.NEVER;
});

// src/internal/clock.ts
function sleepOn(clock2, delayMs, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock2.schedule(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
var MAX_TIMER_MS = 2147483647;
var systemClock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  schedule(delayMs, run, background) {
    const handle = setTimeout(run, Math.min(Math.max(0, Math.ceil(delayMs)), MAX_TIMER_MS));
    if (background && typeof handle === "object") handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  sleep: (delayMs, signal) => sleepOn(systemClock, delayMs, signal),
};

// src/routing/candidates.ts
var LARGEST_SCAN = 256;
var SAMPLE = 16;
var MOST_DRAWS = 64;
var PROBE_CHECKS = 16;
var NO_OPERATION = -1;
var PooledCandidate = class {
  deployment;
  health;
  index;
  id;
  weight;
  maxParallel;
  contextWindow;
  #headroom;
  #chat;
  #completions;
  #embeddings;
  constructor({ deployment, health, headroom }, index) {
    this.deployment = deployment;
    this.health = health;
    this.index = index;
    this.id = deployment.id;
    this.weight = deployment.weight;
    this.maxParallel = deployment.maxParallel;
    this.contextWindow = deployment.contextWindow ?? Number.POSITIVE_INFINITY;
    this.#headroom = headroom;
    this.#chat = impossible(deployment, "chat.completions");
    this.#completions = impossible(deployment, "completions");
    this.#embeddings = impossible(deployment, "embeddings");
  }
  get provider() {
    return this.deployment.provider.name;
  }
  get model() {
    return this.deployment.model;
  }
  get tier() {
    return this.deployment.tier;
  }
  get tags() {
    return this.deployment.tags;
  }
  get region() {
    return this.deployment.region;
  }
  get price() {
    return this.deployment.price;
  }
  get streams() {
    return this.health.streams;
  }
  get waitingTokens() {
    return this.health.waitingTokens;
  }
  get samples() {
    return this.health.samples;
  }
  get slownessMs() {
    return this.health.slownessMs;
  }
  get msPerOutputToken() {
    return this.health.msPerOutputToken;
  }
  get averageStreams() {
    return this.health.averageStreams;
  }
  get lastSampleAt() {
    return this.health.lastSampleAt;
  }
  get oldestWaitingSince() {
    return this.health.oldestWaitingSince;
  }
  get oldestWaitingPredictedMs() {
    return this.health.oldestWaitingPredictedMs;
  }
  successRate(now) {
    return this.health.successRate(now);
  }
  headroom(now) {
    return this.#headroom === void 0 ? 1 : Math.min(1, Math.max(0, this.#headroom(now)));
  }
  /** Features that the deployment cannot serve in this operation; negative without the operation. */
  impossibleFeatures(operation) {
    switch (operation) {
      case "chat.completions":
        return this.#chat;
      case "completions":
        return this.#completions;
      case "embeddings":
        return this.#embeddings;
    }
  }
};
function impossible(deployment, operation) {
  const support = deployment.upstream.operations[operation];
  if (support === void 0) return NO_OPERATION;
  return deployment.unsupported === "error" ? support.rejects | support.drops : support.rejects;
}
var CandidatePool = class {
  /** In order of tier, then as configured. */
  candidates;
  #tiers;
  constructor({ members, group, createStrategy }) {
    const ordered = members.toSorted((a, b) => a.deployment.tier - b.deployment.tier);
    this.candidates = ordered.map((member, index) => new PooledCandidate(member, index));
    const tiers = [];
    for (let start = 0; start < this.candidates.length; ) {
      const tier = this.candidates[start]?.tier;
      let end = start;
      while (end < this.candidates.length && this.candidates[end]?.tier === tier) end++;
      tiers.push(new Tier(this.candidates.slice(start, end), group, createStrategy()));
      start = end;
    }
    this.#tiers = tiers;
  }
  /**
   * Picks a deployment: an untried one of the lowest tier that has one eligible; where no tier has, and `allowTried`, a
   * tried one likewise. `health.begin` has to follow in the same turn.
   *
   * @returns `undefined` when nothing is eligible: {@link explain} says why, {@link earliestAvailableAt} until when.
   */
  choose(request2) {
    for (const tier of this.#tiers) {
      const picked = tier.choose(request2, false);
      if (picked !== void 0) return picked;
    }
    if (!request2.allowTried || request2.tried.length === 0) return void 0;
    for (const tier of this.#tiers) {
      const picked = tier.choose(request2, true);
      if (picked !== void 0) return picked;
    }
    return void 0;
  }
  /**
   * With nothing eligible (`cooldown.panic`): the one that cools down after failures and recovers first. Its attempt has to
   * begin as a probe.
   */
  chooseForPanic(request2) {
    let picked;
    let earliest = Number.POSITIVE_INFINITY;
    for (const candidate of this.candidates) {
      if (capabilityExclusion(candidate, request2) !== void 0 || isBarred(candidate, request2)) continue;
      if (candidate.health.availability(request2.now) !== "cooling-down") continue;
      if (candidate.streams >= candidate.maxParallel) continue;
      const at = candidate.health.availableAt(request2.now);
      if (at < earliest) {
        earliest = at;
        picked = candidate;
      }
    }
    return picked;
  }
  /**
   * When a deployment that is capable of the request may be available, on the router's clock, at least `now`. One at its
   * `maxParallel` may be at any moment.
   *
   * @returns `undefined` when none ever is.
   */
  earliestAvailableAt(request2) {
    let earliest;
    for (const candidate of this.candidates) {
      if (capabilityExclusion(candidate, request2) !== void 0 || isBarred(candidate, request2)) continue;
      const at = candidate.health.availableAt(request2.now);
      if (earliest === void 0 || at < earliest) earliest = at;
    }
    return earliest;
  }
  /** Is there an eligible deployment that the request has not tried? */
  hasUntried(request2) {
    return this.candidates.some(
      (candidate) =>
        capabilityExclusion(candidate, request2) === void 0 &&
        momentaryExclusion(candidate, request2) === void 0 &&
        !request2.tried.includes(candidate.id),
    );
  }
  /** The ids that the latest {@link choose} compared. */
  considered() {
    return this.#tiers.flatMap((tier) => tier.considered());
  }
  /**
   * Who is eligible for the request and why each other deployment is not, as {@link choose} would see it now: for people
   * and error messages. Does not change anything. In the order of {@link candidates}.
   */
  explain(request2) {
    const exclusions = this.candidates.map(
      (candidate) => capabilityExclusion(candidate, request2) ?? momentaryExclusion(candidate, request2),
    );
    const isOpen = (candidate) => exclusions[candidate.index] === void 0;
    const isUntried = (candidate) => isOpen(candidate) && !request2.tried.includes(candidate.id);
    const isRepeatable = (candidate) => isOpen(candidate) && !isBarred(candidate, request2);
    const isEligible = this.candidates.some(isUntried) || !request2.allowTried ? isUntried : isRepeatable;
    const tier = this.#tiers.find(({ candidates }) => candidates.some(isEligible));
    const eligible = tier?.candidates.filter(isEligible) ?? [];
    const costs = tier?.costs(eligible, request2);
    return this.candidates.map((candidate) => {
      const position = eligible.indexOf(candidate);
      if (position >= 0) return { candidate, cost: costs?.[position], exclusion: void 0 };
      const exclusion = exclusions[candidate.index] ?? (isEligible(candidate) ? "higher-tier" : "already-tried");
      return { candidate, cost: void 0, exclusion };
    });
  }
};
function capabilityExclusion(candidate, request2) {
  const impossibleFeatures = candidate.impossibleFeatures(request2.operation);
  if (impossibleFeatures < 0) return "operation-unsupported";
  if ((impossibleFeatures & request2.features) !== 0) return "feature-unsupported";
  if (request2.promptTokens + request2.maxOutputTokens > candidate.contextWindow) return "context-window-too-small";
  if (request2.largerWindowThan !== void 0) {
    const window = candidate.deployment.contextWindow;
    if (window === void 0 || window <= request2.largerWindowThan) return "context-window-too-small";
  }
  for (let position = 0; position < request2.requiredTags.length; position++) {
    if (!candidate.tags.has(request2.requiredTags[position])) return "tag-missing";
  }
  if (request2.requiredRegion !== void 0 && candidate.region !== request2.requiredRegion) return "region-mismatch";
  return void 0;
}
function momentaryExclusion(candidate, request2) {
  const availability = candidate.health.availability(request2.now);
  if (availability !== "available") return availability;
  return candidate.streams >= candidate.maxParallel ? "at-max-parallel" : void 0;
}
function isBarred(candidate, request2) {
  return request2.allowTried ? request2.ruledOut.includes(candidate.id) : request2.tried.includes(candidate.id);
}
var Tier = class {
  candidates;
  #strategy;
  /** The same object, where it is ours. */
  #builtIn;
  #group;
  /** Features that some deployment cannot serve, and the smallest context window: within them everyone is capable. */
  #impossible;
  #narrowest;
  /** Only of large tiers. */
  #byHealth;
  #nextProbeCheck = 0;
  /** Reused by every choice. */
  #scratch = [];
  #compared = [];
  /** Of the choice under way, for {@link isEligible}. */
  #request;
  #isRepeat = false;
  constructor(candidates, group, strategy) {
    this.candidates = candidates;
    this.#group = group;
    this.#strategy = strategy;
    this.#builtIn = "isBuiltIn" in strategy ? strategy : void 0;
    const union = (operation) =>
      candidates.reduce((set, candidate) => set | candidate.impossibleFeatures(operation), 0);
    this.#impossible = {
      "chat.completions": union("chat.completions"),
      completions: union("completions"),
      embeddings: union("embeddings"),
    };
    this.#narrowest = candidates.reduce((least, { contextWindow }) => Math.min(least, contextWindow), Infinity);
    if (candidates.length > LARGEST_SCAN) {
      this.#byHealth = new Map(candidates.map((candidate) => [candidate.health, candidate]));
    }
  }
  /** @param isRepeat - Tried ones may serve, but those ruled out. */
  choose(request2, isRepeat) {
    this.#request = request2;
    this.#isRepeat = isRepeat;
    const picked = this.candidates.length > LARGEST_SCAN ? this.#chooseOfMany(request2) : this.#chooseOfAll(request2);
    this.#request = void 0;
    return picked;
  }
  considered() {
    return this.#compared.map(({ id }) => id);
  }
  costs(candidates, request2) {
    return candidates.length === 0 ? void 0 : this.#builtIn?.costs?.(candidates, request2);
  }
  get size() {
    return this.candidates.length;
  }
  at(position) {
    return this.candidates[position];
  }
  isEligible(position) {
    const request2 = this.#request;
    return request2 !== void 0 && this.#isEligible(this.at(position), request2, this.#areAllCapable(request2));
  }
  #chooseOfAll(request2) {
    const { candidates } = this;
    const scratch = this.#scratch;
    const areAllCapable = this.#areAllCapable(request2);
    let count = 0;
    for (let position = 0; position < candidates.length; position++) {
      const candidate = candidates[position];
      if (!this.#isEligible(candidate, request2, areAllCapable)) continue;
      if (request2.isReplayable && candidate.health.wantsProbe(request2.now)) return this.#takeProbe(candidate);
      scratch[count++] = candidate;
    }
    return this.#pick(count, request2);
  }
  #chooseOfMany(request2) {
    const areAllCapable = this.#areAllCapable(request2);
    const wanting = request2.isReplayable ? this.#findProbe(request2, areAllCapable) : void 0;
    if (wanting !== void 0) return this.#takeProbe(wanting);
    if (this.#builtIn?.pickAmong !== void 0) {
      const picked = this.#builtIn.pickAmong(this, request2);
      this.#compared = picked === void 0 ? [] : [picked];
      return picked;
    }
    const { candidates } = this;
    const scratch = this.#scratch;
    let count = 0;
    for (let draw = 0; draw < MOST_DRAWS && count < SAMPLE; draw++) {
      const candidate = candidates[Math.floor(request2.random.next() * candidates.length)];
      if (!this.#isEligible(candidate, request2, areAllCapable)) continue;
      let earlier = 0;
      while (earlier < count && scratch[earlier] !== candidate) earlier++;
      if (earlier === count) scratch[count++] = candidate;
    }
    if (count === 0) count = this.#drawFromAll(request2, areAllCapable);
    return this.#pick(count, request2);
  }
  /** Nearly nobody is eligible: looks at everyone, and keeps a uniform sample (reservoir sampling, Algorithm R). */
  #drawFromAll(request2, areAllCapable) {
    const { candidates } = this;
    const scratch = this.#scratch;
    let seen = 0;
    for (let position = 0; position < candidates.length; position++) {
      const candidate = candidates[position];
      if (!this.#isEligible(candidate, request2, areAllCapable)) continue;
      const slot = seen < SAMPLE ? seen : Math.floor(request2.random.next() * (seen + 1));
      if (slot < SAMPLE) scratch[slot] = candidate;
      seen++;
    }
    return Math.min(seen, SAMPLE);
  }
  /**
   * A sample would seldom meet the few that wait for a probe. Asks a bounded number of the withdrawn, in turn; their list
   * changes only as deployments open and close.
   */
  #findProbe(request2, areAllCapable) {
    const { withdrawn } = this.#group;
    const checks = Math.min(PROBE_CHECKS, withdrawn.length);
    for (let check = 0; check < checks; check++) {
      this.#nextProbeCheck = (this.#nextProbeCheck + 1) % withdrawn.length;
      const health = withdrawn[this.#nextProbeCheck];
      if (!health.wantsProbe(request2.now)) continue;
      const candidate = this.#byHealth?.get(health);
      if (candidate !== void 0 && this.#isEligible(candidate, request2, areAllCapable)) return candidate;
    }
    return void 0;
  }
  #takeProbe(candidate) {
    this.#compared = [candidate];
    return candidate;
  }
  #pick(count, request2) {
    const scratch = this.#scratch;
    if (scratch.length !== count) scratch.length = count;
    this.#compared = scratch;
    if (count === 0) return void 0;
    const picked = this.#strategy.pick(scratch, request2);
    if (this.#builtIn === void 0 && !scratch.includes(picked)) {
      throw new TypeError(`The strategy "${this.#strategy.name}" did not return one of its candidates`);
    }
    return picked;
  }
  #areAllCapable(request2) {
    const impossibleFeatures = this.#impossible[request2.operation];
    return (
      impossibleFeatures >= 0 &&
      (impossibleFeatures & request2.features) === 0 &&
      request2.promptTokens + request2.maxOutputTokens <= this.#narrowest &&
      request2.largerWindowThan === void 0 &&
      request2.requiredTags.length === 0 &&
      request2.requiredRegion === void 0
    );
  }
  #isEligible(candidate, request2, areAllCapable) {
    const { health } = candidate;
    if (!health.isClear && health.availability(request2.now) !== "available") return false;
    if (health.streams >= candidate.maxParallel) return false;
    const barred = this.#isRepeat ? request2.ruledOut : request2.tried;
    if (barred.length > 0 && barred.includes(candidate.id)) return false;
    return areAllCapable || capabilityExclusion(candidate, request2) === void 0;
  }
};

// src/routing/strategies/factors.ts
function workAhead(candidate, request2) {
  return candidate.waitingTokens + Math.max(1, request2.promptTokens) + 100 * candidate.streams + 100;
}
function penalty(candidate, now) {
  const success = Math.max(0.05, candidate.successRate(now));
  return 1 / (success * success * Math.max(0.05, candidate.headroom(now)));
}

// src/routing/strategies/latency-cost.ts
var DECODE_SHARE = 0.3;
var SLOWNESS_BAND = 1.15;
var DECODE_BAND = 1.5;
var FORGIVE_MS = 3e4;
var UNSAMPLED_STREAMS = 2;
var LATE_MS = 500;
var LatencyCost = class {
  #hasSamples = false;
  #bestSlownessMs = 1;
  #bestDecodeMs = 0;
  /** Looks for the best values, to which {@link of} and {@link ttftMs} compare. */
  compare(candidates) {
    let slownessMs = Number.POSITIVE_INFINITY;
    let decodeMs = Number.POSITIVE_INFINITY;
    for (let position = 0; position < candidates.length; position++) {
      const candidate = candidates[position];
      if (candidate.samples === 0) continue;
      if (candidate.slownessMs < slownessMs) slownessMs = candidate.slownessMs;
      const tokenMs = candidate.msPerOutputToken;
      if (tokenMs > 0 && tokenMs < decodeMs) decodeMs = tokenMs;
    }
    this.#hasSamples = slownessMs < Number.POSITIVE_INFINITY;
    this.#bestSlownessMs = this.#hasSamples ? slownessMs : 1;
    this.#bestDecodeMs = decodeMs < Number.POSITIVE_INFINITY ? decodeMs : 0;
  }
  /** Has any of the compared candidates answered yet? Before that, costs are in units of work, not of time. */
  get hasSamples() {
    return this.#hasSamples;
  }
  /**
   * What the candidate costs at least. Computed like {@link of}, step by step, so that it is never above it by rounding:
   * a candidate whose floor is above the lowest cost so far needs no closer look.
   */
  floor(candidate, request2) {
    const ttftMs = this.#bestSlownessMs * workAhead(candidate, request2);
    return candidate.samples === 0 ? ttftMs : ttftMs + DECODE_SHARE * request2.outputTokens * this.#bestDecodeMs;
  }
  of(candidate, request2) {
    let cost = this.ttftMs(candidate, request2);
    if (candidate.samples > 0) cost += DECODE_SHARE * request2.outputTokens * this.#decodeMs(candidate, request2.now);
    return cost * penalty(candidate, request2.now);
  }
  /** The TTFT to reckon with: forgiven, outside the dead band, and not below the age of a wait that is late. */
  ttftMs(candidate, request2) {
    const best = this.#bestSlownessMs;
    const work = workAhead(candidate, request2);
    if (candidate.samples === 0) {
      return candidate.streams < UNSAMPLED_STREAMS || !this.#hasSamples ? best * work : Number.POSITIVE_INFINITY;
    }
    let slownessMs = candidate.slownessMs;
    if (slownessMs > SLOWNESS_BAND * best)
      slownessMs = best + (slownessMs - best) * remembered(candidate, request2.now);
    slownessMs = slownessMs > SLOWNESS_BAND * best ? slownessMs / SLOWNESS_BAND : best;
    const ttftMs = slownessMs * work;
    const waitingSince = candidate.oldestWaitingSince;
    if (waitingSince === void 0) return ttftMs;
    const ageMs = request2.now - waitingSince;
    if (ageMs <= LATE_MS || ageMs <= ttftMs) return ttftMs;
    const predictedMs = candidate.oldestWaitingPredictedMs;
    return predictedMs > 0 && ageMs > 2 * predictedMs ? ageMs : ttftMs;
  }
  #decodeMs(candidate, now) {
    const best = this.#bestDecodeMs;
    const load = Math.sqrt((candidate.streams + 1) / (candidate.averageStreams + 1));
    let decodeMs = candidate.msPerOutputToken;
    if (decodeMs * load <= DECODE_BAND * best) return best;
    if (decodeMs > best) decodeMs = best + (decodeMs - best) * remembered(candidate, now);
    decodeMs *= load;
    return decodeMs > DECODE_BAND * best ? decodeMs / DECODE_BAND : best;
  }
};
function remembered(candidate, now) {
  return candidate.streams > 0 ? 1 : Math.exp((candidate.lastSampleAt - now) / FORGIVE_MS);
}

// src/routing/strategies/latency.ts
function latency() {
  const cost = new LatencyCost();
  return {
    name: "latency",
    isBuiltIn: true,
    pick(candidates, request2) {
      cost.compare(candidates);
      return cheapest(cost, candidates, request2);
    },
    costs(candidates, request2) {
      cost.compare(candidates);
      return candidates.map((candidate) => cost.of(candidate, request2));
    },
  };
}
function cheapest(cost, candidates, request2) {
  let picked = candidates[0];
  let lowest = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (let position = 0; position < candidates.length; position++) {
    const candidate = candidates[position];
    if (cost.floor(candidate, request2) > lowest) continue;
    const value = cost.of(candidate, request2);
    if (value < lowest) {
      picked = candidate;
      lowest = value;
      equals = 1;
    } else if (value === lowest && request2.random.next() * ++equals < 1) {
      picked = candidate;
    }
  }
  return picked;
}

// test/support/candidates.ts
function handClock(time = 0) {
  const clock2 = {
    ...systemClock,
    time,
    now: () => clock2.time,
    wallNow: () => clock2.time,
  };
  return clock2;
}
var everything = { drops: 0, rejects: 0 };
function aDeployment(fields = {}) {
  const { support, ...rest } = fields;
  const upstream = {
    kind: "direct",
    host: "nowhere",
    operations: support ?? { "chat.completions": everything, completions: everything, embeddings: everything },
    call: () => Promise.reject(new Error("decisions call nobody")),
  };
  const provider = { name: "nowhere", apiKey: "none", connect: () => upstream };
  return {
    id: "nowhere/model",
    provider,
    upstream,
    model: "model",
    weight: 1,
    tier: 0,
    maxParallel: Number.POSITIVE_INFINITY,
    timeouts: {},
    tags: /* @__PURE__ */ new Set(),
    region: void 0,
    contextWindow: void 0,
    price: void 0,
    defaults: {},
    unsupported: "drop",
    isolation: "shared",
    credential: new Credential(void 0, systemClock),
    headers: {},
    partition: "",
    fingerprint: "",
    ...rest,
  };
}
function aHealth({ id = "a", clock: clock2 = handClock(), random: random2, settings, onTransition } = {}) {
  return new DeploymentHealth({
    id,
    fingerprint: "",
    clock: clock2,
    random: random2 ?? seededRandom(1),
    settings: { ...defaultCooldown, ...settings },
    onTransition,
  });
}
function aPool(deployments, fields = {}) {
  const {
    clock: clock2 = handClock(),
    random: random2 = seededRandom(1),
    settings,
    hasFallbackChain = false,
    strategy = latency,
  } = fields;
  const members = deployments.map((deployment, position) => {
    const id = deployment.id ?? `d${position}`;
    return {
      deployment: aDeployment({ ...deployment, id }),
      health: aHealth({ id, clock: clock2, random: random2, ...(settings && { settings }) }),
    };
  });
  const healths2 = members.map(({ health }) => health);
  const maxOpenShare = settings?.maxOpenShare ?? defaultCooldown.maxOpenShare;
  const group = new GroupHealth({ members: healths2, hasFallbackChain, maxOpenShare });
  return { pool: new CandidatePool({ members, group, createStrategy: strategy }), group, healths: healths2 };
}
function aChoice(fields = {}) {
  return {
    operation: "chat.completions",
    features: 0,
    promptTokens: 1e3,
    maxOutputTokens: 0,
    outputTokens: 180,
    isStreaming: true,
    requiredTags: [],
    requiredRegion: void 0,
    largerWindowThan: void 0,
    tried: [],
    allowTried: false,
    ruledOut: [],
    isReplayable: true,
    now: 0,
    random: seededRandom(1),
    ...fields,
  };
}

// bench/results/.probe.ts
var clock = handClock(1e3);
var random = seededRandom(7);
var mode = process.argv[2];
var { pool, healths } = aPool(
  Array.from({ length: 256 }, () => ({})),
  { clock, random, strategy: () => ({ name: "first", isBuiltIn: true, pick: (c) => c[0] }) },
);
if (mode === "warm")
  for (const health of healths)
    for (let s = 0; s < 5; s++) {
      const a = health.begin({ uncachedTokens: 500, isStreaming: true, expectedOutputTokens: 180 });
      clock.time += 100.5;
      a.firstToken();
      clock.time += 300.5;
      a.end({ outcome: "ok", outputTokens: 100 });
    }
var request = aChoice({ promptTokens: 500, random, now: clock.time });
for (let r = 0; r < 8; r++) {
  const s = performance.now();
  for (let k = 0; k < 1e4; k++) pool.choose(request);
  console.log(((performance.now() - s) * 1e6) / 1e4 / 256, "ns/cand");
}
