import type { Clock } from "../internal/clock.js";

/** Tokens and money of a request or attempt, as accounts see them. */
export interface SettledUsage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly cacheWriteTokens: number;
  readonly completionTokens: number;
  readonly reasoningTokens: number;
  /** Counted here, because the upstream did not report it. */
  readonly isEstimated: boolean;
  /** Integer: exact. `null`: no price is known. */
  readonly costNanoUsd: number | null;
  /** The same in USD, for people. */
  readonly costUsd: number | null;
}

/** What was reserved for a request: ended exactly once, by either function. */
export interface Lease {
  settle(usage: SettledUsage): void | Promise<void>;
  release(): void | Promise<void>;
}

/** A lease that threw or rejected when it was ended. It counts as ended all the same. */
export interface LeaseProblem {
  /** Whose lease: the name of a plugin, or of an account of the router's own. */
  readonly owner: string;
  readonly action: "settle" | "release";
  readonly error: unknown;
}

export interface LeaseBookOptions {
  readonly clock: Clock;
  /** Told of each lease that failed to end. What it throws is ignored. */
  readonly onProblem: (problem: LeaseProblem) => void;
  /** Most unfinished promises of leases that {@link LeaseBook.drained} waits for. @default 10000 */
  readonly maxPending?: number | undefined;
}

export interface LeaseBookView {
  /** Leases that belong to a request and have not been ended (R3: 0 when nothing runs). */
  readonly open: number;
  /** Leases that have been ended and whose own promise has not settled yet. */
  readonly pending: number;
}

const DEFAULT_MAX_PENDING = 10_000;

/** Counts what all requests hold, and remembers the leases that still work on their end. One per router. */
export class LeaseBook {
  readonly #clock: Clock;
  readonly #onProblem: (problem: LeaseProblem) => void;
  readonly #maxPending: number;
  readonly #pending = new Set<Promise<void>>();
  #open = 0;

  constructor({ clock, onProblem, maxPending = DEFAULT_MAX_PENDING }: LeaseBookOptions) {
    this.#clock = clock;
    this.#onProblem = onProblem;
    this.#maxPending = maxPending;
  }

  /** The leases of one request; empty at first. */
  openRequest(): RequestLeases {
    return new RequestLeases(this);
  }

  view(): LeaseBookView {
    return { open: this.#open, pending: this.#pending.size };
  }

  /**
   * Waits until the leases that have been ended are done with it. Those that are ended meanwhile count, too.
   * @returns whether all were done within `limitMs`.
   */
  async drained(limitMs: number): Promise<boolean> {
    if (this.#pending.size === 0) return true;
    let isOver = false;
    let timer: { cancel(): void } | undefined;
    const over = new Promise<void>((resolve) => {
      timer = this.#clock.schedule(limitMs, () => {
        isOver = true;
        resolve();
      });
    });
    while (this.#pending.size > 0 && !isOver) await Promise.race([Promise.all(this.#pending), over]);
    timer?.cancel();
    return this.#pending.size === 0;
  }

  /** A request holds one lease more. For {@link RequestLeases}. */
  noteOpened(): void {
    this.#open++;
  }

  /** Settles a lease that {@link noteOpened} counted, or releases it without usage. For {@link RequestLeases}. */
  endOpened(lease: Lease, owner: string, usage: SettledUsage | undefined): void {
    this.#open--;
    this.#end(lease, owner, usage);
  }

  /** Gives back a lease that belongs to no request: one that came too late. Never throws. */
  discard(lease: Lease, owner: string): void {
    this.#end(lease, owner, undefined);
  }

  #end(lease: Lease, owner: string, usage: SettledUsage | undefined): void {
    const action = usage === undefined ? "release" : "settle";
    try {
      const result: unknown = usage === undefined ? lease.release() : lease.settle(usage);
      if (typeof result === "object" && result !== null && "then" in result) this.#track(result, owner, action);
    } catch (error) {
      this.#report({ owner, action, error });
    }
  }

  #track(result: object, owner: string, action: LeaseProblem["action"]): void {
    // Through a promise of ours, whatever the thenable does with its callbacks.
    const finished: Promise<void> = Promise.resolve(result)
      .catch((error) => this.#report({ owner, action, error }))
      .then(() => {
        this.#pending.delete(finished);
      });
    // Leases that never finish must not fill the memory (S27): beyond the bound nobody waits for them.
    if (this.#pending.size < this.#maxPending) this.#pending.add(finished);
  }

  #report(problem: LeaseProblem): void {
    try {
      this.#onProblem(problem);
    } catch {
      // A reporter that breaks must not undo the ending of the other leases.
    }
  }
}

interface OwnedLease {
  readonly lease: Lease;
  readonly owner: string;
}

/**
 * Everything that one request has reserved, ended together and exactly once, in the order in which it was added.
 * Neither ending waits, and neither throws: a lease that fails to end is reported, and the others end all the same.
 */
export class RequestLeases {
  readonly #book: LeaseBook;
  #leases: OwnedLease[] = [];
  #isEnded = false;

  /** Made by {@link LeaseBook.openRequest}. */
  constructor(book: LeaseBook) {
    this.#book = book;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Takes a lease over. After the end it is given back at once: it came too late (a hook that outlived its request). */
  add(lease: Lease, owner: string): void {
    if (this.#isEnded) {
      this.#book.discard(lease, owner);
      return;
    }
    this.#leases.push({ lease, owner });
    this.#book.noteOpened();
  }

  /** Accounts for real usage. Only the first ending counts. */
  settle(usage: SettledUsage): void {
    this.#end(usage);
  }

  /** Gives everything back unused. Only the first ending counts. */
  release(): void {
    this.#end(undefined);
  }

  #end(usage: SettledUsage | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const leases = this.#leases;
    this.#leases = [];
    // All leases of the request see the same object: none may change what the next one reads.
    if (usage !== undefined) Object.freeze(usage);
    for (const { lease, owner } of leases) this.#book.endOpened(lease, owner, usage);
  }
}
