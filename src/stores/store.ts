/**
 * The port of shared state: limits, budgets, slots and cooldowns, in one process's memory or in a store of many
 * processes. Every operation is one decision, atomic, by the store's own clock; equal inputs and clocks give equal results
 * in every implementation.
 *
 * An implementation in memory answers at once; one over a network answers with a promise. Amounts are non-negative
 * safe integers.
 */
export interface Store {
  /** `memory`, `redis`, `postgres`: for people. */
  readonly name: string;
  /** Several processes see the same state: owners are renewed, and what a dead one held is swept. */
  readonly isShared: boolean;
  /** Accounts of different partitions cannot be decided about in one step: a cluster. @default false */
  readonly isSharded?: boolean | undefined;

  /** Reserves everything that a request asks for, or nothing. An id that is known already reserves nothing more. */
  admit(request: AdmitRequest): MaybePromise<AdmitAnswer>;
  /** Reserves the limits of the first of some deployments that has room. The reservation is the attempt's own. */
  reserveDeployment(request: DeploymentRequest): MaybePromise<DeploymentAnswer>;
  /**
   * What requests used is known, and not booked yet: makes their reservations exactly as large, whatever the limits say,
   * and frees their slots. They stay open, to be ended by {@link settle}; where nobody comes to it, they expire as any
   * other does, and are charged what was really used. As often as one likes: the latest use counts. The answers are in
   * the order of the adjustments.
   */
  adjust(adjustments: readonly Adjustment[]): MaybePromise<readonly AdjustAnswer[]>;
  /** Ends reservations: each once, whoever asks how often. The answers are in the order of the settlements. */
  settle(settlements: readonly Settlement[]): MaybePromise<readonly SettlementAnswer[]>;
  /** Makes a reservation larger, in all of its limits or in none. */
  extend(extension: Extension): MaybePromise<ExtendAnswer>;
  /** The owner lives: for {@link OWNER_LIFETIME_MS} from now on, its reservations do not expire with it. */
  heartbeat(owner: string): MaybePromise<HeartbeatAnswer>;
  /**
   * Charges reservations that expired (their owner is dead, or their time is over) at what they had reserved, marked as
   * estimated, and lists those that nobody has settled since: again and again, until {@link settle} ends them.
   *
   * @param most - At most this many, 1–100.
   */
  sweep(most: number): MaybePromise<readonly ExpiredReservation[]>;
  /** Publishes that a deployment is left alone; the later time wins. */
  cooldown(cooldown: SharedCooldown): MaybePromise<CooldownAnswer>;
  /** Every cooldown that is not over, for a process whose epoch is old. */
  cooldowns(): MaybePromise<readonly SharedCooldown[]>;
  /** What is spent and reserved in budgets of one partition, in the order asked; 0 in those that nobody knows. */
  budgets(partition: string, accounts: readonly BudgetAccount[]): MaybePromise<readonly BudgetState[]>;
  /** Gives back what the implementation itself opened; the user's client stays the user's. */
  close?(): MaybePromise<void>;
}

export type MaybePromise<T> = T | Promise<T>;

/** An owner that has not been heard of for this long is dead; it is renewed every {@link HEARTBEAT_MS}. */
export const OWNER_LIFETIME_MS = 30_000;
export const HEARTBEAT_MS = 10_000;
/** How long an expired reservation is remembered, so that a late settlement corrects its charge; and once more when it has. */
export const TOMBSTONE_MS = 24 * 60 * 60 * 1_000;
/**
 * How long a settled reservation is remembered, unless told otherwise: long enough to tell a replay from an unknown
 * reservation in whatever is retried. Later it is unknown, and applies as little.
 */
export const SETTLED_MS = 15 * 60 * 1_000;
/** A window is counted in this many parts, and one more that is sliding out (routing §10). */
export const WINDOW_PARTS = 12;

/** The largest limit and amount of a window (2^43): its arithmetic stays in safe integers. Larger actual use counts as this. */
export const MAX_WINDOW_AMOUNT = 8_796_093_022_208;
/** How long it is remembered which deployment served a fingerprint. */
export const HINT_MS = 10 * 60 * 1_000;

/** At most `limit` in any window of `windowMs`; without `isStrict`, in any of 11/12 of it. */
export interface WindowLimit {
  readonly kind: "window";
  /**
   * The account: `tpm:team:42`, 1–512 printable characters. Requests that name it share it, whatever `limit` each has;
   * another dimension or `windowMs` is another account.
   */
  readonly key: string;
  /** What is counted: tells {@link Settlement} which actual amount belongs here. */
  readonly dimension: "requests" | "tokens";
  /** At most {@link MAX_WINDOW_AMOUNT}. */
  readonly limit: number;
  /** A multiple of {@link WINDOW_PARTS} milliseconds. */
  readonly windowMs: number;
  /** What the request is expected to use. */
  readonly amount: number;
  /** No window at all admits more than `limit`; otherwise none of 11/12 of `windowMs` does. */
  readonly isStrict: boolean;
}

/** At most `limit` reservations at the same time. */
export interface SlotLimit {
  readonly kind: "slots";
  readonly key: string;
  readonly limit: number;
}

/** Money of one period: settled and reserved together never exceed `limitNanoUsd`. */
export interface BudgetLimit {
  readonly kind: "budget";
  readonly key: string;
  /** Which period: `2026-11`, `2026-11-21`, `all`. A reservation stays in the period that it began in. */
  readonly period: string;
  /** How long the period's account is kept after each change, at least, in milliseconds; `Infinity`: for ever. */
  readonly keepMs: number;
  /** `Infinity`: only counted (a soft budget). */
  readonly limitNanoUsd: number;
  /** The most that the request can cost; 0 for one that is only counted. */
  readonly amountNanoUsd: number;
}

export type StoreLimit = WindowLimit | SlotLimit | BudgetLimit;

export interface Reserving {
  /** Unique; the idempotency key of everything that follows. */
  readonly id: string;
  /**
   * Whose accounts these are: a tenant's, or a group's for its deployments; 1–512 printable characters. Each partition
   * has accounts, reservations and hints of its own, which an implementation that shards keeps together. The same
   * reservation is named with the same partition later on.
   */
  readonly partition: string;
  /** The process: random at its start. Reserving is a sign of life, as {@link Store.heartbeat} is. */
  readonly owner: string;
  /** When the reservation expires although its owner lives, in milliseconds from now. */
  readonly lifetimeMs: number;
  /** What {@link Store.sweep} is to say of it, for whoever books what a dead process had reserved: at most 2,048 characters. */
  readonly note?: string | undefined;
}

export interface AdmitRequest extends Reserving {
  /** Those that name the same account charge it once, with the largest of their amounts, and each must hold. At most 64. */
  readonly limits: readonly StoreLimit[];
  /** Whose deployment hint is asked for. */
  readonly fingerprint?: string | undefined;
}

/** One limit after a decision. */
export interface LimitState {
  /** What is left: requests, tokens, slots or nano-USD; `Infinity` where nothing is limited. */
  readonly remaining: number;
  /** When all of it is free again without further traffic, in milliseconds; 0 for slots and budgets. */
  readonly resetMs: number;
}

export interface Denial {
  /** Place in the list of limits. */
  readonly index: number;
  /** When it would pass without further traffic; `undefined`: time alone does not help (slots, a budget), or never. */
  readonly retryAfterMs: number | undefined;
  /** Larger than the limit itself: it never fits. */
  readonly isTooLarge: boolean;
}

export type AdmitAnswer =
  | {
      readonly isAdmitted: true;
      /** In the order of the limits. */
      readonly states: readonly LimitState[];
      /** The deployment that served this fingerprint last. */
      readonly hint: string | undefined;
      /** Changes whenever a cooldown is published. */
      readonly cooldownEpoch: number;
    }
  | {
      readonly isAdmitted: false;
      /** Every limit that has no room, in the order of the limits; at least one. */
      readonly denials: readonly Denial[];
      /** In the order of the limits. */
      readonly states: readonly LimitState[];
    };

export interface DeploymentRequest extends Reserving {
  /** In order of preference, 1–4. */
  readonly candidates: readonly { readonly deployment: string; readonly limits: readonly StoreLimit[] }[];
}

export type DeploymentAnswer =
  | { readonly isReserved: true; readonly index: number; readonly states: readonly LimitState[] }
  | {
      readonly isReserved: false;
      /** Per candidate: when it would have room, in milliseconds; `undefined`: unknown or never. */
      readonly retryAfterMs: readonly (number | undefined)[];
    };

/** What a request, or an attempt, really used. All 0: the reservation is given back. */
export interface Settlement {
  readonly id: string;
  /** The reservation's own. */
  readonly partition: string;
  /** 1 once an attempt was made. */
  readonly requests: number;
  readonly tokens: number;
  readonly costNanoUsd: number;
  /** With both: this deployment served the fingerprint, as the partition's requests will be told. */
  readonly fingerprint?: string | undefined;
  readonly deployment?: string | undefined;
}

/** What a request used so far as anybody will ever know, while its reservation stays open. */
export interface Adjustment extends Settlement {
  /** What {@link Store.sweep} is to say of it from now on, at most 8,192 characters; absent: what it would have said. */
  readonly note?: string | undefined;
}

export interface AdjustAnswer {
  /** `false`: nothing has changed, for it is not open (it has ended or expired), or nobody knows it. */
  readonly isAdjusted: boolean;
  /** Its budgets after it, in the order of the reservation's. Empty where nothing has changed. */
  readonly budgets: readonly BudgetState[];
}

export interface SettlementAnswer {
  /**
   * `applied`: the reservation is ended. `corrected`: it had expired, and its estimated charge is replaced.
   * `duplicate`: it was settled before. `unknown`: nobody remembers it.
   */
  readonly result: "applied" | "corrected" | "duplicate" | "unknown";
  /** The nano-USD that had been charged at expiry, where it is `corrected`. */
  readonly replacedNanoUsd: number;
  /** Its budgets after it, in the order of the reservation's. Empty for `duplicate` and `unknown`. */
  readonly budgets: readonly BudgetState[];
}

export interface Extension {
  readonly id: string;
  /** The reservation's own. */
  readonly partition: string;
  /** Added to what is reserved in its windows of tokens, and in its budgets that have a limit. */
  readonly tokens: number;
  readonly costNanoUsd: number;
}

export interface ExtendAnswer {
  readonly isExtended: boolean;
}

export interface HeartbeatAnswer {
  /** Processes that live, this one included. */
  readonly liveOwners: number;
}

export interface ExpiredReservation {
  readonly id: string;
  readonly partition: string;
  readonly owner: string;
  /** The largest of its reserved amounts in each dimension: what it was charged. */
  readonly tokens: number;
  readonly costNanoUsd: number;
  /** As it was given with the reservation, or with its latest adjustment; empty without one. */
  readonly note: string;
}

export interface SharedCooldown {
  readonly deployment: string;
  readonly kind: "open" | "limited" | "config";
  /** From now, in milliseconds. */
  readonly remainingMs: number;
}

export interface CooldownAnswer {
  readonly cooldownEpoch: number;
}

export interface BudgetAccount {
  readonly key: string;
  readonly period: string;
}

export interface BudgetState extends BudgetAccount {
  readonly spentNanoUsd: number;
  readonly reservedNanoUsd: number;
}
