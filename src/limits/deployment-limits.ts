import type { RateLimitHeader } from "../providers/provider.js";
import type { LimitState } from "../stores/store.js";
import { charge, correct, emptyWindow, timeUntilUsed, usedIn, type Window } from "../stores/window.js";
import { Pace } from "./pace.js";
import { type ProviderLimit, ProviderLimits } from "./provider-limits.js";
import { type Rule, ruleOf } from "./rule.js";

const WINDOW_MS = 60_000;
const PART_MS = WINDOW_MS / 12;
/** What a shared store said is gone by after this long. */
const FRESH_MS = 5_000;
/** For so long after a refusal that no limit explains, requests are spaced evenly. */
const PACED_MS = 600_000;

export interface DeploymentLimitOptions {
  readonly id: string;
  readonly rpm: number | undefined;
  readonly tpm: number | undefined;
  /** Requests at the same time, of all processes together. */
  readonly sharedParallel: number | undefined;
  /** The account whose limits its upstream tells in its answers. @default they are not read */
  readonly account?: string | undefined;
}

/** One kind of what is counted in a minute. */
class Rate {
  readonly #window: Window = emptyWindow();
  /** What is used by all processes, as the shared store said last. */
  #sharedUsed = 0;
  #sharedAt = Number.NEGATIVE_INFINITY;

  constructor(readonly limit: number) {}

  /** By this process alone. */
  ownUsed(now: number): number {
    return usedIn(this.#window, now, PART_MS, false);
  }

  used(now: number): number {
    const own = this.ownUsed(now);
    return now - this.#sharedAt < FRESH_MS ? Math.max(own, this.#sharedUsed) : own;
  }

  msUntilRoom(amount: number, now: number): number {
    return timeUntilUsed(this.#window, now, PART_MS, false, Math.max(0, this.limit - amount));
  }

  add(amount: number, now: number): number {
    return charge(this.#window, now, PART_MS, amount);
  }

  change(part: number, difference: number, now: number): void {
    if (difference !== 0) correct(this.#window, now, PART_MS, part, difference);
  }

  learn(remaining: number, now: number): void {
    this.#sharedUsed = Math.max(0, this.limit - remaining);
    this.#sharedAt = now;
  }
}

/** Counts how often limits became known, whosever they are: whoever holds many need not look at each to see that none has. */
export interface LimitNews {
  count: number;
}
const news: LimitNews = { count: 0 };

/** What one attempt takes of a deployment's limits: ended exactly once. */
export interface DeploymentShare {
  /** The upstream has answered, whatever it was; see {@link ProviderLimits.learn}. */
  learn(
    table: readonly RateLimitHeader[],
    headers: ReadonlyMap<string, string>,
    sentAt: number,
    now: number,
    wallNow: number,
  ): void;
  /** The upstream refused it as too much. After {@link learn}, which may explain it. */
  refused(now: number): void;
  /** @param isAttempted - The upstream was asked: a request counts then, whatever came of it. */
  end(isAttempted: boolean, tokens: number, now: number): void;
}

/**
 * RPM and TPM of a deployment, and what its upstream says of its own, counted in this process, for decisions that wait for nothing: who has room, and how much.
 * Where several processes share the limits, the store has the last word, and what it says is remembered here.
 *
 * All times are on the router's monotonic clock.
 */
export class DeploymentLimits {
  readonly id: string;
  readonly #options: DeploymentLimitOptions;
  /** The same limits for a shared store. */
  readonly rules: readonly Rule[];
  readonly #requests: Rate | undefined;
  readonly #tokens: Rate | undefined;
  /** A shared store had no room: not before then. */
  #fullUntil = Number.NEGATIVE_INFINITY;
  /** Attempts of this process that have not ended. */
  #running = 0;
  readonly #provider: ProviderLimits | undefined;
  /** The upstream refused what all known limits had room for: until then, evenly. */
  #pacedUntil = Number.NEGATIVE_INFINITY;
  #requestPace: Pace | undefined;
  #tokenPace: Pace | undefined;

  /** @param earlier - Of the same deployment: what its upstream said holds as long as the account is the same. */
  constructor(options: DeploymentLimitOptions, earlier?: DeploymentLimits) {
    const { id, rpm, tpm, sharedParallel, account } = options;
    if (account !== undefined) {
      const known = earlier === undefined ? undefined : earlier.#provider;
      this.#provider = known?.account === account ? known : new ProviderLimits(account);
    }
    this.id = id;
    this.#options = options;
    this.#requests = rpm === undefined ? undefined : new Rate(rpm);
    this.#tokens = tpm === undefined ? undefined : new Rate(tpm);
    const key = `deployment:${id}`;
    const rules: Rule[] = [];
    if (sharedParallel !== undefined) {
      rules.push(ruleOf({ kind: "parallel", key, limit: sharedParallel }, `deployment ${id}`, true));
    }
    if (rpm !== undefined) rules.push(ruleOf({ kind: "requests", key, limit: rpm }, `deployment ${id}`, true));
    if (tpm !== undefined) rules.push(ruleOf({ kind: "tokens", key, limit: tpm }, `deployment ${id}`, true));
    this.rules = rules;
    this.isKnown = rules.length > 0 || this.#provider?.isKnown === true;
  }

  /** Nothing has changed. */
  isLike({ rpm, tpm, sharedParallel, account }: DeploymentLimitOptions): boolean {
    const own = this.#options;
    return own.rpm === rpm && own.tpm === tpm && own.sharedParallel === sharedParallel && own.account === account;
  }

  readonly news: Readonly<LimitNews> = news;

  /** There is something to keep to. A field, for whoever picks asks each deployment. */
  isKnown: boolean;

  /** What its upstream said of its limits, and what is left of them; `undefined`: nobody listens. */
  providerLimits(now: number): ProviderLimit[] | undefined {
    return this.#provider?.view(now);
  }

  /** Limits in answers that nobody could read. */
  get unreadableHeaders(): number {
    return this.#provider?.unreadable ?? 0;
  }

  /** Requests are spaced evenly, after a refusal that no limit explains. */
  isPaced(now: number): boolean {
    return now < this.#pacedUntil;
  }

  /** The request alone is larger than the limit. */
  isTooLarge(tokens: number): boolean {
    return this.#tokens !== undefined && tokens > this.#tokens.limit;
  }

  /** @param inputTokens - Of these, for upstreams that count them apart. */
  hasRoom(tokens: number, now: number, inputTokens = tokens): boolean {
    if (now < this.#fullUntil) return false;
    if (this.#provider !== undefined && !this.#provider.hasRoom(tokens, inputTokens, now)) return false;
    if (now < this.#pacedUntil && this.#pacedRoomAt() > now) return false;
    if (this.#requests !== undefined && this.#requests.used(now) + 1 > this.#requests.limit) return false;
    return this.#tokens === undefined || this.#tokens.used(now) + tokens <= this.#tokens.limit;
  }

  /**
   * While the others cannot be asked: is what this process has taken within its due?
   *
   * @param isTaken - The attempt has been counted here already, and is not to be counted twice.
   */
  hasShare(processes: number, now: number, tokens: number, isTaken: boolean): boolean {
    const isWithin = (used: number, limit: number | undefined, added: number) =>
      limit === undefined || used + (isTaken ? 0 : added) <= Math.max(added, Math.floor(limit / processes));
    return (
      isWithin(this.#running, this.#options.sharedParallel, 1) &&
      isWithin(this.#requests?.ownUsed(now) ?? 0, this.#requests?.limit, 1) &&
      isWithin(this.#tokens?.ownUsed(now) ?? 0, this.#tokens?.limit, tokens)
    );
  }

  /** When there will be room without further traffic. */
  roomAt(tokens: number, now: number, inputTokens = tokens): number {
    const requestsMs = this.#requests?.msUntilRoom(1, now) ?? 0;
    const tokensMs = this.#tokens?.msUntilRoom(tokens, now) ?? 0;
    const providerAt = this.#provider?.roomAt(tokens, inputTokens, now) ?? now;
    const pacedAt = now < this.#pacedUntil ? Math.min(this.#pacedRoomAt(), this.#pacedUntil) : now;
    return Math.max(now + requestsMs, now + tokensMs, this.#fullUntil, providerAt, pacedAt);
  }

  /** The smallest unused share, 0–1. */
  headroom(now: number): number {
    const requests = this.#requests;
    const tokens = this.#tokens;
    let room = now < this.#fullUntil ? 0 : (this.#provider?.headroom(now) ?? 1);
    if (requests !== undefined) room = Math.min(room, 1 - requests.used(now) / requests.limit);
    if (tokens !== undefined) room = Math.min(room, 1 - tokens.used(now) / tokens.limit);
    return Math.max(0, room);
  }

  /** Counts an attempt. Who asked {@link hasRoom} in the same turn is within the limits. */
  take(tokens: number, now: number, inputTokens = tokens): DeploymentShare {
    const provider = this.#provider;
    const taken = provider?.take(tokens, inputTokens, now);
    if (now < this.#pacedUntil) {
      this.#requestPace?.take(1, now);
      this.#tokenPace?.take(tokens, now);
    }
    const [requests, tokenRate] = [this.#requests, this.#tokens];
    const requestPart = requests?.add(1, now) ?? 0;
    const tokenPart = tokenRate?.add(tokens, now) ?? 0;
    this.#running++;
    let isEnded = false;
    return {
      end: (isAttempted, usedTokens, endedAt) => {
        if (isEnded) return;
        isEnded = true;
        this.#running--;
        if (!isAttempted) requests?.change(requestPart, -1, endedAt);
        tokenRate?.change(tokenPart, usedTokens - tokens, endedAt);
        if (taken) provider?.correct(taken, isAttempted, usedTokens, endedAt);
      },
      learn: (table, headers, sentAt, learnedAt, wallNow) => {
        if (taken) provider?.learn(table, headers, taken, sentAt, learnedAt, wallNow);
        if (this.isKnown || provider?.isKnown !== true) return;
        this.isKnown = true;
        news.count++;
      },
      refused: (refusedAt) => {
        // What the upstream says of its limits explains it, where it says that nothing is left.
        if (provider?.isKnown !== true || provider.hasRoom(tokens, inputTokens, refusedAt)) this.#pace(refusedAt);
      },
    };
  }

  /** Provider 429 despite room (routing §10). */
  #pace(now: number): void {
    const perMs = (limit: number | undefined, told: number | undefined) => {
      const own = limit === undefined ? undefined : limit / WINDOW_MS;
      return own === undefined || told === undefined ? (own ?? told) : Math.min(own, told);
    };
    const requests = perMs(this.#requests?.limit, this.#provider?.ratePerMs("requests"));
    const tokens = perMs(this.#tokens?.limit, this.#provider?.ratePerMs("tokens"));
    if (requests === undefined && tokens === undefined) return;
    // Who is paced already goes on as it was: each refusal would grant another burst otherwise.
    if (!this.isPaced(now) || this.#requestPace?.ratePerMs !== requests) {
      this.#requestPace = requests === undefined ? undefined : new Pace(requests);
    }
    if (!this.isPaced(now) || this.#tokenPace?.ratePerMs !== tokens) {
      this.#tokenPace = tokens === undefined ? undefined : new Pace(tokens);
    }
    this.#pacedUntil = now + PACED_MS;
  }

  #pacedRoomAt(): number {
    return Math.max(this.#requestPace?.roomAt() ?? 0, this.#tokenPace?.roomAt() ?? 0);
  }

  /** The shared store had room. @param states - In the order of {@link rules}. */
  learn(states: readonly (LimitState | undefined)[], now: number): void {
    for (const [index, rule] of this.rules.entries()) {
      const state = states[index];
      if (state === undefined) continue;
      if (rule.kind === "requests") this.#requests?.learn(state.remaining, now);
      else if (rule.kind === "tokens") this.#tokens?.learn(state.remaining, now);
    }
  }

  /** The shared store had no room. */
  noteFull(retryAfterMs: number, now: number): void {
    this.#fullUntil = Math.max(this.#fullUntil, now + retryAfterMs);
  }
}
