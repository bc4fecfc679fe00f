import type { Candidate, StrategyRequest } from "../candidate.js";
import { ownWork, penalty, workAhead } from "./factors.js";
import { Ties } from "./ties.js";

/** Weight of the decode time, which streams share, against the wait for the first token (routing §3). */
const DECODE_SHARE = 0.3;
/** Within these multiples of the best, differences are noise: the dead bands. */
const SLOWNESS_BAND = 1.15;
const DECODE_BAND = 1.5;
/** Unused deployments: what lies above the best is forgiven to 1/e in this time. */
const FORGIVE_MS = 30_000;
/** Streams that a deployment without a sample gets until its first one. */
const UNSAMPLED_STREAMS = 2;
/** An older wait than this, and twice what was predicted, is bad news by itself. */
const LATE_MS = 500;
/** Lower than 1 by more than any rounding: a floor must not exceed the cost. */
const SAFETY = 1 - 1e-9;

/**
 * The cost of strategy `latency` (routing §3, §15). One instance serves all picks of a strategy: it holds the best
 * values of the candidates at hand, so that nothing is allocated.
 */
export class LatencyCost {
  #hasSamples = false;
  #bestSlownessMs = 1;
  #bestDecodeMs = 0;
  readonly #ties = new Ties();

  /**
   * Looks for the best values, to which all else compares.
   *
   * @param isMore - Beside those of the call before. @default false
   */
  compare(candidates: readonly Candidate[], isMore = false): void {
    let slownessMs = isMore && this.#hasSamples ? this.#bestSlownessMs : Number.POSITIVE_INFINITY;
    let decodeMs = isMore && this.#bestDecodeMs > 0 ? this.#bestDecodeMs : Number.POSITIVE_INFINITY;
    for (let position = 0; position < candidates.length; position++) {
      // In bounds.
      const candidate = candidates[position]!;
      if (candidate.samples === 0) continue;
      const ownSlownessMs = candidate.slownessMs;
      if (ownSlownessMs < slownessMs) slownessMs = ownSlownessMs;
      const ownDecodeMs = candidate.msPerOutputToken;
      // 0: no stream has ended there yet.
      if (ownDecodeMs < decodeMs && ownDecodeMs > 0) decodeMs = ownDecodeMs;
    }
    this.#hasSamples = slownessMs < Number.POSITIVE_INFINITY;
    this.#bestSlownessMs = this.#hasSamples ? slownessMs : 1;
    this.#bestDecodeMs = decodeMs < Number.POSITIVE_INFINITY ? decodeMs : 0;
  }

  /**
   * The candidate of the lowest cost; ties are random.
   *
   * Most candidates are ruled out by a bound that their cost cannot be below, which takes neither an exponential nor a
   * root: at 256 candidates this is most of the time saved.
   *
   * @param isIn - Leaves others out. There must be one that is in. @default all
   */
  cheapest<C extends Candidate>(
    candidates: readonly C[],
    request: StrategyRequest,
    isIn?: (candidate: C) => boolean,
  ): C {
    const ties = this.#ties;
    const best = this.#bestSlownessMs;
    const own = ownWork(request);
    const { now } = request;
    const leastDecode = DECODE_SHARE * request.outputTokens * this.#bestDecodeMs;
    let lowest = Number.POSITIVE_INFINITY;
    for (let position = 0; position < candidates.length; position++) {
      // In bounds.
      const candidate = candidates[position]!;
      const work = workAhead(candidate, own);
      if (candidate.samples > 0) {
        if ((best * work + leastDecode) * SAFETY > lowest) continue;
        const slownessMs = candidate.slownessMs;
        if (slownessMs > SLOWNESS_BAND * best) {
          // exp(-x) >= 1 - x: forgiven at most so much.
          const idleMs = candidate.streams > 0 ? 0 : now - candidate.lastSampleAt;
          const leastMs = (best + (slownessMs - best) * (1 - idleMs / FORGIVE_MS)) / SLOWNESS_BAND;
          if ((leastMs * work + leastDecode) * SAFETY > lowest) continue;
        }
      } else if (best * work * SAFETY > lowest) continue;
      if (isIn !== undefined && !isIn(candidate)) continue;
      const cost = this.of(candidate, request);
      if (cost < lowest) {
        lowest = cost;
        ties.restart(position);
      } else if (cost === lowest) ties.add(position);
    }
    // In bounds: a position of the list, which is not empty.
    return candidates[ties.draw(request.random)]!;
  }

  of(candidate: Candidate, request: StrategyRequest): number {
    const best = this.#bestSlownessMs;
    const work = workAhead(candidate, ownWork(request));
    const charge = penalty(candidate, request.now);
    if (candidate.samples === 0) {
      return candidate.streams < UNSAMPLED_STREAMS || !this.#hasSamples
        ? best * work * charge
        : Number.POSITIVE_INFINITY;
    }
    // Forgiveness only lowers: inside the band already, it changes nothing and its exponential is saved.
    let slownessMs = candidate.slownessMs;
    if (slownessMs > SLOWNESS_BAND * best) slownessMs = best + (slownessMs - best) * remembered(candidate, request.now);
    slownessMs = slownessMs > SLOWNESS_BAND * best ? slownessMs / SLOWNESS_BAND : best;
    const ttftMs = Math.max(slownessMs * work, lateMs(candidate, request.now));
    return (ttftMs + DECODE_SHARE * request.outputTokens * this.#decodeMs(candidate, request.now)) * charge;
  }

  /** The TTFT to expect; `undefined` where nothing is known to tell it from. */
  predictedTtftMs(candidate: Candidate, request: StrategyRequest): number | undefined {
    if (!this.#hasSamples) return undefined;
    const best = this.#bestSlownessMs;
    const work = workAhead(candidate, ownWork(request));
    if (candidate.samples === 0) return candidate.streams < UNSAMPLED_STREAMS ? best * work : Number.POSITIVE_INFINITY;
    const slownessMs = best + (candidate.slownessMs - best) * remembered(candidate, request.now);
    return Math.max(slownessMs * work, lateMs(candidate, request.now));
  }

  #decodeMs(candidate: Candidate, now: number): number {
    const best = this.#bestDecodeMs;
    const load = Math.sqrt((candidate.streams + 1) / (candidate.averageStreams + 1));
    let decodeMs = candidate.msPerOutputToken;
    if (decodeMs * load <= DECODE_BAND * best) return best;
    if (decodeMs > best) decodeMs = best + (decodeMs - best) * remembered(candidate, now);
    decodeMs *= load;
    return decodeMs > DECODE_BAND * best ? decodeMs / DECODE_BAND : best;
  }
}

/** How long the oldest wait lasts, where that is bad news: 0 otherwise. */
function lateMs(candidate: Candidate, now: number): number {
  const since = candidate.oldestWaitingSince;
  if (since === undefined) return 0;
  const ageMs = now - since;
  if (ageMs <= LATE_MS) return 0;
  const predictedMs = candidate.oldestWaitingPredictedMs;
  return predictedMs > 0 && ageMs > 2 * predictedMs ? ageMs : 0;
}

/** Share of a bad estimate that still counts, 0–1: it fades while nobody uses the deployment. */
function remembered(candidate: Candidate, now: number): number {
  return candidate.streams > 0 ? 1 : Math.exp((candidate.lastSampleAt - now) / FORGIVE_MS);
}
