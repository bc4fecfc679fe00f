import type { Clock } from "../internal/clock.js";
import { AgedMap } from "./aged-map.js";
import {
  checkAdjustment,
  checkAdmit,
  checkBudgets,
  checkCooldown,
  checkDeployments,
  checkExtension,
  checkMost,
  checkOwner,
  checkSettlement,
  checkTombstoneMs,
} from "./check.js";
import {
  type AdjustAnswer,
  type Adjustment,
  type AdmitAnswer,
  type AdmitRequest,
  type BudgetAccount,
  type BudgetState,
  type CooldownAnswer,
  type Denial,
  type DeploymentAnswer,
  type DeploymentRequest,
  type ExpiredReservation,
  type ExtendAnswer,
  type Extension,
  type HeartbeatAnswer,
  HINT_MS,
  type LimitState,
  OWNER_LIFETIME_MS,
  type Reserving,
  SETTLED_MS,
  type Settlement,
  type SettlementAnswer,
  type SharedCooldown,
  type Store,
  type StoreLimit,
  TOMBSTONE_MS,
  WINDOW_PARTS,
} from "./store.js";
import {
  charge as chargeWindow,
  correct as correctWindow,
  emptyWindow,
  KEPT_PARTS,
  timeUntilEmpty,
  timeUntilUsed,
  usedIn,
  type Window,
} from "./window.js";

export interface MemoryStoreOptions {
  /** Its wall time is the store's time. */
  readonly clock: Clock;
  /** Most ended reservations that are remembered; beyond it the oldest are forgotten. @default 100000 */
  readonly maxTombstones?: number | undefined;
  /**
   * How long a settled reservation is remembered; one that had expired is for 24 h. Milliseconds; with 0, whoever reserves
   * must not settle twice. @default 900000
   */
  readonly tombstoneMs?: number | undefined;
  /** Most fingerprints whose deployment is remembered. @default 10000 */
  readonly maxHints?: number | undefined;
}

/** A {@link Store} that answers at once. */
export interface MemoryStore extends Store {
  admit(request: AdmitRequest): AdmitAnswer;
  reserveDeployment(request: DeploymentRequest): DeploymentAnswer;
  adjust(adjustments: readonly Adjustment[]): readonly AdjustAnswer[];
  settle(settlements: readonly Settlement[]): readonly SettlementAnswer[];
  extend(extension: Extension): ExtendAnswer;
  heartbeat(owner: string): HeartbeatAnswer;
  sweep(most: number): readonly ExpiredReservation[];
  cooldown(cooldown: SharedCooldown): CooldownAnswer;
  cooldowns(): readonly SharedCooldown[];
  budgets(partition: string, accounts: readonly BudgetAccount[]): readonly BudgetState[];
  /** What fills the memory, for people and tests. */
  view(): MemoryStoreView;
}

export interface MemoryStoreView {
  readonly accounts: number;
  /** Reservations that are neither settled nor expired. */
  readonly openReservations: number;
  /** Reservations that expired and that nobody has settled. */
  readonly expiredReservations: number;
  readonly tombstones: number;
  readonly hints: number;
}

/** The accounts of one process. What it knows is gone with the process; nothing is shared. */
export function createMemoryStore(options: MemoryStoreOptions): MemoryStore {
  return new InMemory(options);
}

/** An account outlives its window by this much, for clocks that step back. */
const IDLE_GRACE_MS = 10 * 60 * 1_000;
/** So many accounts cost too little to look for idle ones. */
const FEW_ACCOUNTS = 1_024;
/** For each account that is opened, so many old ones are looked at: idle ones never outnumber the others for long. */
const LOOKS_PER_OPENING = 2;

interface Partition {
  readonly name: string;
  readonly windows: Map<string, WindowAccount>;
  readonly slots: Map<string, SlotAccount>;
  readonly budgets: Map<string, BudgetPeriod>;
}

interface WindowAccount {
  readonly kind: "window";
  readonly partition: Partition;
  readonly key: string;
  readonly dimension: "requests" | "tokens";
  readonly windowMs: number;
  readonly partMs: number;
  readonly window: Window;
  /** Another account of the same key: of another dimension, or another length. */
  next: WindowAccount | undefined;
}

interface SlotAccount {
  readonly kind: "slots";
  readonly partition: Partition;
  readonly key: string;
  /** By id: deadlines would be objects of their own in the map. */
  readonly held: Map<string, Reservation>;
  /** No deadline is earlier. */
  earliestMs: number;
}

interface BudgetPeriod {
  readonly kind: "budget";
  readonly partition: Partition;
  readonly key: string;
  readonly period: string;
  spent: number;
  reserved: number;
  /** Forgotten then, unless something is reserved. */
  keepUntilMs: number;
  /** The same budget in another period. */
  next: BudgetPeriod | undefined;
}

type Account = WindowAccount | SlotAccount | BudgetPeriod;

/** What one reservation holds of one account. Small: these are most of what a decision leaves behind. */
interface Charge {
  account: Account;
  /** As it was asked for; of several for one account, the strictest in each respect. */
  limit: StoreLimit;
  /** What is reserved: with extensions, or as it was adjusted. */
  amount: number;
  /** Of a window: which part was charged. */
  part: number;
}

/** Each account once, and for each limit the charge that it belongs to: the same list, unless an account is named twice. */
interface Charges {
  readonly charges: readonly Charge[];
  readonly chargeOf: readonly Charge[];
}

interface Reservation {
  readonly id: string;
  readonly partition: string;
  readonly owner: string;
  readonly createdMs: number;
  readonly deadlineMs: number;
  note: string;
  readonly charges: readonly Charge[];
}

interface Expired {
  readonly reservation: Reservation;
  readonly answer: ExpiredReservation;
  readonly untilMs: number;
}

interface Tombstone {
  readonly partition: string;
  readonly untilMs: number;
}

interface Hint {
  readonly deployment: string;
  readonly untilMs: number;
}

interface Cooldown {
  readonly kind: SharedCooldown["kind"];
  readonly untilMs: number;
}

class InMemory implements MemoryStore {
  readonly name = "memory";
  readonly isShared = false;
  readonly #clock: Clock;
  readonly #maxTombstones: number;
  readonly #tombstoneMs: number;
  readonly #maxHints: number;
  readonly #partitions = new Map<string, Partition>();
  readonly #accounts = new Set<Account>();
  /** Where the search for idle accounts goes on. */
  #cursor = this.#accounts.values();
  readonly #open = new Map<string, Reservation>();
  /** In the order in which they expired. */
  readonly #expired = new AgedMap<Expired>();
  /** In the order in which they were settled. */
  readonly #tombstones = new AgedMap<Tombstone>();
  /** In the order of their last use. */
  readonly #hints = new AgedMap<Hint>();
  readonly #owners = new Map<string, number>();
  readonly #cooldowns = new Map<string, Cooldown>();
  #cooldownEpoch = 0;
  /** How many accounts the next decision looks at before it opens any of its own. */
  #looksDue = 0;

  constructor({ clock, maxTombstones = 100_000, tombstoneMs = SETTLED_MS, maxHints = 10_000 }: MemoryStoreOptions) {
    checkTombstoneMs(tombstoneMs);
    this.#clock = clock;
    this.#maxTombstones = maxTombstones;
    this.#tombstoneMs = tombstoneMs;
    this.#maxHints = maxHints;
  }

  admit(request: AdmitRequest): AdmitAnswer {
    checkAdmit(request);
    const now = this.#now();
    this.#dropIdleAccounts(now);
    const { limits } = request;
    const { charges, chargeOf } = this.#chargesFor(request.partition, limits);
    if (!this.#isKnown(request.id, now)) {
      const denials = denialsOf(limits, chargeOf, now);
      if (denials) return { isAdmitted: false, denials, states: statesOf(limits, chargeOf, now) };
      this.#reserve(request, charges, now);
    }
    return {
      isAdmitted: true,
      states: statesOf(limits, chargeOf, now),
      hint: request.fingerprint === undefined ? undefined : this.#hint(request.partition, request.fingerprint, now),
      cooldownEpoch: this.#cooldownEpoch,
    };
  }

  reserveDeployment(request: DeploymentRequest): DeploymentAnswer {
    checkDeployments(request);
    const now = this.#now();
    this.#dropIdleAccounts(now);
    const isKnown = this.#isKnown(request.id, now);
    const retryAfterMs: (number | undefined)[] = [];
    for (let index = 0; index < request.candidates.length; index++) {
      const { limits } = request.candidates[index] as DeploymentRequest["candidates"][number]; // in range
      const { charges, chargeOf } = this.#chargesFor(request.partition, limits);
      const denials = isKnown ? undefined : denialsOf(limits, chargeOf, now);
      if (!denials) {
        if (!isKnown) this.#reserve(request, charges, now);
        return { isReserved: true, index, states: statesOf(limits, chargeOf, now) };
      }
      retryAfterMs.push(latest(denials));
    }
    return { isReserved: false, retryAfterMs };
  }

  adjust(adjustments: readonly Adjustment[]): readonly AdjustAnswer[] {
    for (const adjustment of adjustments) checkAdjustment(adjustment);
    const now = this.#now();
    return adjustments.map((adjustment) => this.#adjustOne(adjustment, now));
  }

  settle(settlements: readonly Settlement[]): readonly SettlementAnswer[] {
    for (const settlement of settlements) checkSettlement(settlement);
    const now = this.#now();
    return settlements.map((settlement) => this.#settleOne(settlement, now));
  }

  extend(extension: Extension): ExtendAnswer {
    checkExtension(extension);
    const reservation = this.#open.get(extension.id);
    if (reservation?.partition !== extension.partition) return { isExtended: false };
    const now = this.#now();
    const { charges } = reservation;
    for (const charge of charges) {
      const added = extensionOf(charge, extension);
      if (added === 0) continue;
      charge.account = this.#revived(charge.account);
      if (usedOf(charge.account, charge.limit, now) + added > mostOf(charge.limit)) return { isExtended: false };
    }
    for (const charge of charges) {
      const { account } = charge;
      const added = extensionOf(charge, extension);
      if (added === 0) continue;
      charge.amount += added;
      if (account.kind === "budget") {
        changeBudget(account, now, charge.limit, 0, added);
      } else if (account.kind === "window") {
        // What was charged before has left the window: only what is added counts, from now on.
        if (!correctWindow(account.window, now, account.partMs, charge.part, added)) {
          charge.part = chargeWindow(account.window, now, account.partMs, added);
        }
      }
    }
    return { isExtended: true };
  }

  heartbeat(owner: string): HeartbeatAnswer {
    checkOwner(owner);
    const now = this.#now();
    this.#owners.set(owner, Math.max(this.#owners.get(owner) ?? 0, now + OWNER_LIFETIME_MS));
    let liveOwners = 0;
    for (const [name, aliveUntilMs] of this.#owners) {
      if (aliveUntilMs > now) liveOwners++;
      else if (aliveUntilMs + IDLE_GRACE_MS <= now) this.#owners.delete(name);
    }
    return { liveOwners };
  }

  sweep(most: number): readonly ExpiredReservation[] {
    checkMost(most);
    const now = this.#now();
    let charged = 0;
    for (const reservation of this.#open.values()) {
      if (charged >= most) break;
      if (!this.#isOver(reservation, now)) continue;
      this.#expire(reservation, now);
      charged++;
    }
    this.#forgetOldEnds(now);
    const answers: ExpiredReservation[] = [];
    for (const { answer, untilMs } of this.#expired.values()) {
      if (answers.length >= most) break;
      if (untilMs > now) answers.push(answer);
    }
    return answers;
  }

  cooldown(cooldown: SharedCooldown): CooldownAnswer {
    checkCooldown(cooldown);
    const now = this.#now();
    const untilMs = now + cooldown.remainingMs;
    for (const [deployment, { untilMs }] of this.#cooldowns) if (untilMs <= now) this.#cooldowns.delete(deployment);
    if (untilMs > now && untilMs > (this.#cooldowns.get(cooldown.deployment)?.untilMs ?? 0)) {
      this.#cooldowns.set(cooldown.deployment, { kind: cooldown.kind, untilMs });
      // From the time, so that it differs from every earlier one also where the store was emptied in between.
      this.#cooldownEpoch = Math.max(this.#cooldownEpoch + 1, now);
    }
    return { cooldownEpoch: this.#cooldownEpoch };
  }

  cooldowns(): readonly SharedCooldown[] {
    const now = this.#now();
    return Array.from(this.#cooldowns, ([deployment, { kind, untilMs }]) => ({
      deployment,
      kind,
      remainingMs: untilMs - now,
    })).filter(({ remainingMs }) => remainingMs > 0);
  }

  budgets(partition: string, accounts: readonly BudgetAccount[]): readonly BudgetState[] {
    checkBudgets(partition, accounts);
    const now = this.#now();
    const known = this.#partitions.get(partition);
    return accounts.map(({ key, period }) => {
      let account = known?.budgets.get(key);
      while (account && account.period !== period) account = account.next;
      return {
        key,
        period,
        spentNanoUsd: account ? spentOf(account, now) : 0,
        reservedNanoUsd: account?.reserved ?? 0,
      };
    });
  }

  view(): MemoryStoreView {
    return {
      accounts: this.#accounts.size,
      openReservations: this.#open.size,
      expiredReservations: this.#expired.size,
      tombstones: this.#tombstones.size,
      hints: this.#hints.size,
    };
  }

  #now(): number {
    return Math.floor(this.#clock.wallNow());
  }

  #partition(name: string): Partition {
    let partition = this.#partitions.get(name);
    if (!partition) {
      partition = { name, windows: new Map(), slots: new Map(), budgets: new Map() };
      this.#partitions.set(name, partition);
    }
    return partition;
  }

  #chargesFor(partitionName: string, limits: readonly StoreLimit[]): Charges {
    const chargeOf: Charge[] = [];
    if (limits.length === 0) return { charges: chargeOf, chargeOf };
    const partition = this.#partition(partitionName);
    let isRepeated = false;
    for (let index = 0; index < limits.length; index++) {
      const limit = limits[index] as StoreLimit; // in range
      const account = this.#account(partition, limit);
      const amount = amountOf(limit);
      let charge: Charge | undefined;
      for (let at = 0; at < index; at++) if (chargeOf[at]?.account === account) charge = chargeOf[at];
      if (charge) {
        isRepeated = true;
        charge.amount = Math.max(charge.amount, amount);
        charge.limit = strictest(charge.limit, limit);
      } else charge = { account, limit, amount, part: 0 };
      chargeOf.push(charge);
    }
    return { charges: isRepeated ? [...new Set(chargeOf)] : chargeOf, chargeOf };
  }

  #reserve({ id, partition, owner, lifetimeMs, note = "" }: Reserving, charges: readonly Charge[], now: number): void {
    const deadlineMs = now + lifetimeMs;
    const reservation: Reservation = { id, partition, owner, createdMs: now, deadlineMs, note, charges };
    for (let at = 0; at < charges.length; at++) {
      const charge = charges[at] as Charge; // in range
      const { account } = charge;
      if (account.kind === "window") {
        charge.part = chargeWindow(account.window, now, account.partMs, charge.amount);
      } else if (account.kind === "slots") {
        account.held.set(id, reservation);
        if (deadlineMs < account.earliestMs) account.earliestMs = deadlineMs;
      } else {
        changeBudget(account, now, charge.limit, 0, charge.amount);
      }
    }
    this.#open.set(id, reservation);
  }

  #isKnown(id: string, now: number): boolean {
    if (this.#open.has(id)) return true;
    const end = this.#expired.get(id) ?? this.#tombstones.get(id);
    return end !== undefined && end.untilMs > now;
  }

  #isOver({ owner, createdMs, deadlineMs }: Reservation, now: number): boolean {
    const aliveUntilMs = Math.max(createdMs + OWNER_LIFETIME_MS, this.#owners.get(owner) ?? 0);
    return Math.min(deadlineMs, aliveUntilMs) <= now;
  }

  #expire(reservation: Reservation, now: number): void {
    const { id, partition, owner, note, charges } = reservation;
    let tokens = 0;
    let costNanoUsd = 0;
    for (const { account, amount, limit } of charges) {
      if (account.kind === "slots") account.held.delete(id);
      else if (account.kind === "budget") {
        changeBudget(account, now, limit, amount, -amount);
        costNanoUsd = Math.max(costNanoUsd, amount);
      } else if (account.dimension === "tokens") tokens = Math.max(tokens, amount);
    }
    this.#open.delete(id);
    const answer = { id, partition, owner, tokens, costNanoUsd, note };
    this.#expired.set(id, { reservation, answer, untilMs: now + TOMBSTONE_MS });
    if (this.#expired.size > this.#maxTombstones) this.#expired.deleteOldest();
  }

  #adjustOne(adjustment: Adjustment, now: number): AdjustAnswer {
    const { id, partition, requests, tokens, costNanoUsd, note } = adjustment;
    const reservation = this.#open.get(id);
    if (reservation?.partition !== partition) return { isAdjusted: false, budgets: [] };
    const budgets: BudgetState[] = [];
    for (const charge of reservation.charges) {
      charge.account = this.#revived(charge.account);
      const { account, amount } = charge;
      if (account.kind === "slots") account.held.delete(id);
      else if (account.kind === "window") {
        charge.amount = account.dimension === "tokens" ? tokens : requests;
        correctWindow(account.window, now, account.partMs, charge.part, charge.amount - amount);
      } else {
        charge.amount = costNanoUsd;
        changeBudget(account, now, charge.limit, 0, costNanoUsd - amount);
        budgets.push(budgetState(account));
      }
    }
    if (note !== undefined) reservation.note = note;
    this.#rememberServed(adjustment, now);
    return { isAdjusted: true, budgets };
  }

  #settleOne(settlement: Settlement, now: number): SettlementAnswer {
    const { id } = settlement;
    const expired = this.#expired.get(id);
    const reservation = this.#open.get(id) ?? (expired && expired.untilMs > now ? expired.reservation : undefined);
    if (reservation?.partition !== settlement.partition) {
      const tombstone = this.#tombstones.get(id);
      const isDuplicate = tombstone?.partition === settlement.partition && tombstone.untilMs > now;
      return { result: isDuplicate ? "duplicate" : "unknown", replacedNanoUsd: 0, budgets: [] };
    }
    const budgets: BudgetState[] = [];
    for (const charge of reservation.charges) {
      charge.account = this.#revived(charge.account);
      const { account, amount } = charge;
      if (account.kind === "slots") account.held.delete(id);
      else if (account.kind === "window") {
        const actual = account.dimension === "tokens" ? settlement.tokens : settlement.requests;
        correctWindow(account.window, now, account.partMs, charge.part, actual - amount);
      } else {
        const { costNanoUsd } = settlement;
        if (expired) changeBudget(account, now, charge.limit, costNanoUsd - amount, 0);
        else changeBudget(account, now, charge.limit, costNanoUsd, -amount);
        budgets.push(budgetState(account));
      }
    }
    this.#open.delete(id);
    this.#expired.delete(id);
    // One that expired was booked by others: whoever made it is to learn that, however late.
    const rememberedMs = expired ? TOMBSTONE_MS : this.#tombstoneMs;
    if (rememberedMs > 0) {
      this.#tombstones.set(id, { partition: settlement.partition, untilMs: now + rememberedMs });
    }
    this.#forgetOldEnds(now);
    this.#rememberServed(settlement, now);
    if (!expired) return { result: "applied", replacedNanoUsd: 0, budgets };
    return { result: "corrected", replacedNanoUsd: expired.answer.costNanoUsd, budgets };
  }

  /** Two at a time: nobody waits, and each settlement adds one only. */
  #forgetOldEnds(now: number): void {
    for (const ends of [this.#tombstones, this.#expired]) {
      for (let count = 0; count < 2; count++) {
        const oldest = ends.oldest();
        if (!oldest || (oldest.untilMs > now && ends.size <= this.#maxTombstones)) break;
        ends.deleteOldest();
      }
    }
  }

  #hint(partition: string, fingerprint: string, now: number): string | undefined {
    const hint = this.#hints.get(`${partition}\n${fingerprint}`);
    return hint && hint.untilMs > now ? hint.deployment : undefined;
  }

  #rememberServed({ partition, fingerprint, deployment }: Settlement, now: number): void {
    if (fingerprint === undefined || deployment === undefined) return;
    this.#hints.set(`${partition}\n${fingerprint}`, { deployment, untilMs: now + HINT_MS });
    if (this.#hints.size > this.#maxHints) this.#hints.deleteOldest();
  }

  #account(partition: Partition, limit: StoreLimit): Account {
    const { key } = limit;
    if (limit.kind === "window") {
      const first = partition.windows.get(key);
      for (let account = first; account; account = account.next) {
        if (account.windowMs === limit.windowMs && account.dimension === limit.dimension) return account;
      }
      const { windowMs, dimension } = limit;
      const partMs = windowMs / WINDOW_PARTS;
      const window = emptyWindow();
      const account: Account = { kind: "window", partition, key, dimension, windowMs, partMs, window, next: first };
      partition.windows.set(key, account);
      return this.#opened(account);
    }
    if (limit.kind === "slots") {
      const known = partition.slots.get(key);
      if (known) return known;
      const account: Account = {
        kind: "slots",
        partition,
        key,
        held: new Map(),
        earliestMs: Number.POSITIVE_INFINITY,
      };
      partition.slots.set(key, account);
      return this.#opened(account);
    }
    return this.#budget(partition, key, limit.period);
  }

  #budget(partition: Partition, key: string, period: string): BudgetPeriod {
    const first = partition.budgets.get(key);
    for (let account = first; account; account = account.next) if (account.period === period) return account;
    const account: BudgetPeriod = {
      kind: "budget",
      partition,
      key,
      period,
      spent: 0,
      reserved: 0,
      keepUntilMs: 0,
      next: first,
    };
    partition.budgets.set(key, account);
    return this.#opened(account);
  }

  #opened<A extends Account>(account: A): A {
    this.#accounts.add(account);
    this.#looksDue += LOOKS_PER_OPENING;
    return account;
  }

  /** The account itself, or the one that took its place after it had been dropped as idle. */
  #revived(account: Account): Account {
    if (this.#accounts.has(account)) return account;
    const { key } = account;
    const partition = this.#partition(account.partition.name);
    if (account.kind === "budget") return this.#budget(partition, key, account.period);
    if (account.kind === "slots") return this.#account(partition, { kind: "slots", key, limit: 0 });
    const { dimension, windowMs } = account;
    return this.#account(partition, { kind: "window", key, dimension, windowMs, limit: 0, amount: 0, isStrict: false });
  }

  /** Before a decision opens accounts: those that it holds must not be dropped under its hands. */
  #dropIdleAccounts(now: number): void {
    if (this.#looksDue === 0) return;
    if (this.#accounts.size > FEW_ACCOUNTS) {
      for (let looks = Math.min(this.#looksDue, this.#accounts.size); looks > 0; looks--) {
        let { value: account } = this.#cursor.next();
        if (!account) {
          this.#cursor = this.#accounts.values();
          account = this.#cursor.next().value;
        }
        if (account && isIdle(account, now)) this.#drop(account);
      }
    }
    this.#looksDue = 0;
  }

  #drop(account: Account): void {
    const { partition, key } = account;
    this.#accounts.delete(account);
    if (account.kind === "window") unlink(partition.windows, key, account);
    else if (account.kind === "budget") unlink(partition.budgets, key, account);
    else partition.slots.delete(key);
    if (partition.windows.size + partition.slots.size + partition.budgets.size === 0) {
      this.#partitions.delete(partition.name);
    }
  }
}

function unlink<A extends { next: A | undefined }>(accounts: Map<string, A>, key: string, account: A): void {
  const first = accounts.get(key);
  if (first === account) {
    if (account.next) accounts.set(key, account.next);
    else accounts.delete(key);
    return;
  }
  for (let other = first; other; other = other.next) if (other.next === account) other.next = account.next;
}

function isIdle(account: Account, now: number): boolean {
  if (account.kind === "slots") return heldAt(account, now) === 0;
  if (account.kind === "budget") return account.reserved === 0 && account.keepUntilMs <= now;
  return (account.window.latest + KEPT_PARTS) * account.partMs + IDLE_GRACE_MS <= now;
}

/** Slots that are taken; those whose time is over are freed on the way. */
function heldAt(account: SlotAccount, now: number): number {
  if (account.earliestMs <= now) {
    account.earliestMs = Number.POSITIVE_INFINITY;
    for (const [id, { deadlineMs }] of account.held) {
      if (deadlineMs <= now) account.held.delete(id);
      else account.earliestMs = Math.min(account.earliestMs, deadlineMs);
    }
  }
  return account.held.size;
}

function spentOf({ spent, reserved, keepUntilMs }: BudgetPeriod, now: number): number {
  return reserved === 0 && keepUntilMs <= now ? 0 : spent;
}

function changeBudget(account: BudgetPeriod, now: number, limit: StoreLimit, spent: number, reserved: number): void {
  const keepMs = limit.kind === "budget" ? limit.keepMs : 0;
  account.spent = bounded(spentOf(account, now) + spent);
  account.reserved = bounded(account.reserved + reserved);
  // The later one: reservations may have been made under different settings, and may end in any order.
  account.keepUntilMs = Math.max(account.keepUntilMs, now + keepMs);
}

function budgetState({ key, period, spent, reserved }: BudgetPeriod): BudgetState {
  return { key, period, spentNanoUsd: spent, reservedNanoUsd: reserved };
}

/** An account never owes, and never leaves the integers, whatever was settled. */
function bounded(amount: number): number {
  return Math.min(Math.max(0, amount), Number.MAX_SAFE_INTEGER);
}

function usedOf(account: Account, limit: StoreLimit, now: number): number {
  if (account.kind === "window") return usedIn(account.window, now, account.partMs, isStrict(limit));
  if (account.kind === "slots") return heldAt(account, now);
  return spentOf(account, now) + account.reserved;
}

function amountOf(limit: StoreLimit): number {
  return limit.kind === "window" ? limit.amount : limit.kind === "budget" ? limit.amountNanoUsd : 1;
}

function mostOf(limit: StoreLimit): number {
  return limit.kind === "budget" ? limit.limitNanoUsd : limit.limit;
}

function isStrict(limit: StoreLimit): boolean {
  return limit.kind === "window" && limit.isStrict;
}

/** Of two limits of one account; what an extension has to hold. */
function strictest(one: StoreLimit, other: StoreLimit): StoreLimit {
  if (one.kind === "window") {
    return { ...one, limit: Math.min(one.limit, mostOf(other)), isStrict: one.isStrict || isStrict(other) };
  }
  if (one.kind === "slots") return { ...one, limit: Math.min(one.limit, mostOf(other)) };
  const keepMs = other.kind === "budget" ? Math.max(one.keepMs, other.keepMs) : one.keepMs;
  return { ...one, limitNanoUsd: Math.min(one.limitNanoUsd, mostOf(other)), keepMs };
}

/** What an extension adds to a charge: budgets without a limit only count what is settled. */
function extensionOf({ account, limit }: Charge, { tokens, costNanoUsd }: Extension): number {
  if (account.kind === "window") return account.dimension === "tokens" ? tokens : 0;
  return account.kind === "budget" && mostOf(limit) !== Number.POSITIVE_INFINITY ? costNanoUsd : 0;
}

function denialsOf(limits: readonly StoreLimit[], chargeOf: readonly Charge[], now: number): Denial[] | undefined {
  let denials: Denial[] | undefined;
  for (let index = 0; index < limits.length; index++) {
    const limit = limits[index] as StoreLimit; // both lists are as long
    const { account, amount } = chargeOf[index] as Charge;
    const most = mostOf(limit);
    if (usedOf(account, limit, now) + amount <= most) continue;
    const isTooLarge = amount > most;
    const retryAfterMs =
      account.kind === "window" && !isTooLarge
        ? timeUntilUsed(account.window, now, account.partMs, isStrict(limit), most - amount)
        : undefined;
    denials ??= [];
    denials.push({ index, retryAfterMs, isTooLarge });
  }
  return denials;
}

/** When all that have no room would have it. */
function latest(denials: readonly Denial[]): number | undefined {
  let latestMs = 0;
  for (const { retryAfterMs } of denials) {
    if (retryAfterMs === undefined) return undefined;
    latestMs = Math.max(latestMs, retryAfterMs);
  }
  return latestMs;
}

function statesOf(limits: readonly StoreLimit[], chargeOf: readonly Charge[], now: number): LimitState[] {
  const states: LimitState[] = [];
  for (let index = 0; index < limits.length; index++) {
    const limit = limits[index] as StoreLimit; // both lists are as long
    const { account } = chargeOf[index] as Charge;
    const resetMs = account.kind === "window" ? timeUntilEmpty(account.window, now, account.partMs) : 0;
    states.push({ remaining: Math.max(0, mostOf(limit) - usedOf(account, limit, now)), resetMs });
  }
  return states;
}
