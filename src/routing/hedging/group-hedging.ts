import { ewma } from "../../internal/ewma.js";
import type { Random } from "../../internal/random.js";
import { SlidingQuantile } from "../../internal/sliding-quantile.js";
import { RetryBudget } from "../retry-budget.js";
import type { HedgeSettings } from "./options.js";

/**
 * What is compared with what: streams by their first tokens; whole replies, and embeddings, by how long all of it took,
 * for nothing of them comes earlier.
 */
export type HedgeKind = "stream" | "reply" | "embeddings";

/** Numbers for `status()`. */
export interface HedgeStatus {
  /** After how long a hedge would be sent now, by kind of request; `undefined`: too few answers to go by. */
  readonly delayMs: Readonly<Record<HedgeKind, number | undefined>>;
  /** Hedges that could be sent now. */
  readonly budget: number;
  /** Share of the latest hedges that were first, 0–1. */
  readonly winRate: number;
  /** The probability with which a hedge that is due is sent, 0–1. */
  readonly chance: number;
  /** Hedges so far, and those of them that were first. */
  readonly sent: number;
  readonly won: number;
}

/**
 * When a group sends a second attempt beside one that takes unusually long to begin, and whether it still may: what it
 * learned of its answers, a budget, and how often hedges were of use (routing §7).
 *
 * Outlives reloads like the health of the group: {@link reconfigure} keeps what was learned, and what was spent.
 */
export class GroupHedging {
  #settings: HedgeSettings;
  readonly #windows: Record<HedgeKind, SlidingQuantile>;
  /** Hedges are earned and spent as retries are. */
  readonly #budget: RetryBudget;
  /** As useful as it takes for all of them to be sent: the first ones are to show whether they are. */
  #winRate: number;
  #sent = 0;
  #won = 0;

  /** @param now - On the router's clock, in milliseconds, like every `now` here. */
  constructor(now: number, settings: HedgeSettings) {
    this.#settings = settings;
    const { windowSize } = settings;
    this.#windows = {
      stream: new SlidingQuantile(windowSize),
      reply: new SlidingQuantile(windowSize),
      embeddings: new SlidingQuantile(windowSize),
    };
    this.#budget = new RetryBudget(now, budgetOf(settings));
    this.#winRate = settings.highWinRate;
  }

  /** A reload. */
  reconfigure(now: number, settings: HedgeSettings): void {
    this.#settings = settings;
    const { windowSize } = settings;
    for (const kind of ["stream", "reply", "embeddings"] as const) {
      const window = this.#windows[kind];
      if (window.size !== windowSize) this.#windows[kind] = window.resized(windowSize);
    }
    this.#budget.reconfigure(now, budgetOf(settings));
  }

  /** A request reached the group. */
  recordRequest(now: number): void {
    this.#budget.recordRequest(now);
  }

  /** An attempt had its first token, or its whole answer, after so many milliseconds. */
  recordAnswer(kind: HedgeKind, answerMs: number): void {
    this.#windows[kind].add(answerMs);
  }

  /** How long an attempt may take to begin before it is hedged; `undefined`: too few answers to go by. */
  delayMs(kind: HedgeKind): number | undefined {
    const { minDelayMs, minSamples, percentile } = this.#settings;
    const window = this.#windows[kind];
    return window.count < minSamples ? undefined : Math.max(minDelayMs, window.at(percentile / 100));
  }

  /** A hedge is due: spends one, if there is one left and chance wills it. */
  take(now: number, random: Random): boolean {
    return random.next() < this.#chance && this.#budget.take(now);
  }

  /** The hedge was not sent after all. */
  giveBack(now: number): void {
    this.#budget.giveBack(now);
  }

  /** A hedge was sent. */
  recordSent(): void {
    this.#sent++;
  }

  /** It is known who was first. */
  recordEnd(isHedgeFirst: boolean): void {
    if (isHedgeFirst) this.#won++;
    this.#winRate = ewma(this.#winRate, isHedgeFirst ? 1 : 0, this.#settings.winWeight);
  }

  get #chance(): number {
    const { lowWinRate, highWinRate, minChance } = this.#settings;
    return Math.min(1, Math.max(minChance, (this.#winRate - lowWinRate) / (highWinRate - lowWinRate)));
  }

  status(now: number): HedgeStatus {
    return {
      delayMs: {
        stream: this.delayMs("stream"),
        reply: this.delayMs("reply"),
        embeddings: this.delayMs("embeddings"),
      },
      budget: this.#budget.available(now),
      winRate: this.#winRate,
      chance: this.#chance,
      sent: this.#sent,
      won: this.#won,
    };
  }
}

function budgetOf({ maxShare, perSecond, maxSaved }: HedgeSettings) {
  return { perRequest: maxShare, perSecond, max: maxSaved };
}
