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
  /** What {@link #estimate} came to. Returned, it would be allocated, like any fraction that a call returns. */
  readonly #waitMs = new Float64Array(1);

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
      const ownSlownessMs = candidate.slownessMs;
      if (ownSlownessMs < slownessMs && ownSlownessMs > 0) slownessMs = ownSlownessMs;
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
   * Nearly all candidates are ruled out by a floor that their cost cannot be below, which takes no exponential: of 256
   * some ten costs are worked out. The floor of an idle one has what is forgiven at most.
   *
   * @param isIn - Leaves others out. There must be one that is in. @default all
   */
  cheapest<C extends Candidate>(
    candidates: readonly C[],
    request: StrategyRequest,
    isIn?: (candidate: C) => boolean,
  ): C {
    const ties = this.#ties;
    const own = ownWork(request);
    const { now } = request;
    // All that is the same for all, out of the loop; constants too, which the optimizer would fetch each time.
    const best = this.#bestSlownessMs * SAFETY;
    const perBand = SAFETY / SLOWNESS_BAND;
    const bestDecode = this.#bestDecodeMs * SAFETY;
    const decodeWeight = DECODE_SHARE * request.outputTokens;
    const perDecodeBand = (decodeWeight * SAFETY) / DECODE_BAND;
    const leastDecode = decodeWeight * bestDecode;
    const perForgiveMs = 1 / FORGIVE_MS;
    let lowest = Number.POSITIVE_INFINITY;
    for (let position = 0; position < candidates.length; position++) {
      // In bounds.
      const candidate = candidates[position]!;
      const work = workAhead(candidate, own);
      let floor = best * work;
      const { slownessMs } = candidate;
      if (slownessMs > 0) {
        const { streams } = candidate;
        // What is remembered, at least: the first terms of the exponential's series, an even number of which is below it.
        let kept = 1;
        if (streams === 0) {
          const idle = (now - candidate.lastSampleAt) * perForgiveMs;
          if (idle > 1.5) kept = 0;
          else if (idle > 0) kept = 1 - idle + idle * idle * (0.5 - idle * (1 / 6));
        }
        floor = Math.max(best, (best + (slownessMs - best) * kept) * perBand) * work;
        if (floor + leastDecode > lowest) continue;
        const load = Math.sqrt((streams + 1) / (candidate.averageStreams + 1));
        const decodeMs = bestDecode + (candidate.msPerOutputToken - bestDecode) * kept;
        floor += Math.max(leastDecode, decodeMs * load * perDecodeBand);
      }
      if (floor > lowest) continue;
      const charge = penalty(candidate, now);
      if (floor * charge > lowest) continue;
      if (isIn !== undefined && !isIn(candidate)) continue;
      this.#estimate(candidate, request);
      const cost = this.#waitMs[0]! * charge; // it has one
      if (cost < lowest) {
        lowest = cost;
        ties.restart(position);
      } else if (cost === lowest) ties.add(position);
    }
    // In bounds: a position of the list, which is not empty.
    return candidates[ties.draw(request.random)]!;
  }

  of(candidate: Candidate, request: StrategyRequest): number {
    this.#estimate(candidate, request);
    return this.#waitMs[0]! * penalty(candidate, request.now); // it has one
  }

  /** Sets {@link #waitMs}: {@link penalty} comes on top. */
  #estimate(candidate: Candidate, request: StrategyRequest): void {
    const { now } = request;
    const best = this.#bestSlownessMs;
    const work = workAhead(candidate, ownWork(request));
    if (candidate.slownessMs === 0) {
      const isOpen = candidate.streams < UNSAMPLED_STREAMS || !this.#hasSamples;
      this.#waitMs[0] = isOpen ? best * work : Number.POSITIVE_INFINITY;
      return;
    }
    const bestDecode = this.#bestDecodeMs;
    const load = Math.sqrt((candidate.streams + 1) / (candidate.averageStreams + 1));
    let slownessMs = candidate.slownessMs;
    let decodeMs = candidate.msPerOutputToken;
    const isSlow = slownessMs > SLOWNESS_BAND * best;
    const isSlowToDecode = decodeMs * load > DECODE_BAND * bestDecode;
    // Forgiveness only lowers: inside the bands already, it changes nothing and its exponential is saved.
    if (isSlow || isSlowToDecode) {
      const share = remembered(candidate, now);
      if (isSlow) slownessMs = best + (slownessMs - best) * share;
      if (isSlowToDecode && decodeMs > bestDecode) decodeMs = bestDecode + (decodeMs - bestDecode) * share;
    }
    slownessMs = slownessMs > SLOWNESS_BAND * best ? slownessMs / SLOWNESS_BAND : best;
    decodeMs *= load;
    decodeMs = decodeMs > DECODE_BAND * bestDecode ? decodeMs / DECODE_BAND : bestDecode;
    const ttftMs = Math.max(slownessMs * work, lateMs(candidate, now));
    this.#waitMs[0] = ttftMs + DECODE_SHARE * request.outputTokens * decodeMs;
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
