import type { Clock } from "../internal/clock.js";
import { type Random, randomId } from "../internal/random.js";
import type {
  BudgetLimit,
  BudgetState,
  Denial,
  ExpiredReservation,
  LimitState,
  MaybePromise,
  SettlementAnswer,
  SharedCooldown,
  Store,
  StoreLimit,
} from "../stores/store.js";
import { Allotments } from "./allotments.js";
import { BudgetWarnings } from "./budget-warnings.js";
import type { DeploymentLimits } from "./deployment-limits.js";
import { Journal } from "./journal.js";
import { type Amounts, type BudgetRule, type Rule, storeLimit } from "./rule.js";
import { SettlementQueue } from "./settlement-queue.js";
import { StoreCalls, StoreUnavailable } from "./store-calls.js";
import { type BookedReservation, StoreSession } from "./store-session.js";

export interface AccountsOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Where limits are kept. */
  readonly store: Store;
  /** Where hard budgets are kept; `store` itself, unless it is another one. */
  readonly budgetStore: Store;
  /** In this process's memory: what limits go by while the store is away. `store` itself, where that is in memory. */
  readonly localStore: Store;
  /** How long one answer of a store may take (R7). */
  readonly storeTimeoutMs: number;
  readonly onWarning: (message: string) => void;
  /** Reservations of dead processes, charged and not booked yet; those that it names as booked are ended. */
  readonly onExpired: (expired: readonly ExpiredReservation[]) => Promise<readonly BookedReservation[]>;
  /** A request was settled after its reservation had been charged by others. */
  readonly onCorrected: (id: string) => void;
  /** Deployments that this or another process left alone, as the store has them. */
  readonly onCooldowns: (cooldowns: readonly SharedCooldown[]) => void;
}

/** A request that asks to be let in. */
export interface AccountRequest {
  /** Of this question: another one, after a refusal, has another. */
  readonly id: string;
  /** Whose accounts most of them are; `undefined`: nobody's in particular. */
  readonly tenant: string | undefined;
  readonly rules: readonly Rule[];
  readonly amounts: Amounts;
  /** How long the request may take, in milliseconds. */
  readonly lifetimeMs: number;
  readonly fingerprint?: string | undefined;
  /** Whose it was, for whoever finds it when this process has died. */
  readonly note?: string | undefined;
}

/** What a request really used. */
export interface AccountUse {
  /** An upstream was asked. */
  readonly isAttempted: boolean;
  readonly tokens: number;
  readonly costNanoUsd: number;
  readonly deployment?: string | undefined;
}

/** What a request holds: ended exactly once, later endings do nothing. */
export interface RequestAccount {
  readonly isReserved: true;
  /** What was left of each limit after the reservation, as far as the stores could say. */
  readonly states: readonly LimitStateOf[];
  readonly hint: string | undefined;
  /** Makes the reservation larger; `false`: there is no room, and nothing has changed. */
  extend(tokens: number, costNanoUsd: number): MaybePromise<boolean>;
  end(use: AccountUse): void;
}

/** An attempt that asks for room in the limits of a deployment, or of another one. */
export interface DeploymentAsk {
  /** Of the attempt. */
  readonly id: string;
  readonly group: string;
  /** In order of preference, at most 4. */
  readonly candidates: readonly DeploymentLimits[];
  /** Input and probable output. */
  readonly tokens: number;
  readonly lifetimeMs: number;
}
export type DeploymentReservation =
  | {
      readonly isReserved: true;
      /** Which of the candidates. */
      readonly index: number;
      end(isAttempted: boolean, tokens: number): void;
    }
  | { readonly isReserved: false };

/** What is left of the limit that a rule states. */
export interface LimitStateOf {
  readonly rule: Rule;
  readonly state: LimitState;
}

/** Nothing was reserved. */
export interface AccountRefusal {
  readonly isReserved: false;
  readonly rule: Rule;
  readonly cause: "no-room" | "never-fits" | "store-unavailable";
  /** What is left of each limit that was asked, as far as it is known. */
  readonly states: readonly LimitStateOf[];
  /** When everything that refused would have room; `undefined`: time alone does not help. */
  readonly retryAfterMs: number | undefined;
}

export interface AccountsView {
  /** Reservations of requests and attempts that have not been ended. */
  readonly open: number;
  /** Settlements that their store has not acknowledged. */
  readonly unsettled: number;
  readonly stores: readonly {
    readonly name: string;
    readonly holds: "limits" | "budgets" | "limits and budgets";
    readonly breaker: "closed" | "open" | "half-open";
  }[];
}

/** A reservation outlives the request's deadline by this much (routing §11). */
const GRACE_MS = 60_000;
/** Slots come free at any moment: when to ask again. */
const SLOT_RETRY_MS = 1_000;
/** When a store that is away may be back. */
const STORE_RETRY_MS = 1_000;
/** A store with what it takes to ask it. */
interface Backend {
  readonly store: Store;
  readonly calls: StoreCalls;
  readonly settlements: SettlementQueue;
  /** What budgets spend while the store is away. */
  readonly journal: Journal;
  /** Of stores that several processes share. */
  readonly session: StoreSession | undefined;
}

/** One limit that a request has to pass. */
interface Asked {
  readonly rule: Rule;
  readonly limit: StoreLimit;
}

/** Makes one part of what a request holds larger, or does not. */
type Extender = (tokens: number, costNanoUsd: number) => MaybePromise<boolean>;

/** What a request has reserved so far, wherever: ended together. */
interface Held {
  readonly states: LimitStateOf[];
  readonly endings: ((use: AccountUse) => void)[];
  readonly extenders: Extender[];
  hint: string | undefined;
}

interface Spare {
  tokens: number;
  costNanoUsd: number;
}

const UNUSED: AccountUse = { isAttempted: false, tokens: 0, costNanoUsd: 0 };

/**
 * The accounts of limits and budgets: what a request reserves, all or nothing, before its first attempt, and settles
 * once. Decides in memory, or with one call of a shared store; while that is away, each control goes by its policy (R14).
 */
export class Accounts {
  /** This process, for its stores: random at every start. */
  readonly owner: string;
  readonly #options: AccountsOptions;
  readonly #main: Backend;
  readonly #budgets: Backend;
  /** For `local-share`: limits divided by the processes that live. */
  readonly #local: Backend;
  /** Hard budgets that are kept apart from the limits. */
  readonly #allotments: Allotments | undefined;
  readonly #warnings: BudgetWarnings;
  #open = 0;
  #cooldownEpoch: number | undefined;
  #localReservations = 0;

  constructor(options: AccountsOptions) {
    this.#options = options;
    const { clock, random, store, budgetStore, localStore, onWarning } = options;
    this.owner = randomId(random, "process_");
    this.#warnings = new BudgetWarnings(onWarning);
    this.#main = this.#backend(store, budgetStore === store ? "limits and budgets" : "limits");
    this.#local = localStore === store ? this.#main : this.#backend(localStore, "limits");
    this.#budgets = budgetStore === store ? this.#main : this.#backend(budgetStore, "budgets");
    if (budgetStore !== store) {
      const newId = () => randomId(random, "allotment_");
      this.#allotments = new Allotments({ clock, ...this.#budgets, owner: this.owner, newId });
    }
  }

  #backend(store: Store, holds: string): Backend {
    const { clock, random, storeTimeoutMs, onWarning, onExpired } = this.#options;
    const { owner } = this;
    const onTransition = (isOpen: boolean) => {
      onWarning(
        isOpen
          ? `The store "${store.name}" does not answer: ${holds} go by their onStoreFailure until it does.`
          : `The store "${store.name}" answers again.`,
      );
      // What waited for it holds slots and budgets that nobody uses any more.
      if (!isOpen) void settlements.flush();
    };
    const calls = new StoreCalls({ clock, timeoutMs: storeTimeoutMs, onTransition });
    const onDropped = () =>
      onWarning(`Too many settlements wait for the store "${store.name}": some are charged in full.`);
    const settlements = new SettlementQueue({ clock, store, calls, onDropped });
    const session = store.isShared
      ? new StoreSession({
          ...{ clock, random, store, calls, settlements, owner, onExpired },
          // Requests learn of changes with their answers; who has no requests looks from time to time.
          onSwept: () => void this.#readCooldowns(),
        })
      : undefined;
    const newId = () => randomId(random, "journal_");
    const journal = new Journal({ clock, store, calls, settlements, owner, newId });
    return { store, calls, settlements, journal, session };
  }

  get #backends(): readonly Backend[] {
    return this.#budgets === this.#main ? [this.#main] : [this.#main, this.#budgets];
  }

  /** Begins to renew what this process holds in shared stores, and to look after what dead ones held. */
  start(): void {
    for (const { session } of this.#backends) session?.start();
  }

  /** Processes that live, as far as is known. */
  get liveProcesses(): number {
    return this.#main.session?.liveOwners ?? 1;
  }

  /** Reserves what all rules ask for, or nothing. At once where everything is in memory. */
  reserve(request: AccountRequest): MaybePromise<RequestAccount | AccountRefusal> {
    const wallNow = this.#options.clock.wallNow();
    const asked = request.rules.map((rule) => ({ rule, limit: storeLimit(rule, request.amounts, wallNow) }));
    const held: Held = { states: [], endings: [], extenders: [], hint: undefined };
    if (!this.#main.store.isShared && !this.#allotments) {
      let refusal: MaybePromise<AccountRefusal | undefined>;
      try {
        refusal = this.#reserveIn(this.#main, "all", asked, request, held);
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        return this.#concluded(held, this.#withoutStore(this.#main, "all", asked, request, held));
      }
      if (!(refusal instanceof Promise)) return refusal ?? this.#account(held);
      // Asked already: the store is not asked again.
      const asking = refusal;
      return this.#concluded(
        held,
        this.#orWithoutStore(this.#main, "all", asked, request, held, () => asking),
      );
    }
    return this.#concluded(held, this.#reserveEverywhere(request, asked, held));
  }

  /** What was reserved on the way to a refusal is given back. */
  async #concluded(
    held: Held,
    reserving: Promise<AccountRefusal | undefined>,
  ): Promise<RequestAccount | AccountRefusal> {
    try {
      const refusal = await reserving;
      if (!refusal) return this.#account(held);
      for (const end of held.endings) end(UNUSED);
      return refusal;
    } catch (error) {
      for (const end of held.endings) end(UNUSED);
      throw error;
    }
  }

  async #reserveEverywhere(
    request: AccountRequest,
    asked: readonly Asked[],
    held: Held,
  ): Promise<AccountRefusal | undefined> {
    const isApart = ({ rule }: Asked) => this.#allotments !== undefined && rule.kind === "budget" && rule.isHard;
    const apart = byAccount(asked.filter(isApart));
    const isOwnBudget = isOwnIn(this.#budgets.store);
    for (const areOwn of [true, false]) {
      const budgets = apart.filter((budget) => isOwnBudget(budget) === areOwn);
      if (budgets.length === 0) continue;
      const partition = areOwn && this.#budgets.store.isSharded ? (request.tenant ?? "all") : "all";
      const refusal = await this.#orWithoutStore(this.#budgets, partition, budgets, request, held, () =>
        this.#allot(budgets, partition, held),
      );
      if (refusal) return refusal;
    }
    const { store } = this.#main;
    const limits = asked.filter((limit) => !isApart(limit));
    // A sharded store keeps the accounts of a tenant together, and those that tenants share elsewhere.
    const isOwn = isOwnIn(store);
    const own = limits.filter(isOwn);
    const shared = limits.filter((limit) => !isOwn(limit));
    const tenant = store.isSharded ? (request.tenant ?? "all") : "all";
    // What becomes of a request whose process dies is booked once: by the first reservation that holds money of it.
    const isNotedByOwn = own.length > 0 && (shared.length === 0 || own.some(holdsMoney) || !shared.some(holdsMoney));
    const unnoted = { ...request, note: undefined };
    if (own.length > 0 || request.fingerprint !== undefined) {
      const part = isNotedByOwn ? request : unnoted;
      const refusal = await this.#orWithoutStore(this.#main, tenant, own, part, held, () =>
        this.#reserveIn(this.#main, tenant, own, part, held),
      );
      if (refusal) return refusal;
    }
    if (shared.length === 0) return undefined;
    const rest = isNotedByOwn ? unnoted : request;
    return this.#orWithoutStore(this.#main, "all", shared, rest, held, () =>
      this.#reserveIn(this.#main, "all", shared, rest, held),
    );
  }

  async #orWithoutStore(
    backend: Backend,
    partition: string,
    asked: readonly Asked[],
    request: AccountRequest,
    held: Held,
    reserve: () => MaybePromise<AccountRefusal | undefined>,
  ): Promise<AccountRefusal | undefined> {
    try {
      return await reserve();
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      return this.#withoutStore(backend, partition, asked, request, held);
    }
  }

  /** Takes the request's share of hard budgets from what this process has drawn. */
  async #allot(asked: readonly Asked[], partition: string, held: Held): Promise<AccountRefusal | undefined> {
    // Called for the limits that are apart: there are allotments, and the limits are budgets.
    const allotments = this.#allotments as Allotments;
    const budgets = asked.map(({ limit }) => limit as BudgetLimit);
    const hold = await allotments.reserve(budgets, partition);
    if (!hold.isHeld) {
      const { rule } = asked[hold.index] as Asked; // one of those that were asked for
      const cause = hold.isTooLarge ? "never-fits" : "no-room";
      return { isReserved: false, rule, cause, retryAfterMs: undefined, states: [] };
    }
    held.endings.push(({ costNanoUsd }) => hold.settle(costNanoUsd));
    held.extenders.push((_, costNanoUsd) => hold.extend(costNanoUsd));
    return undefined;
  }

  /** One decision of one store. @throws {StoreUnavailable} */
  #reserveIn(
    backend: Backend,
    partition: string,
    asked: readonly Asked[],
    request: AccountRequest,
    held: Held,
    id = request.id,
  ): MaybePromise<AccountRefusal | undefined> {
    const { store, calls, settlements } = backend;
    const fingerprint = backend === this.#main ? request.fingerprint : undefined;
    const { note } = request;
    const limits = asked.map(({ limit }) => limit);
    const lifetimeMs = Math.ceil(request.lifetimeMs) + GRACE_MS;
    const { owner } = this;
    const release = () => settlements.add({ id, partition, requests: 0, tokens: 0, costNanoUsd: 0 });
    const conclude = (answer: Awaited<ReturnType<Store["admit"]>>) => {
      if (!answer.isAdmitted) return refusalOf(asked, answer.denials, answer.states);
      for (const [index, { rule }] of asked.entries()) {
        const state = answer.states[index];
        if (state) held.states.push({ rule, state });
      }
      held.hint ??= answer.hint;
      this.#noteEpoch(backend, answer.cooldownEpoch);
      const softBudgets = asked.filter(({ rule }) => rule.kind === "budget" && !rule.isHard);
      const hasSlots = limits.some(({ kind }) => kind === "slots");
      held.endings.push(({ isAttempted, tokens, costNanoUsd, deployment }) => {
        const use = { requests: isAttempted ? 1 : 0, tokens, costNanoUsd };
        const onAnswer = (settled: SettlementAnswer) => {
          // Also where whoever found it expired has ended it meanwhile.
          if (settled.result === "corrected" || settled.result === "duplicate") this.#options.onCorrected(id);
          if (softBudgets.length > 0) this.#warn(softBudgets, settled);
        };
        settlements.add({ id, partition, ...use, fingerprint, deployment }, onAnswer, hasSlots);
      });
      held.extenders.push(async (tokens, costNanoUsd) => {
        try {
          const extended = await calls.call(() => store.extend({ id, partition, tokens, costNanoUsd }));
          return extended.isExtended;
        } catch (error) {
          if (error instanceof StoreUnavailable && asked.every(growsWithoutStore)) return true;
          throw error;
        }
      });
      return undefined;
    };
    const admit = () => store.admit({ id, owner, partition, lifetimeMs, limits, fingerprint, note });
    // Where it may have been reserved all the same, the store hears that nobody wants it.
    const answer = calls.call(admit, release);
    return answer instanceof Promise ? answer.then(conclude) : conclude(answer);
  }

  #noteEpoch({ store }: Backend, epoch: number): void {
    if (!store.isShared || epoch === this.#cooldownEpoch) return;
    this.#cooldownEpoch = epoch;
    void this.#readCooldowns();
  }

  async #readCooldowns(): Promise<void> {
    const { store, calls } = this.#main;
    if (!store.isShared) return;
    try {
      this.#options.onCooldowns(await calls.call(() => store.cooldowns()));
    } catch (error) {
      // What this process knows itself has to do until the store answers.
      this.#tell(error, "reading cooldowns");
    }
  }

  /** Nobody waits for it, so nobody else would hear of a mistake (R8). */
  #tell(error: unknown, what: string): void {
    if (error instanceof StoreUnavailable) return;
    this.#options.onWarning(`The store "${this.#main.store.name}" refused ${what}: ${String(error)}`);
  }

  /** Tells the other processes that a deployment is left alone. */
  async publishCooldown(cooldown: SharedCooldown): Promise<void> {
    const { store, calls } = this.#main;
    if (!store.isShared) return;
    try {
      const { cooldownEpoch } = await calls.call(() => store.cooldown(cooldown));
      // Our own news are no news.
      this.#cooldownEpoch = cooldownEpoch;
    } catch (error) {
      // The others find out for themselves.
      this.#tell(error, "publishing a cooldown");
    }
  }

  /** Deployments' limits are those of all processes together: the store has the last word. */
  get areDeploymentsShared(): boolean {
    return this.#main.store.isShared;
  }

  /**
   * Reserves the limits of the first candidate that has room, in the shared store; each candidate remembers what that
   * said. While the store is away, each process goes by its share.
   */
  async reserveDeployment(ask: DeploymentAsk): Promise<DeploymentReservation> {
    const { store, calls, settlements } = this.#main;
    const { clock } = this.#options;
    const { id, candidates } = ask;
    const partition = store.isSharded ? `group:${ask.group}` : "all";
    const wallNow = clock.wallNow();
    const amounts = { ...NO_AMOUNTS, tokens: ask.tokens };
    const hasSlots = candidates.some(({ rules }) => rules.some(({ kind }) => kind === "parallel"));
    const end = (isAttempted: boolean, tokens: number) =>
      settlements.add({ id, partition, requests: isAttempted ? 1 : 0, tokens, costNanoUsd: 0 }, undefined, hasSlots);
    // Outside the call: a mistake of ours in here is no failure of the store.
    const question = {
      id,
      partition,
      owner: this.owner,
      lifetimeMs: Math.ceil(ask.lifetimeMs) + GRACE_MS,
      candidates: candidates.map((limits) => ({
        deployment: limits.id,
        limits: limits.rules.map((rule) => storeLimit(rule, amounts, wallNow)),
      })),
    };
    try {
      const answer = await calls.call(
        () => store.reserveDeployment(question),
        () => end(false, 0),
      );
      const now = clock.now();
      if (answer.isReserved) {
        candidates[answer.index]?.learn(answer.states, now);
        this.#open++;
        return { isReserved: true, index: answer.index, end: this.#ending(end) };
      }
      for (const [index, limits] of candidates.entries()) {
        limits.noteFull(answer.retryAfterMs[index] ?? SLOT_RETRY_MS, now);
      }
      return { isReserved: false };
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      const now = clock.now();
      // The first is taken already, while the store is asked about all.
      const index = candidates.findIndex((limits, at) =>
        limits.hasShare(this.liveProcesses, now, ask.tokens, at === 0),
      );
      if (index >= 0) return { isReserved: true, index, end: () => {} };
      for (const limits of candidates) limits.noteFull(SLOT_RETRY_MS, now);
      return { isReserved: false };
    }
  }

  #ending(end: (isAttempted: boolean, tokens: number) => void): (isAttempted: boolean, tokens: number) => void {
    let isEnded = false;
    return (isAttempted, tokens) => {
      if (isEnded) return;
      isEnded = true;
      this.#open--;
      end(isAttempted, tokens);
    };
  }

  #warn(asked: readonly Asked[], { budgets }: SettlementAnswer): void {
    for (const { rule, limit } of asked) {
      const { key, period } = limit as BudgetLimit; // the rules are budgets
      const state = budgets.find((budget) => budget.key === key && budget.period === period);
      if (state) this.#warnings.check(rule as BudgetRule, state);
    }
  }

  /** The store is away: each limit goes by its policy. */
  async #withoutStore(
    { journal }: Backend,
    partition: string,
    asked: readonly Asked[],
    request: AccountRequest,
    held: Held,
  ): Promise<AccountRefusal | undefined> {
    const closed = asked.find(({ rule }) => rule.onStoreFailure === "closed");
    if (closed) {
      return unavailable(closed.rule);
    }
    const isBounded = ({ onStoreFailure }: Rule) => onStoreFailure === "grace";
    const budgets = asked.flatMap(({ rule, limit }) => {
      if (limit.kind !== "budget") return [];
      return { rule, limit: isBounded(rule) ? limit : { ...limit, limitNanoUsd: Number.POSITIVE_INFINITY } };
    });
    for (const { rule, limit } of byAccount(budgets)) {
      const entry = journal.hold(limit as BudgetLimit, isBounded(rule), partition); // only budgets are left
      if (!entry) return unavailable(rule);
      held.endings.push(({ costNanoUsd }) => entry.settle(costNanoUsd));
      held.extenders.push((_, costNanoUsd) => entry.extend(costNanoUsd));
    }
    const shares = asked
      .filter(({ rule }) => rule.onStoreFailure === "local-share")
      .map((each) => ({ ...each, limit: shareOf(each.limit, this.liveProcesses) }));
    if (shares.length === 0) return undefined;
    const id = `${request.id}/local${this.#localReservations++}`;
    return this.#reserveIn(this.#local, "all", shares, request, held, id);
  }

  #account(held: Held): RequestAccount {
    this.#open++;
    let isEnded = false;
    // What a part gave for an extension that another part refused: it serves the next one.
    const parts = held.extenders.map((extend) => ({ extend, spare: { tokens: 0, costNanoUsd: 0 } }));
    return {
      isReserved: true,
      states: held.states,
      hint: held.hint,
      extend: async (tokens, costNanoUsd) => {
        const spareAgain: (() => void)[] = [];
        const keep = (spare: Spare, kept: Spare) =>
          spareAgain.push(() => {
            spare.tokens += kept.tokens;
            spare.costNanoUsd += kept.costNanoUsd;
          });
        let isExtended = false;
        try {
          for (const { extend, spare } of parts) {
            if (isEnded) return false;
            // Taken before anything is waited for: extensions may overlap.
            const used = {
              tokens: Math.min(spare.tokens, tokens),
              costNanoUsd: Math.min(spare.costNanoUsd, costNanoUsd),
            };
            spare.tokens -= used.tokens;
            spare.costNanoUsd -= used.costNanoUsd;
            keep(spare, used);
            const more = { tokens: tokens - used.tokens, costNanoUsd: costNanoUsd - used.costNanoUsd };
            if (more.tokens === 0 && more.costNanoUsd === 0) continue;
            if (!(await extend(more.tokens, more.costNanoUsd))) return false;
            keep(spare, more);
          }
          isExtended = !isEnded;
          return isExtended;
        } catch (error) {
          // Without the store nobody knows whether there is room.
          if (error instanceof StoreUnavailable) return false;
          throw error;
        } finally {
          if (!isExtended) for (const undo of spareAgain) undo();
        }
      },
      end: (use) => {
        if (isEnded) return;
        isEnded = true;
        this.#open--;
        // Sums of what upstreams make up may be beyond what a store takes.
        const costNanoUsd = Math.min(use.costNanoUsd, Number.MAX_SAFE_INTEGER);
        for (const end of held.endings) end({ ...use, costNanoUsd });
      },
    };
  }

  view(): AccountsView {
    const backends = this.#backends;
    return {
      open: this.#open,
      unsettled: backends.reduce((sum, { settlements, journal }) => sum + settlements.size + journal.size, 0),
      stores: backends.map(({ store, calls }, index) => ({
        name: store.name,
        holds: backends.length === 1 ? "limits and budgets" : index === 0 ? "limits" : "budgets",
        breaker: calls.state,
      })),
    };
  }

  /** What is spent and reserved in budgets now, in their order. @throws {StoreUnavailable} */
  async budgets(rules: readonly BudgetRule[], tenant: string): Promise<readonly BudgetState[]> {
    const wallNow = this.#options.clock.wallNow();
    const states = new Map<BudgetRule, BudgetState>();
    // Only hard budgets are kept apart from the limits, and only sharded stores keep those of all tenants elsewhere.
    for (const isHard of [true, false]) {
      const { store, calls } = isHard ? this.#budgets : this.#main;
      for (const isShared of [true, false]) {
        const asked = rules.filter(
          (rule) => rule.isHard === isHard && (rule.isShared || !store.isSharded) === isShared,
        );
        if (asked.length === 0) continue;
        const accounts = asked.map((rule) => storeLimit(rule, NO_AMOUNTS, wallNow) as BudgetLimit); // the rules are budgets
        const answer = await calls.call(() => store.budgets(isShared ? "all" : tenant, accounts));
        for (const [index, rule] of asked.entries()) {
          const state = answer[index];
          if (state) states.set(rule, state);
        }
      }
    }
    return rules.flatMap((rule) => states.get(rule) ?? []);
  }

  /** Returns what is held for nobody, and settles what waits, within `limitMs`. */
  async close(limitMs: number): Promise<void> {
    for (const { session } of this.#backends) session?.stop();
    await this.#allotments?.close();
    await Promise.all(this.#backends.map(({ journal }) => journal.drain(limitMs)));
    const drained = await Promise.all(this.#backends.map(({ settlements }) => settlements.drain(limitMs)));
    if (drained.includes(false)) {
      this.#options.onWarning("Some settlements did not reach their store: they are charged in full when they expire.");
    }
  }
}

/** Accounts of a tenant's own partition; where nothing is sharded, all of them are in one. */
const isOwnIn =
  (store: Store) =>
  ({ rule }: Asked): boolean =>
    !store.isSharded || !rule.isShared;

/** Only hard budgets reserve any. */
const holdsMoney = ({ limit }: Asked) => limit.kind === "budget" && limit.amountNanoUsd > 0;

const NO_AMOUNTS: Amounts = { tokens: 0, upperNanoUsd: 0, expectedNanoUsd: 0 };

function unavailable(rule: Rule): AccountRefusal {
  return { isReserved: false, rule, cause: "store-unavailable", retryAfterMs: STORE_RETRY_MS, states: [] };
}

/** Limits whose policy lets requests through without their store let them grow, too; hard budgets never do. */
function growsWithoutStore({ rule }: Asked): boolean {
  if (rule.kind === "budget" && rule.isHard) return false;
  return rule.onStoreFailure === "open" || rule.onStoreFailure === "local-share";
}

/** Budgets that name the same account charge it once, as in a store: the largest amount, within the smallest limit. */
function byAccount(asked: readonly Asked[]): readonly Asked[] {
  if (asked.length < 2) return asked;
  const merged = new Map<string, Asked>();
  for (const each of asked) {
    const limit = each.limit as BudgetLimit; // called for budgets
    const name = `${limit.key}\n${limit.period}`;
    const known = merged.get(name);
    const other = known?.limit as BudgetLimit | undefined;
    const rule = known && other && other.limitNanoUsd <= limit.limitNanoUsd ? known.rule : each.rule;
    merged.set(name, {
      rule,
      limit: {
        ...limit,
        keepMs: Math.max(limit.keepMs, other?.keepMs ?? 0),
        limitNanoUsd: Math.min(limit.limitNanoUsd, other?.limitNanoUsd ?? Number.POSITIVE_INFINITY),
        amountNanoUsd: Math.max(limit.amountNanoUsd, other?.amountNanoUsd ?? 0),
      },
    });
  }
  return [...merged.values()];
}

/** The limit that keeps the request out the longest; what never fits, before all others. */
function refusalOf(
  asked: readonly Asked[],
  denials: readonly Denial[],
  stateList: readonly LimitState[],
): AccountRefusal {
  const states = asked.flatMap(({ rule }, index) => {
    const state = stateList[index];
    return state ? [{ rule, state }] : [];
  });
  const refused = { isReserved: false, states } as const;
  const ruleOf = ({ index }: Denial) => (asked[index] as Asked).rule; // one of those that were asked for
  const tooLarge = denials.find(({ isTooLarge }) => isTooLarge);
  if (tooLarge) return { ...refused, rule: ruleOf(tooLarge), cause: "never-fits", retryAfterMs: undefined };
  const budget = denials.find((denial) => ruleOf(denial).kind === "budget");
  if (budget) return { ...refused, rule: ruleOf(budget), cause: "no-room", retryAfterMs: undefined };
  const waitOf = (denial: Denial) => denial.retryAfterMs ?? SLOT_RETRY_MS;
  const [first, ...others] = denials as [Denial, ...Denial[]]; // at least one
  const longest = others.reduce((most, denial) => (waitOf(denial) > waitOf(most) ? denial : most), first);
  return { ...refused, rule: ruleOf(longest), cause: "no-room", retryAfterMs: waitOf(longest) };
}

/** This process's part of a limit. */
function shareOf(limit: StoreLimit, processes: number): StoreLimit {
  if (limit.kind === "budget") return limit;
  return { ...limit, limit: Math.max(1, Math.floor(limit.limit / processes)) };
}
