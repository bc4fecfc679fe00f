import { durationMs } from "../errors/retry-after.js";
import type { RateLimitHeader } from "../providers/provider.js";

const MINUTE_MS = 60_000;
/** No reset is believed beyond this. */
const DAY_MS = 86_400_000;
/** A limit that is whole again sooner than this after being used up is no limit. */
const SHORTEST_WINDOW_MS = 1_000;
/** No upstream keeps a deployment out for longer without being asked again (R19). */
const LONGEST_SILENCE_MS = 60_000;
/** What nobody has mentioned for so long, once it is whole again, does not hold any more. */
const FORGOTTEN_MS = 600_000;
/** From this share on, what is used and when it is back tell how fast room comes back; below it rounding does. */
const TELLING_SHARE = 0.01;
/** Of a limit: what has come back is a product of fractions, and its rounding keeps nobody out. */
const ROUNDING = 1e-9;
/** No limit of any provider has more digits. */
const MOST_DIGITS = 15;

type Counted = RateLimitHeader["counts"];

/** A limit that an upstream has told, as of now. */
export interface ProviderLimit {
  readonly counts: Counted;
  readonly limit: number;
  /** What is left by what the upstream said and what was sent since; not below 0. */
  readonly remaining: number;
  /** Milliseconds until all of it is there again without further traffic. */
  readonly resetMs: number;
}

/** What an attempt took, and what had been taken up to and with it: later takers are not in what its answer tells. */
export interface TakenShare {
  /** Counts attempts. */
  readonly order: number;
  readonly tokens: number;
  readonly inputTokens: number;
  /** Of all attempts so far, with this one, which is the `order`th. */
  readonly allTokens: number;
  readonly allInputTokens: number;
}

/**
 * What a deployment's upstream says of its account's limits in the headers of its answers, carried on until the next
 * answer: room comes back as the upstream's rule has it, and whatever is sent meanwhile is counted as used. Limits are those
 * of an account that others may use, too: each answer corrects what is thought of it.
 *
 * An answer tells of the moment at which its request came in: requests that were sent after that are not in it. They are
 * subtracted, but for what the limit has given back since; so that what is thought to be left is never more than what the
 * upstream said, whether it counts when a request comes or when its answer goes.
 *
 * All times are on the router's monotonic clock: a step of the wall clock changes nothing that was learned.
 */
export class ProviderLimits {
  /** By kind; few, so that a list is looked through. */
  readonly #limits: LearnedLimit[] = [];
  #requests = 0;
  #tokens = 0;
  #inputTokens = 0;
  #unreadable = 0;
  /** Whoever is without room for so long asks again, with one request. */
  #askAgainAt = Number.POSITIVE_INFINITY;

  /** @param account - Whose limits they are: with another credential or address nothing of it holds. */
  constructor(readonly account: string) {}

  /** Something has been told. */
  get isKnown(): boolean {
    return this.#limits.length > 0;
  }

  /** Headers that were there and made no sense: ignored. */
  get unreadable(): number {
    return this.#unreadable;
  }

  hasRoom(tokens: number, inputTokens: number, now: number): boolean {
    return now >= this.#askAgainAt || this.#hasAll(tokens, inputTokens, now);
  }

  /** When there will be room without further traffic, or it is time to ask again. */
  roomAt(tokens: number, inputTokens: number, now: number): number {
    let at = now;
    for (const limit of this.#limits) at = Math.max(at, limit.roomAt(amountOf(limit.counts, tokens, inputTokens), now));
    return Math.max(now, Math.min(at, this.#askAgainAt));
  }

  /** The smallest unused share, 0–1. */
  headroom(now: number): number {
    let room = 1;
    for (let at = 0; at < this.#limits.length; at++) room = Math.min(room, this.#limits[at]!.headroom(now)); // in bounds
    return room;
  }

  take(tokens: number, inputTokens: number, now: number): TakenShare {
    this.#forget(now);
    // Without room it asks: the next one waits for the answer, or as long again.
    if (now >= this.#askAgainAt || !this.#hasAll(tokens, inputTokens, now)) this.#askAgainAt = now + LONGEST_SILENCE_MS;
    for (const limit of this.#limits) limit.take(amountOf(limit.counts, tokens, inputTokens), now);
    this.#requests++;
    this.#tokens += tokens;
    this.#inputTokens += inputTokens;
    return { order: this.#requests, tokens, inputTokens, allTokens: this.#tokens, allInputTokens: this.#inputTokens };
  }

  /** It used something else than was expected, or was not sent. Where an answer has told of it since, that holds. */
  correct(share: TakenShare, isAttempted: boolean, usedTokens: number, now: number): void {
    const { tokens, inputTokens } = share;
    const usedOutput = Math.max(0, usedTokens - inputTokens);
    for (const limit of this.#limits) {
      if (limit.order >= share.order) continue;
      const expected = amountOf(limit.counts, tokens, inputTokens);
      if (!isAttempted) limit.take(-expected, now);
      else if (limit.counts === "tokens") limit.take(usedTokens - expected, now);
      else if (limit.counts === "output-tokens") limit.take(usedOutput - expected, now);
    }
  }

  /**
   * An answer came.
   *
   * @param headers - Of any answer, with names in lower case.
   * @param sentAt - When its request went out.
   * @param wallNow - Unix milliseconds, for resets that are dates.
   */
  learn(
    table: readonly RateLimitHeader[],
    headers: ReadonlyMap<string, string>,
    share: TakenShare,
    sentAt: number,
    now: number,
    wallNow: number,
  ): void {
    for (let at = 0; at < table.length; at++) {
      const header = table[at]!; // in bounds
      const remainingText = headers.get(header.remaining);
      // Nearly always all of them are there, or none is.
      if (remainingText === undefined) continue;
      const remaining = this.#count(remainingText);
      const limit = this.#count(headers.get(header.limit));
      if (remaining === undefined || limit === undefined || limit === 0) continue;
      const resetMs = header.reset === undefined ? undefined : this.#reset(headers, headers.get(header.reset), wallNow);
      this.#learned(header.counts).learn(
        { limit, remaining: Math.min(remaining, limit), resetMs, isEven: header.refill === "evenly" },
        { order: share.order, amount: this.#takenSince(header.counts, share), sentAt },
        now,
      );
      this.#askAgainAt = now + LONGEST_SILENCE_MS;
    }
  }

  /** How many of `counts` come back per millisecond; `undefined`: nobody has told, or it is a limit of hours. */
  ratePerMs(counts: "requests" | "tokens"): number | undefined {
    const limit = this.#limits.find((each) => each.counts === counts);
    return limit?.isOfMinutes ? limit.ratePerMs : undefined;
  }

  view(now: number): ProviderLimit[] {
    return this.#limits.map((limit) => limit.view(now));
  }

  /** Drops what is too old to hold. */
  #forget(now: number): void {
    for (let at = this.#limits.length - 1; at >= 0; at--) {
      if (this.#limits[at]!.isForgotten(now)) this.#limits.splice(at, 1); // in bounds
    }
  }

  #hasAll(tokens: number, inputTokens: number, now: number): boolean {
    for (let at = 0; at < this.#limits.length; at++) {
      const limit = this.#limits[at]!; // in bounds
      if (!limit.hasRoom(amountOf(limit.counts, tokens, inputTokens), now)) return false;
    }
    return true;
  }

  #learned(counts: Counted): LearnedLimit {
    for (const limit of this.#limits) if (limit.counts === counts) return limit;
    const limit = new LearnedLimit(counts);
    this.#limits.push(limit);
    return limit;
  }

  #takenSince(counts: Counted, share: TakenShare): number {
    const requests = this.#requests - share.order;
    return counts === "requests"
      ? requests
      : amountOf(counts, this.#tokens - share.allTokens, this.#inputTokens - share.allInputTokens);
  }

  /** @returns `undefined`: it says nothing, or nothing that can be read. */
  #count(text: string | undefined): number | undefined {
    if (text === undefined) return undefined;
    const digits = text.trim();
    // "Unknown", as Azure writes it.
    if (digits === "-1") return undefined;
    if (digits.length <= MOST_DIGITS && /^\d+$/.test(digits)) return Number(digits);
    this.#unreadable++;
    return undefined;
  }

  #reset(headers: ReadonlyMap<string, string>, text: string | undefined, wallNow: number): number | undefined {
    // 0 and -1 stand for "unknown".
    if (text === undefined || text === "0" || text === "-1") return undefined;
    // A date is told by the upstream's clock: by its own `date` a clock here that is wrong does no harm.
    const ms = durationMs(text, () => wallClockOf(headers) ?? wallNow);
    if (ms === undefined) {
      this.#unreadable++;
      return undefined;
    }
    return ms === 0 ? undefined : Math.min(DAY_MS, ms);
  }
}

function wallClockOf(headers: ReadonlyMap<string, string>): number | undefined {
  const date = headers.get("date");
  if (date === undefined || date.length > 64) return undefined;
  const ms = Date.parse(date);
  return Number.isNaN(ms) ? undefined : ms;
}

/** What an attempt takes of a limit. */
function amountOf(counts: Counted, tokens: number, inputTokens: number): number {
  switch (counts) {
    case "requests":
      return 1;
    case "tokens":
      return tokens;
    case "input-tokens":
      return inputTokens;
    case "output-tokens":
      return Math.max(0, tokens - inputTokens);
  }
}

/** What an answer says of a limit. */
interface Told {
  readonly limit: number;
  readonly remaining: number;
  readonly resetMs: number | undefined;
  readonly isEven: boolean;
}

/** Of which moment it says so. */
interface ToldOf {
  readonly order: number;
  /** What was taken after its request. */
  readonly amount: number;
  readonly sentAt: number;
}

/** One limit, carried on from the latest answer. */
class LearnedLimit {
  /** Of the attempt whose answer was the latest. */
  order = 0;
  #limit = 0;
  /** What was left at {@link #at}; below 0 where more was sent than there was room for. */
  #left = 0;
  #at = 0;
  #heardAt = 0;
  #ratePerMs = 0;
  #isRateKnown = false;
  /** All comes back at once then; `undefined`: evenly. */
  #resetAt: number | undefined;

  constructor(readonly counts: Counted) {}

  get ratePerMs(): number {
    return this.#ratePerMs;
  }

  get isOfMinutes(): boolean {
    return this.#limit / this.#ratePerMs <= 10 * MINUTE_MS;
  }

  learn({ limit, remaining, resetMs, isEven }: Told, { order, amount, sentAt }: ToldOf, now: number): void {
    // Of an earlier moment than what is known.
    if (order < this.order && now - this.#heardAt < LONGEST_SILENCE_MS) return;
    if (limit !== this.#limit && this.#limit > 0) this.#ratePerMs *= limit / this.#limit;
    this.#limit = limit;
    const used = limit - remaining;
    const isTelling = !isEven || (used > 1 && (!this.#isRateKnown || used >= TELLING_SHARE * limit));
    if (resetMs !== undefined && isTelling) {
      const wasKnown = this.#isRateKnown;
      this.#isRateKnown = true;
      // What is left is rounded down, so that up to one less is used. Of a window that ends at once, the longest time that it was told to last yet is nearest to its length.
      const perMs = isEven ? (used - 1) / resetMs : Math.min(limit / resetMs, wasKnown ? this.#ratePerMs : limit);
      this.#ratePerMs = Math.min(Math.max(perMs, limit / DAY_MS), limit / SHORTEST_WINDOW_MS);
    } else if (!this.#isRateKnown) this.#ratePerMs = limit / MINUTE_MS;
    this.#resetAt = isEven || resetMs === undefined ? undefined : now + resetMs;
    const givenBack = this.#resetAt === undefined ? this.#ratePerMs * Math.max(0, now - sentAt) : 0;
    this.#left = remaining - Math.max(0, amount - givenBack);
    this.#at = now;
    this.#heardAt = now;
    this.order = order;
  }

  left(now: number): number {
    if (this.#resetAt !== undefined) return now >= this.#resetAt ? this.#limit : this.#left;
    return Math.min(this.#limit, this.#left + this.#ratePerMs * (now - this.#at));
  }

  /** A request that is larger than the whole limit goes once all of it is there: what it will use is a guess. */
  hasRoom(amount: number, now: number): boolean {
    return this.left(now) >= Math.min(amount, this.#limit) - ROUNDING * this.#limit;
  }

  roomAt(amount: number, now: number): number {
    const missing = Math.min(amount, this.#limit) - this.left(now);
    if (missing <= 0) return now;
    return this.#resetAt ?? now + missing / this.#ratePerMs;
  }

  headroom(now: number): number {
    return Math.max(0, this.left(now)) / this.#limit;
  }

  take(amount: number, now: number): void {
    const left = this.left(now);
    // The window after the one that was told of is thought to begin with its first request.
    if (this.#resetAt !== undefined && now >= this.#resetAt) this.#resetAt = now + this.#limit / this.#ratePerMs;
    this.#left = Math.min(this.#limit, left - amount);
    this.#at = now;
  }

  isForgotten(now: number): boolean {
    return now - this.#heardAt >= FORGOTTEN_MS && this.left(now) >= this.#limit;
  }

  view(now: number): ProviderLimit {
    const left = this.left(now);
    const resetMs =
      left >= this.#limit
        ? 0
        : this.#resetAt === undefined
          ? (this.#limit - left) / this.#ratePerMs
          : this.#resetAt - now;
    return {
      counts: this.counts,
      limit: this.#limit,
      remaining: Math.max(0, Math.floor(left)),
      resetMs: Math.ceil(resetMs),
    };
  }
}
