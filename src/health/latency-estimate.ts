import { ewma } from "../internal/ewma.js";
import { LiveNumbers, type LiveRow, openRow } from "./live-numbers.js";

/** Least weight of a sample, and the pause after which old samples count for 1/e (routing §3). */
const SLOWNESS_WEIGHT = 0.1;
const SLOWNESS_PAUSE_MS = 10_000;
const DECODE_WEIGHT = 0.05;
const DECODE_PAUSE_MS = 20_000;
const STREAMS_WEIGHT = 0.05;

/** Prompt tokens that take as long as one output token, until a stream has told better. */
const DEFAULT_OUTPUT_FACTOR = 100;

/** An upstream that answers within the clock's resolution is fast, not infinitely fast: zero would make ratios meaningless. */
const SHORTEST_MS = 0.001;

/** What is known of a deployment's speed. Live. */
export interface Speed
  extends Pick<LiveNumbers, "slownessMs" | "msPerOutputToken" | "averageStreams" | "lastSampleAt"> {
  /** First tokens, or whole replies, seen. */
  readonly samples: number;
}

/**
 * What a deployment's answers teach about its speed (routing §3).
 *
 * Both speeds are ratios of two averages, time over work: long and short requests then count by what they say, and
 * multiplying all times by a constant multiplies the estimate alone.
 */
export class LatencyEstimate extends LiveNumbers implements Speed {
  #samples = 0;
  #ttftMean = 0;
  #workMean = 0;
  #decodeSamples = 0;
  #lastDecodeSampleAt: number;
  #decodeMean = 0;
  #tokensMean = 0;
  #completions = 0;
  /**
   * `msPerOutputToken / slownessMs` as streams showed it. Whole replies cannot tell the two apart: read back from an
   * estimate that they move themselves, it would drift at random.
   */
  #outputFactor = DEFAULT_OUTPUT_FACTOR;

  /** @param row - The deployment's. @default one of its own */
  constructor(now: number, row: LiveRow = openRow()) {
    super(row);
    this.lastSampleAt = now;
    this.#lastDecodeSampleAt = now;
  }

  get samples(): number {
    return this.#samples;
  }

  /** @param work - Work ahead of the attempt when it began, in prompt tokens, its own included. */
  sampleFirstToken(ttftMs: number, work: number, now: number): void {
    this.#sampleSlowness(ttftMs, work, now);
    this.#samples++;
  }

  /** @param decodeMs - From the first content to the end, in which `tokens` came after the first one. */
  sampleDecode(decodeMs: number, tokens: number, now: number): void {
    if (tokens < 1) return;
    this.#sampleDecode(decodeMs, tokens, now);
    if (this.slownessMs > 0) this.#outputFactor = this.msPerOutputToken / this.slownessMs;
  }

  /** A reply that was not streamed: its one duration is shared out between prompt and output. */
  sampleWhole(durationMs: number, work: number, outputTokens: number, now: number): void {
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
  sampleCensored(elapsedMs: number, work: number, outputTokens: number, now: number): void {
    const wholeWork = work + this.#outputFactor * outputTokens;
    const before = this.slownessMs;
    if (this.#samples === 0 || elapsedMs <= before * wholeWork) return;
    this.#sampleSlowness(elapsedMs, wholeWork, now);
    // Rounding alone could lower it.
    this.slownessMs = Math.max(before, this.slownessMs);
  }

  /** @param streams - Others under way when an answer completed. */
  sampleStreams(streams: number): void {
    const weight = Math.max(STREAMS_WEIGHT, 1 / (this.#completions + 1));
    this.averageStreams = ewma(this.averageStreams, streams, weight);
    this.#completions++;
  }

  /** Predicted time until `work` prompt tokens are read and `outputTokens` more written; `undefined` before any sample. */
  predictMs(work: number, outputTokens: number): number | undefined {
    if (this.#samples === 0) return undefined;
    const slownessMs = this.slownessMs;
    return slownessMs * work + outputTokens * (this.msPerOutputToken || slownessMs * this.#outputFactor);
  }

  #sampleSlowness(ms: number, work: number, now: number): void {
    const weight = sampleWeight(SLOWNESS_WEIGHT, this.#samples, now - this.lastSampleAt, SLOWNESS_PAUSE_MS);
    this.#ttftMean = ewma(this.#ttftMean, Math.max(SHORTEST_MS, ms), weight);
    this.#workMean = ewma(this.#workMean, work, weight);
    this.slownessMs = this.#ttftMean / this.#workMean;
    this.lastSampleAt = now;
  }

  #sampleDecode(ms: number, tokens: number, now: number): void {
    const weight = sampleWeight(DECODE_WEIGHT, this.#decodeSamples, now - this.#lastDecodeSampleAt, DECODE_PAUSE_MS);
    this.#decodeMean = ewma(this.#decodeMean, Math.max(SHORTEST_MS, ms), weight);
    this.#tokensMean = ewma(this.#tokensMean, tokens, weight);
    this.msPerOutputToken = this.#decodeMean / this.#tokensMean;
    this.#decodeSamples++;
    this.#lastDecodeSampleAt = now;
  }
}

/** The first samples are averaged evenly, and what lies before a long pause counts little. */
function sampleWeight(least: number, samples: number, pauseMs: number, pauseScaleMs: number): number {
  return Math.max(least, 1 / (samples + 1), 1 - Math.exp(-pauseMs / pauseScaleMs));
}
