import type { LimitState } from "../stores/store.js";
import { charge, correct, emptyWindow, timeUntilUsed, usedIn, type Window } from "../stores/window.js";
import { type Rule, ruleOf } from "./rule.js";

const WINDOW_MS = 60_000;
const PART_MS = WINDOW_MS / 12;
/** What a shared store said is gone by after this long. */
const FRESH_MS = 5_000;

export interface DeploymentLimitOptions {
  readonly id: string;
  readonly rpm: number | undefined;
  readonly tpm: number | undefined;
  /** Requests at the same time, of all processes together. */
  readonly sharedParallel: number | undefined;
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

/** What one attempt takes of a deployment's limits: ended exactly once. */
export interface DeploymentShare {
  /** @param isAttempted - The upstream was asked: a request counts then, whatever came of it. */
  end(isAttempted: boolean, tokens: number, now: number): void;
}

/**
 * RPM and TPM of a deployment, counted in this process, for decisions that wait for nothing: who has room, and how much.
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

  constructor(options: DeploymentLimitOptions) {
    const { id, rpm, tpm, sharedParallel } = options;
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
  }

  /** Nothing has changed. */
  isLike({ rpm, tpm, sharedParallel }: DeploymentLimitOptions): boolean {
    const own = this.#options;
    return own.rpm === rpm && own.tpm === tpm && own.sharedParallel === sharedParallel;
  }

  /** The request alone is larger than the limit. */
  isTooLarge(tokens: number): boolean {
    return this.#tokens !== undefined && tokens > this.#tokens.limit;
  }

  hasRoom(tokens: number, now: number): boolean {
    if (now < this.#fullUntil) return false;
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
  roomAt(tokens: number, now: number): number {
    const requestsMs = this.#requests?.msUntilRoom(1, now) ?? 0;
    const tokensMs = this.#tokens?.msUntilRoom(tokens, now) ?? 0;
    return Math.max(now + requestsMs, now + tokensMs, this.#fullUntil);
  }

  /** The smallest unused share, 0–1. */
  headroom(now: number): number {
    let room = now < this.#fullUntil ? 0 : 1;
    const { limit: rpm } = this.#requests ?? {};
    if (rpm !== undefined && this.#requests) room = Math.min(room, 1 - this.#requests.used(now) / rpm);
    const { limit: tpm } = this.#tokens ?? {};
    if (tpm !== undefined && this.#tokens) room = Math.min(room, 1 - this.#tokens.used(now) / tpm);
    return Math.max(0, room);
  }

  /** Counts an attempt. Who asked {@link hasRoom} in the same turn is within the limits. */
  take(tokens: number, now: number): DeploymentShare {
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
      },
    };
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
