import { UpstreamError } from "../../errors/upstream-error.js";
import type { Random } from "../../internal/random.js";
import { drawLognormal } from "./distributions.js";
import { ABOVE_ZERO, expectOptions, FROM_ZERO, SHARE } from "./expect-options.js";
import {
  doneAt,
  expectIncidents,
  failureOf,
  failureShareOf,
  type Incident,
  incidentAt,
  type Job,
  lost,
  type ModelAtWork,
  type RunningJob,
  type UpstreamModel,
} from "./model.js";
import type { SimulationClock } from "./simulation-clock.js";

/** A provider whose capacity is not ours: its speed does not depend on what we send, its limits do. */
export interface PublicProviderOptions {
  /** Median of the time to the first token, in milliseconds. @default 400 */
  readonly ttftMs?: number | undefined;
  /** Standard deviation of its logarithm. @default 0.35 */
  readonly ttftSigma?: number | undefined;
  /** @default 14 */
  readonly msPerToken?: number | undefined;
  /** Share of calls whose first token takes ten times longer, 0–1. @default 0 */
  readonly slowShare?: number | undefined;
  /** Requests per minute that it takes; more are refused with 429. @default no limit */
  readonly rpm?: number | undefined;
  /** Time until a refusal is known, in milliseconds. @default 30 */
  readonly refusalMs?: number | undefined;
  /** It says with a refusal when there is room again. @default false */
  readonly tellsRetryAfter?: boolean | undefined;
  readonly incidents?: readonly ProviderIncident[] | undefined;
}

/** Trouble of a provider, which may be slow to begin and then write as fast as ever. */
export interface ProviderIncident extends Incident {
  /** The time to the first token of calls that begin now takes so many times longer, the tokens after it do not. @default 1 */
  readonly ttftSlowdown?: number | undefined;
}

/** @throws {InvalidOptionsError} the options are none. */
export function publicProvider(options: PublicProviderOptions = {}): UpstreamModel {
  const numbers = {
    ttftMs: ABOVE_ZERO,
    ttftSigma: FROM_ZERO,
    msPerToken: FROM_ZERO,
    slowShare: SHARE,
    rpm: ABOVE_ZERO,
    refusalMs: FROM_ZERO,
  };
  expectOptions("publicProvider", options, numbers, ["tellsRetryAfter", "incidents"]);
  expectIncidents("publicProvider", options.incidents ?? [], { ttftSlowdown: ABOVE_ZERO });
  return { create: (clock, random) => new PublicProvider(clock, random, options) };
}

const SLOW_CALL = 10;

class PublicProvider implements ModelAtWork {
  /** Requests that may come now: a bucket of one minute. */
  #room: number;
  #roomAt = 0;
  /** Breaks a call off, for each that is under way. */
  readonly #underWay = new Set<() => void>();

  constructor(
    private readonly clock: SimulationClock,
    private readonly random: Random,
    private readonly options: PublicProviderOptions,
  ) {
    this.#room = options.rpm ?? 0;
    for (const { isLost, fromMs } of options.incidents ?? []) if (isLost) clock.after(fromMs, () => this.#lose());
  }

  start(job: Job): RunningJob {
    const { clock, random, options } = this;
    const { ttftMs = 400, ttftSigma = 0.35, msPerToken = 14, slowShare = 0, incidents = [] } = options;
    let isOver = false;
    const fail = (delayMs: number, error: UpstreamError) => {
      clock.after(delayMs, () => {
        if (isOver) return false;
        end();
        job.onError(error);
        return true;
      });
    };
    const end = () => {
      isOver = true;
      this.#underWay.delete(breakOff);
    };
    const breakOff = () => {
      end();
      job.onError(lost());
    };
    // All chance is drawn before it is known whether it is needed, so that calls do not shift each other's.
    const drawnMs = drawLognormal({ median: ttftMs, sigma: ttftSigma }, random);
    const isSlow = random.next() < slowShare;
    const failure = random.next();

    const waitMs = this.#refusedForMs();
    if (waitMs > 0) {
      const retryAfterMs = options.tellsRetryAfter ? Math.ceil(waitMs) : undefined;
      const error = new UpstreamError("too many requests", { errorClass: "rate_limit", status: 429, retryAfterMs });
      fail(options.refusalMs ?? 30, error);
      return { abort: end };
    }
    const now = clock.now();
    const incident: ProviderIncident | undefined = incidentAt(incidents, now);
    if (incident && failure < failureShareOf(incident)) {
      fail(incident.failAfterMs ?? 5, failureOf(incident));
      return { abort: end };
    }
    this.#underWay.add(breakOff);
    const ttftSlowdown = (isSlow ? SLOW_CALL : 1) * (incident?.ttftSlowdown ?? 1);
    const firstAt = doneAt(incidents, now, drawnMs * ttftSlowdown);
    clock.after(firstAt - now, () => {
      if (isOver) return false;
      job.onFirstToken(0);
      const endAt = doneAt(incidents, firstAt, msPerToken * (job.outputTokens - 1));
      clock.after(endAt - firstAt, () => {
        if (isOver) return false;
        end();
        job.onEnd();
        return true;
      });
      return true;
    });
    return { abort: end };
  }

  /** @returns whether anybody notices. */
  #lose(): boolean {
    const underWay = [...this.#underWay];
    for (const breakOff of underWay) breakOff();
    return underWay.length > 0;
  }

  /** Takes one request's room; 0 where there was some, otherwise when there will be. */
  #refusedForMs(): number {
    const { rpm } = this.options;
    if (rpm === undefined) return 0;
    const now = this.clock.now();
    const perMs = rpm / 60_000;
    this.#room = Math.min(rpm, this.#room + (now - this.#roomAt) * perMs);
    this.#roomAt = now;
    if (this.#room < 1) return (1 - this.#room) / perMs;
    this.#room -= 1;
    return 0;
  }
}
