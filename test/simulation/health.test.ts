import { describe, expect, test } from "vitest";
import type { Outcome } from "../../src/errors/classify.js";
import type { ErrorClass } from "../../src/errors/upstream-error.js";
import type { AttemptInFlight, CooldownTransition, DeploymentHealth } from "../../src/health/deployment-health.js";
import { GroupHealth } from "../../src/health/group-health.js";
import { defaultCooldown } from "../../src/health/options.js";
import { type Random, seededRandom } from "../../src/internal/random.js";
import { CandidatePool, type PooledCandidate } from "../../src/routing/candidates.js";
import { strategies, strategyNames } from "../../src/routing/strategies/index.js";
import { aChoice, aDeployment, aHealth, anError, type HandClock, handClock } from "../support/candidates.js";

const SEEDS = 200;
const FAULTS_MS = 400_000;
/** Bound of routing invariant 8: the longest opening and the time without a probe. */
const RECOVERY_MS = 175_000;
const LONGEST_ATTEMPT_MS = 4_000;
const LONGEST_GAP_MS = 1_500;

interface Ending {
  readonly outcome: Outcome;
  readonly errorClass: ErrorClass;
  readonly retryAfterMs: number | undefined;
}

interface Running {
  readonly attempt: AttemptInFlight;
  readonly health: DeploymentHealth;
  readonly isProbe: boolean;
  readonly endsAt: number;
  /** `Infinity` once it has come, or if it never does. */
  firstAt: number;
}

/** `expect` takes microseconds, too long for what is checked after each of millions of events. */
function ensure(holds: boolean, what: string): void {
  if (!holds) throw new Error(`It does not hold that ${what}`);
}

/** One group under random faults, aborts and interleavings; every event checks the invariants. */
class Simulation {
  readonly #random: Random;
  readonly #clock: HandClock = handClock();
  readonly #healths: readonly DeploymentHealth[];
  readonly #group: GroupHealth;
  readonly #pool: CandidatePool;
  readonly #cap: number;
  /** Share of attempts that fail, of each deployment, until the next change of weather. */
  #faultRates: number[] = [];
  #running: Running[] = [];
  readonly #endedTwice: AttemptInFlight[] = [];
  /** Parking lasts longer than the simulation: only some have it. */
  readonly #parks: boolean;
  readonly #wasParked = new Set<string>();

  constructor(seed: number) {
    const random = seededRandom(seed);
    this.#random = random;
    this.#parks = random.next() < 0.25;
    const size = 1 + this.#below(6);
    const hasFallbackChain = random.next() < 0.3;
    this.#cap = hasFallbackChain ? size : Math.max(1, Math.floor(size / 2));
    const members = Array.from({ length: size }, (_, position) => {
      const id = `d${position}`;
      const maxParallel = random.next() < 0.3 ? 2 : Number.POSITIVE_INFINITY;
      const onTransition = (transition: CooldownTransition) => this.#checkTransition(transition);
      return {
        deployment: aDeployment({ id, maxParallel }),
        health: aHealth({ id, clock: this.#clock, random, maxParallel, onTransition }),
      };
    });
    this.#healths = members.map(({ health }) => health);
    this.#group = new GroupHealth({
      members: this.#healths,
      hasFallbackChain,
      maxOpenShare: defaultCooldown.maxOpenShare,
    });
    const strategy = strategyNames[this.#below(strategyNames.length)] ?? "latency";
    this.#pool = new CandidatePool({ members, group: this.#group, createStrategy: strategies[strategy] });
  }

  run(): void {
    let changesWeatherAt = 0;
    let arrivesAt = 0;
    const endsAt = FAULTS_MS + RECOVERY_MS + LONGEST_ATTEMPT_MS + (this.#healths.length + 1) * LONGEST_GAP_MS;
    while (this.#clock.time < endsAt) {
      const next = this.#running.reduce(
        (earliest, { endsAt, firstAt }) => Math.min(earliest, endsAt, firstAt),
        arrivesAt,
      );
      this.#clock.time = next;
      if (next >= changesWeatherAt) {
        this.#faultRates = this.#healths.map(() => [0, 0, 0.1, 0.6, 1][this.#below(5)] ?? 0);
        changesWeatherAt = next + 20_000 * this.#random.next();
      }
      if (next === arrivesAt) {
        this.#arrive();
        arrivesAt = next + LONGEST_GAP_MS * this.#random.next();
      } else this.#proceed(next);
      this.#checkInvariants();
    }
    for (const { attempt } of this.#running) attempt.end({ outcome: "cancelled", outputTokens: 0 });
    for (const attempt of this.#endedTwice) attempt.end({ outcome: "hard", outputTokens: 0 });
    for (const health of this.#healths) {
      expect([health.streams, health.waitingTokens, health.oldestWaitingSince]).toEqual([0, 0, undefined]);
      const { state, availability } = health.snapshot(this.#clock.time);
      if (!this.#wasParked.has(health.id))
        expect([health.id, state, availability]).toEqual([health.id, "closed", "available"]);
    }
  }

  #arrive(): void {
    const now = this.#clock.time;
    const request = aChoice({ now, random: this.#random, promptTokens: 100 + this.#below(2_000) });
    const explained = this.#pool.explain(request).filter(({ exclusion }) => exclusion === undefined);
    const picked = this.#pool.choose(request);
    ensure(explained.length > 0 === (picked !== undefined), "`explain` and `choose` agree");
    if (picked !== undefined) this.#begin(picked, request.promptTokens);
  }

  #begin(picked: PooledCandidate, uncachedTokens: number): void {
    const now = this.#clock.time;
    const { health } = picked;
    ensure(health.availability(now) === "available" && !health.isFull, "the pick may be used");
    const isProbe = health.snapshot(now).state === "half-open";
    const isStreaming = this.#random.next() < 0.7;
    const attempt = health.begin({ uncachedTokens, isStreaming, expectedOutputTokens: 50 });
    ensure(!isProbe || health.availability(now) === "probing", "half-open admits one");
    const endsAt = now + LONGEST_ATTEMPT_MS * this.#random.next();
    const answers = isStreaming && this.#random.next() < 0.8;
    const firstAt = answers ? now + (endsAt - now) * this.#random.next() : Number.POSITIVE_INFINITY;
    this.#running.push({ attempt, health, isProbe, endsAt, firstAt });
  }

  #proceed(now: number): void {
    const running = this.#running.find(({ endsAt, firstAt }) => endsAt === now || firstAt === now);
    if (running === undefined) return;
    if (running.firstAt === now) {
      running.firstAt = Number.POSITIVE_INFINITY;
      running.attempt.firstToken();
      return;
    }
    this.#running = this.#running.filter((other) => other !== running);
    this.#end(running.attempt, running.health);
  }

  #end(attempt: AttemptInFlight, health: DeploymentHealth): void {
    const now = this.#clock.time;
    const { outcome, errorClass, retryAfterMs } = this.#drawEnding(health);
    const before = health.snapshot(now);
    attempt.end({ outcome, error: anError({ errorClass, retryAfterMs }), outputTokens: this.#below(200) });
    const after = health.snapshot(now);

    if (outcome === "limited" && retryAfterMs !== undefined) {
      ensure(health.availableAt(now) >= now + Math.min(60_000, retryAfterMs), "Retry-After is kept");
    }
    if (outcome === "limited" || outcome === "caller" || outcome === "cancelled") {
      const isUntouched =
        after.consecutiveFailures === before.consecutiveFailures &&
        after.openings === before.openings &&
        after.state === before.state &&
        after.successRate === before.successRate;
      ensure(isUntouched, `${outcome} is no failure`);
    }
    if (this.#random.next() < 0.05) attempt.reclassifyAsCaller();
    // Whoever walks away calls `end`, too: only the first call counts.
    if (this.#random.next() < 0.2) this.#endedTwice.push(attempt);
  }

  #drawEnding(health: DeploymentHealth): Ending {
    const ok: Ending = { outcome: "ok", errorClass: "server", retryAfterMs: undefined };
    if (this.#clock.time >= FAULTS_MS) return ok;
    if (this.#random.next() < 0.05) return { ...ok, outcome: this.#random.next() < 0.5 ? "cancelled" : "caller" };
    if (this.#random.next() >= (this.#faultRates[this.#healths.indexOf(health)] ?? 0)) return ok;
    const draw = this.#random.next();
    if (draw < 0.5) return { ...ok, outcome: "hard" };
    if (draw < 0.75) return { ...ok, outcome: "soft", errorClass: "timeout" };
    if (draw < 0.99 || !this.#parks) {
      const retryAfterMs = this.#random.next() < 0.5 ? undefined : 100_000 * this.#random.next();
      return { outcome: "limited", errorClass: draw < 0.87 ? "rate_limit" : "overloaded", retryAfterMs };
    }
    this.#wasParked.add(health.id);
    return { ...ok, outcome: "config", errorClass: draw < 0.995 ? "authentication" : "quota" };
  }

  #checkTransition({ type, cause, at, until, deployment }: CooldownTransition): void {
    if (type === "deployment-recovered") return;
    const durationMs = (until ?? Number.NaN) - at;
    if (cause === "failures") {
      ensure(durationMs >= 4_000 && durationMs <= 144_000, `an opening lasts 4 to 144 s, not ${durationMs} ms`);
      ensure(this.#healths.filter((health) => health.isOpenByFailures).length <= this.#cap, "openings keep to the cap");
    } else if (cause === "limited") ensure(durationMs <= 60_000, `a pause lasts up to 60 s, not ${durationMs} ms`);
    else ensure(this.#wasParked.has(deployment), "only refused credentials and quotas park");
  }

  #checkInvariants(): void {
    for (const health of this.#healths) {
      const own = this.#running.filter((running) => running.health === health);
      ensure(health.streams === own.length, "streams are those that run");
      ensure(
        own.length > 0 ? health.waitingTokens >= 0 : health.waitingTokens === 0,
        "waiting tokens belong to attempts",
      );
      if (health.availability(this.#clock.time) === "probing") {
        ensure(
          own.some(({ isProbe }) => isProbe),
          "a probe runs",
        );
      }
      const { slownessMs, msPerOutputToken, averageStreams } = health.speed;
      ensure(slownessMs >= 0 && msPerOutputToken >= 0 && averageStreams >= 0, "estimates are numbers");
    }
  }

  #below(bound: number): number {
    return Math.floor(this.#random.next() * bound);
  }
}

describe("health under random faults, aborts and interleavings", () => {
  test("routing invariants 1, 2, 7, 8, R19: bounds hold after every event, and all recover within 175 s", {
    timeout: 120_000,
  }, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        new Simulation(seed).run();
      } catch (error) {
        throw new Error(`The simulation failed with seed ${seed}`, { cause: error });
      }
    }
  });
});
