import { UpstreamError } from "../../errors/upstream-error.js";
import type { Random } from "../../internal/random.js";
import { drawLognormal } from "./distributions.js";
import {
  doneAt,
  failureOf,
  type Incident,
  incidentAt,
  type Job,
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
  readonly incidents?: readonly Incident[] | undefined;
}

export function publicProvider(options: PublicProviderOptions = {}): UpstreamModel {
  return { create: (clock, random) => new PublicProvider(clock, random, options) };
}

const SLOW_CALL = 10;

class PublicProvider implements ModelAtWork {
  /** Requests that may come now: a bucket of one minute. */
  #room: number;
  #roomAt = 0;

  constructor(
    private readonly clock: SimulationClock,
    private readonly random: Random,
    private readonly options: PublicProviderOptions,
  ) {
    this.#room = options.rpm ?? 0;
  }

  start(job: Job): RunningJob {
    const { clock, random, options } = this;
    const { ttftMs = 400, ttftSigma = 0.35, msPerToken = 14, slowShare = 0, incidents = [] } = options;
    let isOver = false;
    const fail = (delayMs: number, error: UpstreamError) => {
      clock.after(delayMs, () => {
        if (isOver) return false;
        isOver = true;
        job.onError(error);
        return true;
      });
    };
    const abort = () => {
      isOver = true;
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
      return { abort };
    }
    const now = clock.now();
    const incident = incidentAt(incidents, now);
    if (incident && failure < (incident.failureShare ?? 0)) {
      fail(incident.failAfterMs ?? 5, failureOf(incident));
      return { abort };
    }
    const firstAt = doneAt(incidents, now, drawnMs * (isSlow ? SLOW_CALL : 1));
    clock.after(firstAt - now, () => {
      if (isOver) return false;
      job.onFirstToken(0);
      const endAt = doneAt(incidents, firstAt, msPerToken * (job.outputTokens - 1));
      clock.after(endAt - firstAt, () => {
        if (isOver) return false;
        isOver = true;
        job.onEnd();
        return true;
      });
      return true;
    });
    return { abort };
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
