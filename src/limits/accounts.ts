import type { Clock } from "../internal/clock.js";
import { type Random, randomId } from "../internal/random.js";
import type {
  AdmitAnswer,
  BudgetLimit,
  BudgetState,
  ExpiredReservation,
  MaybePromise,
  SharedCooldown,
  Store,
} from "../stores/store.js";
import { Allotments } from "./allotments.js";
import {
  type AccountRefusal,
  type Asked,
  byAccount,
  holdsMoney,
  isOwnIn,
  NO_AMOUNTS,
  refusalOf,
  shareOf,
  unavailable,
} from "./asked-limits.js";
import { BudgetWarnings } from "./budget-warnings.js";
import { CooldownReader } from "./cooldown-reader.js";
import { type DeploymentAsk, type DeploymentReservation, DeploymentReserver } from "./deployment-reserver.js";
import { type OpenAccounts, RequestAccount } from "./request-account.js";
import { type Amounts, type BudgetRule, type Rule, storeLimit } from "./rule.js";
import { lifetimeOf, openBackend, type StoreBackend } from "./store-backend.js";
import { StoreUnavailable } from "./store-calls.js";
import { StorePart } from "./store-part.js";
import type { BookedReservation } from "./store-session.js";

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

export interface AccountsView {
  /** Reservations of requests and attempts that were neither ended nor adjusted. */
  readonly open: number;
  /** Settlements that their store has not acknowledged. */
  readonly unsettled: number;
  readonly stores: readonly {
    readonly name: string;
    readonly holds: "limits" | "budgets" | "limits and budgets";
    readonly breaker: "closed" | "open" | "half-open";
  }[];
}

/**
 * The accounts of limits and budgets: what a request reserves, all or nothing, before its first attempt, and settles
 * once. Decides in memory, or with one call of a shared store; while that is away, each control goes by its policy (R14).
 */
export class Accounts {
  /** This process, for its stores: random at every start. */
  readonly owner: string;
  readonly #options: AccountsOptions;
  readonly #main: StoreBackend;
  readonly #budgets: StoreBackend;
  /** For `local-share`: limits divided by the processes that live. */
  readonly #local: StoreBackend;
  /** Hard budgets that are kept apart from the limits. */
  readonly #allotments: Allotments | undefined;
  readonly #deployments: DeploymentReserver;
  readonly #warnings: BudgetWarnings;
  readonly #open: OpenAccounts = { count: 0 };
  readonly #cooldowns: CooldownReader;
  #localReservations = 0;

  constructor(options: AccountsOptions) {
    this.#options = options;
    const { clock, random, store, budgetStore, localStore, onWarning } = options;
    this.owner = randomId(random, "process_");
    this.#warnings = new BudgetWarnings(onWarning);
    this.#main = this.#backend(store, budgetStore === store ? "limits and budgets" : "limits");
    this.#cooldowns = new CooldownReader(this.#main, options);
    this.#deployments = new DeploymentReserver({
      ...{ clock, owner: this.owner, backend: this.#main, open: this.#open },
      liveProcesses: () => this.liveProcesses,
    });
    this.#local = localStore === store ? this.#main : this.#backend(localStore, "limits");
    this.#budgets = budgetStore === store ? this.#main : this.#backend(budgetStore, "budgets");
    if (budgetStore !== store) {
      const newId = () => randomId(random, "allotment_");
      this.#allotments = new Allotments({ clock, ...this.#budgets, owner: this.owner, newId });
    }
  }

  #backend(store: Store, holds: string): StoreBackend {
    // Requests learn of changes with their answers; who has no requests looks from time to time.
    return openBackend(store, holds, { ...this.#options, owner: this.owner, onSwept: () => this.#cooldowns.read() });
  }

  get #backends(): readonly StoreBackend[] {
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
    const held = new RequestAccount(this.#open);
    if (!this.#main.store.isShared && !this.#allotments) {
      let refusal: MaybePromise<AccountRefusal | undefined>;
      try {
        refusal = this.#reserveIn(this.#main, "all", asked, request, held);
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        return this.#concluded(held, this.#withoutStore(this.#main, "all", asked, request, held));
      }
      if (!(refusal instanceof Promise)) return refusal ?? held.complete();
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
    held: RequestAccount,
    reserving: Promise<AccountRefusal | undefined>,
  ): Promise<RequestAccount | AccountRefusal> {
    try {
      const refusal = await reserving;
      if (!refusal) return held.complete();
      held.release();
      return refusal;
    } catch (error) {
      held.release();
      throw error;
    }
  }

  async #reserveEverywhere(
    request: AccountRequest,
    asked: readonly Asked[],
    held: RequestAccount,
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
    backend: StoreBackend,
    partition: string,
    asked: readonly Asked[],
    request: AccountRequest,
    held: RequestAccount,
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
  async #allot(asked: readonly Asked[], partition: string, held: RequestAccount): Promise<AccountRefusal | undefined> {
    // Called for the limits that are apart: there are allotments, and the limits are budgets.
    const allotments = this.#allotments as Allotments;
    const budgets = asked.map(({ limit }) => limit as BudgetLimit);
    const hold = await allotments.reserve(budgets, partition);
    if (!hold.isHeld) {
      const { rule } = asked[hold.index] as Asked; // one of those that were asked for
      const cause = hold.isTooLarge ? "never-fits" : "no-room";
      return { isReserved: false, rule, cause, retryAfterMs: undefined, states: [] };
    }
    held.add({
      extend: (_, costNanoUsd) => hold.extend(costNanoUsd),
      end: ({ costNanoUsd }) => hold.settle(costNanoUsd),
    });
    return undefined;
  }

  /** One decision of one store. @throws {StoreUnavailable} */
  #reserveIn(
    backend: StoreBackend,
    partition: string,
    asked: readonly Asked[],
    request: AccountRequest,
    held: RequestAccount,
    id = request.id,
  ): MaybePromise<AccountRefusal | undefined> {
    const { store, calls, settlements } = backend;
    const fingerprint = backend === this.#main ? request.fingerprint : undefined;
    const { onCorrected } = this.#options;
    const onSoftBudgets = this.#onSoftBudgets;
    const part = new StorePart({
      ...{ store, calls, settlements, id, partition, asked, fingerprint, onCorrected, onSoftBudgets },
    });
    const question = {
      id,
      owner: this.owner,
      partition,
      lifetimeMs: lifetimeOf(request.lifetimeMs),
      limits: asked.map(({ limit }) => limit),
      fingerprint,
      note: request.note,
    };
    // Where it may have been reserved all the same, the store hears that nobody wants it.
    const answer = calls.call(
      () => store.admit(question),
      () => part.release(),
    );
    if (!(answer instanceof Promise)) return this.#conclude(backend, asked, held, part, answer);
    return answer.then((late) => this.#conclude(backend, asked, held, part, late));
  }

  #conclude(
    backend: StoreBackend,
    asked: readonly Asked[],
    held: RequestAccount,
    part: StorePart,
    answer: AdmitAnswer,
  ): AccountRefusal | undefined {
    if (!answer.isAdmitted) return refusalOf(asked, answer.denials, answer.states);
    held.add(part);
    held.noteStates(asked, answer.states);
    held.hint ??= answer.hint;
    if (backend === this.#main) this.#cooldowns.noteEpoch(answer.cooldownEpoch);
    return undefined;
  }

  /** Tells the other processes that a deployment is left alone. */
  publishCooldown(cooldown: SharedCooldown): Promise<void> {
    return this.#cooldowns.publish(cooldown);
  }

  /** Deployments' limits are those of all processes together: the store has the last word. */
  get areDeploymentsShared(): boolean {
    return this.#main.store.isShared;
  }

  /** {@link DeploymentReserver.reserve}: in the shared store. */
  reserveDeployment(ask: DeploymentAsk): Promise<DeploymentReservation> {
    return this.#deployments.reserve(ask);
  }

  /** Made once: each reservation has it. */
  readonly #onSoftBudgets = (asked: readonly Asked[], states: readonly BudgetState[]): void => {
    for (const { rule, limit } of asked) {
      const { key, period } = limit as BudgetLimit; // the rules are budgets
      const state = states.find((budget) => budget.key === key && budget.period === period);
      if (!state) continue;
      // What a soft budget holds was spent, and is not booked yet.
      const spentNanoUsd = state.spentNanoUsd + state.reservedNanoUsd;
      this.#warnings.check(rule as BudgetRule, { ...state, spentNanoUsd });
    }
  };

  /** The store is away: each limit goes by its policy. */
  async #withoutStore(
    { journal }: StoreBackend,
    partition: string,
    asked: readonly Asked[],
    request: AccountRequest,
    held: RequestAccount,
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
      held.add({
        extend: (_, costNanoUsd) => entry.extend(costNanoUsd),
        end: ({ costNanoUsd }) => entry.settle(costNanoUsd),
      });
    }
    const shares = asked
      .filter(({ rule }) => rule.onStoreFailure === "local-share")
      .map((each) => ({ ...each, limit: shareOf(each.limit, this.liveProcesses) }));
    if (shares.length === 0) return undefined;
    const id = `${request.id}/local${this.#localReservations++}`;
    return this.#reserveIn(this.#local, "all", shares, request, held, id);
  }

  view(): AccountsView {
    const backends = this.#backends;
    return {
      open: this.#open.count,
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
