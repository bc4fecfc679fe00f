import type { Clock, Timer } from "../internal/clock.js";
import type { AdmitAnswer, BudgetLimit, Store } from "../stores/store.js";
import type { SettlementQueue } from "./settlement-queue.js";
import type { StoreCalls } from "./store-calls.js";

/** Returned to the store after this long without a reservation (routing §11). */
const IDLE_MS = 5_000;
/** An allotment is 1 % of the budget, or two requests; with fewer than ten of them left, only what is needed is drawn. */
const SHARE = 0.01;
const SCARCE_SHARES = 10;
/** Allotments are renewed by their owner's heartbeat; one that nobody ends is charged after this long. */
const LIFETIME_MS = 24 * 60 * 60 * 1_000;
/** Requests that one draw serves at most. */
const MAX_SERVED = 1_024;
/** A draw that is denied is tried again with what is left; others may draw at the same time. */
const MAX_DRAWS = 4;

interface Grant {
  readonly id: string;
  readonly amountNanoUsd: number;
}

/** This process's share of one period of a budget. `granted >= reserved + spent`, but for what upstreams overcharge. */
class Share {
  readonly grants: Grant[] = [];
  grantedNanoUsd = 0;
  reservedNanoUsd = 0;
  spentNanoUsd = 0;
  holds = 0;
  usedAt = 0;
  /** What the store said was left, after the latest draw. */
  leftNanoUsd = Number.POSITIVE_INFINITY;

  constructor(
    readonly name: string,
    readonly limit: BudgetLimit,
    readonly partition: string,
  ) {}

  get freeNanoUsd(): number {
    return this.grantedNanoUsd - this.reservedNanoUsd - this.spentNanoUsd;
  }
}

/** What one request holds of the budgets, ended exactly once. */
export interface AllotmentHold {
  readonly isHeld: true;
  /** Adds to every budget of the hold, or to none. */
  extend(costNanoUsd: number): boolean | Promise<boolean>;
  /** Charges what it cost, and gives the rest back. */
  settle(costNanoUsd: number): void;
}
export interface AllotmentDenied {
  readonly isHeld: false;
  /** Place in the list of limits. */
  readonly index: number;
  readonly isTooLarge: boolean;
  readonly leftNanoUsd: number;
}

interface Waiting {
  readonly parts: readonly Part[];
  resolve(answer: AllotmentHold | AllotmentDenied): void;
  reject(error: unknown): void;
}
interface Part {
  readonly share: Share;
  readonly amountNanoUsd: number;
}

/** What waiting requests ask of one share, in nano-USD. */
interface Need {
  readonly sum: number;
  readonly smallest: number;
  readonly largest: number;
}

export interface AllotmentsOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly calls: StoreCalls;
  readonly settlements: SettlementQueue;
  readonly owner: string;
  readonly newId: () => string;
}

/**
 * Hard budgets that are kept in a store of their own: draws parts of them and spends those in this process, so that a
 * request waits for the store only when a part is used up (routing §11). Draws of requests that wait at the same time
 * are one call.
 */
export class Allotments {
  readonly #options: AllotmentsOptions;
  readonly #shares = new Map<string, Share>();
  #waiting: Waiting[] = [];
  #isDrawing = false;
  #isClosed = false;
  #idleTimer: Timer | undefined;

  constructor(options: AllotmentsOptions) {
    this.#options = options;
  }

  /** Reservations of requests that have not been settled. */
  get openHolds(): number {
    let open = 0;
    for (const { holds } of this.#shares.values()) open += holds;
    return open;
  }

  /**
   * Reserves in all budgets or in none: at once while the shares of this process last.
   *
   * @returns rejects {@link StoreUnavailable} when a draw is needed and the store cannot be asked.
   */
  reserve(
    limits: readonly BudgetLimit[],
    partition: string,
  ): AllotmentHold | AllotmentDenied | Promise<AllotmentHold | AllotmentDenied> {
    const parts = limits.map((limit) => ({
      share: this.#shareOf(limit, partition),
      amountNanoUsd: limit.amountNanoUsd,
    }));
    for (const [index, { limitNanoUsd, amountNanoUsd }] of limits.entries()) {
      if (amountNanoUsd > limitNanoUsd) return { isHeld: false, index, isTooLarge: true, leftNanoUsd: limitNanoUsd };
    }
    // First come, first served: nobody overtakes those who wait for a draw.
    if (this.#waiting.length === 0 && hasRoom(parts)) return this.#hold(parts);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ parts, resolve, reject });
      if (!this.#isDrawing) void this.#draw();
    });
  }

  #shareOf(limit: BudgetLimit, partition: string): Share {
    // A limit that was changed is a budget with another limit: what was drawn under the old one is spent first.
    const name = `${partition}\n${limit.key}\n${limit.period}\n${limit.limitNanoUsd}`;
    let share = this.#shares.get(name);
    if (!share) {
      share = new Share(name, limit, partition);
      this.#shares.set(name, share);
    }
    share.usedAt = this.#options.clock.now();
    this.#watchIdle();
    return share;
  }

  #hold(parts: readonly Part[]): AllotmentHold {
    const held = parts.map(({ share, amountNanoUsd }) => ({ share, amountNanoUsd }));
    for (const { share, amountNanoUsd } of held) {
      share.reservedNanoUsd += amountNanoUsd;
      share.holds++;
    }
    let isEnded = false;
    return {
      isHeld: true,
      extend: (costNanoUsd) => {
        if (isEnded) return false;
        const more = held.map(({ share }) => ({ share, amountNanoUsd: costNanoUsd }));
        const add = () => {
          for (const part of held) {
            part.share.reservedNanoUsd += costNanoUsd;
            part.amountNanoUsd += costNanoUsd;
          }
          return true;
        };
        if (this.#waiting.length === 0 && hasRoom(more)) return add();
        return new Promise<AllotmentHold | AllotmentDenied>((resolve, reject) => {
          this.#waiting.push({ parts: more, resolve, reject });
          if (!this.#isDrawing) void this.#draw();
        }).then((answer) => {
          if (!answer.isHeld) return false;
          // What the draw reserved becomes part of this hold, in the same turn.
          answer.settle(0);
          return isEnded ? false : add();
        });
      },
      settle: (costNanoUsd) => {
        if (isEnded) return;
        isEnded = true;
        for (const { share, amountNanoUsd } of held) {
          share.reservedNanoUsd -= amountNanoUsd;
          share.spentNanoUsd += costNanoUsd;
          share.holds--;
          share.usedAt = this.#options.clock.now();
          this.#retireSpent(share);
          if (this.#isClosed && share.holds === 0) void this.#return(share);
        }
        this.#watchIdle();
      },
    };
  }

  /** Draws for everybody who waits, and serves them in their order; again while more come. */
  async #draw(): Promise<void> {
    this.#isDrawing = true;
    try {
      while (this.#waiting.length > 0) {
        const served = this.#waiting.slice(0, MAX_SERVED);
        await this.#drawFor(served);
        this.#waiting.splice(0, served.length);
        const refused: Part[] = [];
        for (const { parts, resolve } of served) {
          const index = parts.findIndex(({ share, amountNanoUsd }) => share.freeNanoUsd < amountNanoUsd);
          if (index < 0) resolve(this.#hold(parts));
          else {
            refused.push(...parts);
            const leftNanoUsd = Math.max(0, (parts[index] as Part).share.leftNanoUsd); // the one that was found
            resolve({ isHeld: false, index, isTooLarge: false, leftNanoUsd });
          }
        }
        for (const { share } of refused) this.#giveBackUnused(share);
      }
    } catch (error) {
      const waiting = this.#waiting;
      this.#waiting = [];
      // Some only stood behind those who needed the store.
      for (const { parts, resolve, reject } of waiting) {
        if (hasRoom(parts)) resolve(this.#hold(parts));
        else reject(error);
      }
    } finally {
      this.#isDrawing = false;
    }
  }

  /** Asks the store for what is missing in each share. */
  async #drawFor(served: readonly Waiting[]): Promise<void> {
    const needed = new Map<Share, Need>();
    for (const { parts } of served) {
      for (const { share, amountNanoUsd } of parts) {
        const need = needed.get(share) ?? { sum: 0, smallest: amountNanoUsd, largest: 0 };
        needed.set(share, {
          sum: need.sum + amountNanoUsd,
          smallest: Math.min(need.smallest, amountNanoUsd),
          largest: Math.max(need.largest, amountNanoUsd),
        });
      }
    }
    const draws: Promise<void>[] = [];
    for (const [share, need] of needed) if (need.sum > share.freeNanoUsd) draws.push(this.#drawShare(share, need));
    await Promise.all(draws);
  }

  /** As much as the waiting requests need, or an allotment; where the store has less than that, what it has. */
  async #drawShare(share: Share, { sum, smallest, largest }: Need): Promise<void> {
    const missing = sum - share.freeNanoUsd;
    let amountNanoUsd = Math.max(missing, allotmentOf(share, largest));
    for (let draw = 0; draw < MAX_DRAWS && amountNanoUsd > 0; draw++) {
      const id = this.#options.newId();
      const answer = await this.#ask(share, id, amountNanoUsd);
      const left = Math.max(0, answer.states[0]?.remaining ?? 0);
      share.leftNanoUsd = left;
      if (answer.isAdmitted) {
        share.grants.push({ id, amountNanoUsd });
        share.grantedNanoUsd += amountNanoUsd;
        return;
      }
      // What would be enough for nobody is left to the others.
      if (share.freeNanoUsd + left < smallest) return;
      amountNanoUsd = Math.min(missing, left);
    }
  }

  /** @throws {StoreUnavailable} */
  #ask(share: Share, id: string, amountNanoUsd: number): AdmitAnswer | Promise<AdmitAnswer> {
    const { store, calls, owner, settlements } = this.#options;
    const { limit, partition } = share;
    return calls.call(
      () => store.admit({ id, owner, partition, lifetimeMs: LIFETIME_MS, limits: [{ ...limit, amountNanoUsd }] }),
      // Nobody will spend it: it goes back.
      () => settlements.add({ id, partition, requests: 0, tokens: 0, costNanoUsd: 0 }),
    );
  }

  /**
   * Somebody was refused, by this budget or by another one: nobody is to be kept out by what was drawn in vain. The
   * grants that were drawn last are free as a whole, where any are.
   */
  #giveBackUnused(share: Share): void {
    for (;;) {
      const grant = share.grants.at(-1);
      if (!grant || grant.amountNanoUsd > share.freeNanoUsd) return;
      share.grants.pop();
      this.#settle(share, grant, 0);
    }
  }

  /** Ends the grants that are spent, the oldest first. */
  #retireSpent(share: Share): void {
    for (;;) {
      const [grant] = share.grants;
      if (!grant || share.spentNanoUsd < grant.amountNanoUsd) return;
      // The last one stays while requests hold something of it, and takes what upstreams charged beyond it.
      if (share.grants.length === 1 && share.holds > 0) return;
      const isLast = share.grants.length === 1;
      share.grants.shift();
      this.#settle(share, grant, isLast ? share.spentNanoUsd : grant.amountNanoUsd);
    }
  }

  /** Ends all grants of a share that nobody holds, and forgets it. */
  #return(share: Share): Promise<void> | undefined {
    for (let grant = share.grants.shift(); grant; grant = share.grants.shift()) {
      const isLast = share.grants.length === 0;
      this.#settle(share, grant, isLast ? share.spentNanoUsd : Math.min(share.spentNanoUsd, grant.amountNanoUsd));
    }
    this.#shares.delete(share.name);
    return share.spentNanoUsd > 0 ? this.#chargeBare(share) : undefined;
  }

  /** What requests cost that were expected to cost nothing: charged without a grant. */
  async #chargeBare(share: Share): Promise<void> {
    const { store, calls, owner, newId, settlements } = this.#options;
    const { partition, spentNanoUsd: costNanoUsd } = share;
    const limit = { ...share.limit, limitNanoUsd: Number.POSITIVE_INFINITY, amountNanoUsd: 0 };
    const id = newId();
    try {
      await calls.call(() => store.admit({ id, owner, partition, lifetimeMs: LIFETIME_MS, limits: [limit] }));
      settlements.add({ id, partition, requests: 1, tokens: 0, costNanoUsd });
    } catch {
      // The store is away: the share is charged when it is returned the next time.
      const again = this.#shareOf(share.limit, partition);
      again.spentNanoUsd += costNanoUsd;
    }
  }

  #settle(share: Share, grant: Grant, costNanoUsd: number): void {
    share.grantedNanoUsd -= grant.amountNanoUsd;
    share.spentNanoUsd -= costNanoUsd;
    const { settlements } = this.#options;
    const { partition } = share;
    settlements.add({ id: grant.id, partition, requests: 1, tokens: 0, costNanoUsd });
  }

  #watchIdle(delayMs = IDLE_MS): void {
    if (this.#isClosed) return;
    this.#idleTimer ??= this.#options.clock.schedule(delayMs, () => this.#returnIdle(), true);
  }

  #returnIdle(): void {
    this.#idleTimer = undefined;
    const now = this.#options.clock.now();
    let nextMs = IDLE_MS;
    for (const share of this.#shares.values()) {
      if (share.holds > 0 || this.#isWaitedFor(share)) continue;
      const idleMs = now - share.usedAt;
      if (idleMs >= IDLE_MS) void this.#return(share);
      else nextMs = Math.min(nextMs, IDLE_MS - idleMs);
    }
    if (this.#shares.size > 0) this.#watchIdle(nextMs);
  }

  #isWaitedFor(share: Share): boolean {
    return this.#waiting.some(({ parts }) => parts.some((part) => part.share === share));
  }

  /** Gives everything back; what requests still hold is charged when they end. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#idleTimer?.cancel();
    this.#idleTimer = undefined;
    await Promise.all([...this.#shares.values()].map((share) => (share.holds === 0 ? this.#return(share) : undefined)));
  }
}

function hasRoom(parts: readonly Part[]): boolean {
  return parts.every(({ share, amountNanoUsd }) => share.freeNanoUsd >= amountNanoUsd);
}

/** In whole requests, so that no process keeps a part of one that another could use. */
function allotmentOf({ limit, leftNanoUsd }: Share, largestNanoUsd: number): number {
  if (largestNanoUsd === 0) return 0;
  const share = Math.max(SHARE * limit.limitNanoUsd, 2 * largestNanoUsd);
  const amount = Math.ceil(share / largestNanoUsd) * largestNanoUsd;
  const isScarce = Math.min(leftNanoUsd, limit.limitNanoUsd) < SCARCE_SHARES * amount;
  return isScarce ? 0 : amount;
}
