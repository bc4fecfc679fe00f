import { type Clock, systemClock } from "../internal/clock.js";
import { AgedMap } from "../stores/aged-map.js";
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
} from "../stores/check.js";
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
  type LimitState,
  type Reserving,
  SETTLED_MS,
  type Settlement,
  type SettlementAnswer,
  type SharedCooldown,
  type Store,
  type StoreLimit,
} from "../stores/store.js";
import { isClusterClient, isRedisClient, type RedisClient, type RunScript, scriptRunner } from "./client.js";
import { parseRedisOptions, storeOptionsSchema } from "./options.js";
import { budgetName, budgetOfName, planOf } from "./plan.js";
import * as scripts from "./scripts.js";

export interface RedisStoreOptions {
  /**
   * What all keys begin with, so that several applications can share a database. Without braces, which mean something in
   * a cluster. @default "llm-switchyard"
   */
  readonly prefix?: string | undefined;
  /**
   * Keys lie in several slots that no script may mix: true in a cluster, also behind a proxy that hides it.
   * @default whether the client is one for a cluster
   */
  readonly isCluster?: boolean | undefined;
  /**
   * How long a settled reservation is remembered, so that a replay is told apart from an unknown one; neither applies
   * anything. Each takes about 200 bytes. One that had expired before is remembered for 24 h.
   * Milliseconds. @default 900000
   */
  readonly tombstoneMs?: number | undefined;
}

/** For the library's own tests. */
export interface RedisStoreInternals {
  /** Stands for the time of the server: Unix milliseconds. */
  readonly now?: (() => number) | undefined;
  /** When this process asks for the epoch again and lists its partitions anew. */
  readonly clock?: Clock | undefined;
  /** In a cluster: how often a partition that holds reservations is looked at. @default 5000 */
  readonly lookMs?: number | undefined;
}

/**
 * Limits, budgets, slots, cooldowns and hints in Redis, for all processes that share it: one script, one round trip, per
 * decision. Time is the server's. Errors of the client are passed on as they are.
 *
 * @param client - Yours, of `ioredis` or of `redis`, standalone or a cluster; connected, and closed, by you.
 * @throws {InvalidOptionsError} it is no such client, or an option is wrong or unknown.
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions = {}): Store {
  return createRedisStore(client, options);
}

/** Not exported by the entry point. */
export function createRedisStore(
  client: RedisClient,
  options: RedisStoreOptions,
  internals: RedisStoreInternals = {},
): Store {
  const parsed = parseRedisOptions(storeOptionsSchema, options, isRedisClient(client));
  const { prefix, isCluster = isClusterClient(client), tombstoneMs = SETTLED_MS } = parsed;
  return new InRedis(scriptRunner(client), prefix, isCluster, tombstoneMs, internals);
}

/** Part of every key: another layout shares nothing with this one. */
const LAYOUT = "3";
/** The tag of what belongs to no partition; an encoded partition has no dollar sign. */
const SHARED = "$";

/** In a cluster: how long a process relies on a partition being listed, and how long it is listed after the last time. */
const REGISTERED_MS = 10_000;
const UNREGISTER_MS = 60_000;
/** Expired reservations of a cluster are found at most this much later. */
const LOOK_MS = 5_000;
/** In a cluster: how old a known epoch may be. */
const EPOCH_MS = 250;
/** The accounts of so many open reservations are remembered; the others are asked for when they are settled. */
const MAX_REMEMBERED = 100_000;
/** Partitions of a sweep, and how many of them are looked at side by side. */
const SWEPT_PARTITIONS = 1_000;
const SWEPT_TOGETHER = 50;

class InRedis implements Store {
  readonly name = "redis";
  readonly isShared = true;
  readonly isSharded: boolean;
  readonly #runScript: RunScript;
  readonly #prefix: string;
  readonly #isCluster: boolean;
  readonly #tombstoneMs: number;
  readonly #now: (() => number) | undefined;
  readonly #clock: Clock;
  readonly #lookMs: number;
  /** The accounts of this process's reservations, which a script that settles them has to be given. */
  readonly #accounts = new AgedMap<readonly string[]>();
  /** In a cluster: when each partition was listed last, by this process. */
  readonly #registered = new Map<string, number>();
  #epoch = 0;
  #epochAskedAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    runScript: RunScript,
    prefix: string,
    isCluster: boolean,
    tombstoneMs: number,
    { now, clock, lookMs = LOOK_MS }: RedisStoreInternals,
  ) {
    this.#runScript = runScript;
    this.#prefix = `${prefix}:${LAYOUT}:`;
    this.#isCluster = isCluster;
    this.#tombstoneMs = tombstoneMs;
    this.isSharded = isCluster;
    this.#now = now;
    this.#clock = clock ?? systemClock;
    this.#lookMs = lookMs;
  }

  async admit(request: AdmitRequest): Promise<AdmitAnswer> {
    checkAdmit(request);
    const answer = await this.#reserve(request, [request.limits], request.fingerprint);
    if (this.#isCluster) this.#askForEpoch();
    if (!answer.isReserved) {
      const { denials, end } = denialsAt(answer.numbers, 0);
      return { isAdmitted: false, denials, states: statesOf(answer.numbers, end) };
    }
    return {
      isAdmitted: true,
      states: statesOf(answer.numbers, 0),
      hint: answer.hint,
      cooldownEpoch: this.#isCluster ? this.#epoch : answer.epoch,
    };
  }

  async reserveDeployment(request: DeploymentRequest): Promise<DeploymentAnswer> {
    checkDeployments(request);
    const answer = await this.#reserve(
      request,
      request.candidates.map(({ limits }) => limits),
      undefined,
    );
    const { numbers } = answer;
    if (answer.isReserved) return { isReserved: true, index: answer.candidate, states: statesOf(numbers, 0) };
    let next = 0;
    const retryAfterMs = request.candidates.map(() => {
      const { denials, end } = denialsAt(numbers, next);
      next = end;
      return latest(denials);
    });
    return { isReserved: false, retryAfterMs };
  }

  async adjust(adjustments: readonly Adjustment[]): Promise<readonly AdjustAnswer[]> {
    for (const adjustment of adjustments) checkAdjustment(adjustment);
    return allOf(adjustments.map((adjustment) => this.#adjustOne(adjustment)));
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettlementAnswer[]> {
    for (const settlement of settlements) checkSettlement(settlement);
    return allOf(settlements.map((settlement) => this.#settleOne(settlement)));
  }

  async extend(extension: Extension): Promise<ExtendAnswer> {
    checkExtension(extension);
    const { id, partition, tokens, costNanoUsd } = extension;
    const packed = `${this.#time}\0${tokens}\0${costNanoUsd}\0${id}\0`;
    const [answer] = await this.#withAccounts(id, partition, (names) =>
      this.#runScript(scripts.EXTEND, this.#keys(partition, ["r", ...names]), [packed]),
    );
    return { isExtended: Number(answer) === 1 };
  }

  async heartbeat(owner: string): Promise<HeartbeatAnswer> {
    checkOwner(owner);
    return { liveOwners: Number(await this.#run(scripts.HEARTBEAT, [this.#shared("owners")], [owner])) };
  }

  async sweep(most: number): Promise<readonly ExpiredReservation[]> {
    checkMost(most);
    const [owners, partitions] = listsOf(
      await this.#run(
        scripts.OVERVIEW,
        [this.#shared("owners"), this.#shared("partitions")],
        [String(SWEPT_PARTITIONS)],
      ),
    );
    const aliveUntil = new Map<string, string>();
    for (let at = 0; at < owners.length; at += 2) aliveUntil.set(owners[at] as string, owners[at + 1] as string); // pairs
    const found: ExpiredReservation[] = [];
    for (let at = 0; at < partitions.length && found.length < most; at += SWEPT_TOGETHER) {
      const room = most - found.length;
      const looks = partitions
        .slice(at, at + SWEPT_TOGETHER)
        .map(async (encoded) => this.#sweepPartition(decodeURIComponent(encoded), aliveUntil, room));
      for (const expired of await Promise.all(looks)) found.push(...expired);
    }
    return found.slice(0, most);
  }

  async cooldown(cooldown: SharedCooldown): Promise<CooldownAnswer> {
    checkCooldown(cooldown);
    const { deployment, kind, remainingMs } = cooldown;
    const keys = [this.#shared("epoch"), this.#shared("cooldowns")];
    const epoch = Number(await this.#run(scripts.COOLDOWN, keys, [deployment, kind, String(remainingMs)]));
    this.#epoch = epoch;
    return { cooldownEpoch: epoch };
  }

  async cooldowns(): Promise<readonly SharedCooldown[]> {
    const entries = listOf(await this.#run(scripts.COOLDOWNS, [this.#shared("cooldowns")], []));
    const cooldowns: SharedCooldown[] = [];
    for (let at = 0; at + 2 < entries.length; at += 3) {
      const [deployment = "", kind, remainingMs] = entries.slice(at, at + 3);
      // Another version may have written a kind that this one does not know.
      if (kind !== "open" && kind !== "limited" && kind !== "config") continue;
      cooldowns.push({ deployment, kind, remainingMs: Number(remainingMs) });
    }
    return cooldowns;
  }

  async budgets(partition: string, accounts: readonly BudgetAccount[]): Promise<readonly BudgetState[]> {
    checkBudgets(partition, accounts);
    if (accounts.length === 0) return [];
    const names = accounts.map(({ key, period }) => budgetName(key, period));
    return budgetsOf(numbersOf(await this.#run(scripts.BUDGETS, this.#keys(partition, names), [])), accounts, 0);
  }

  async #reserve(
    request: Reserving,
    candidates: readonly (readonly StoreLimit[])[],
    fingerprint: string | undefined,
  ): Promise<ReserveAnswer> {
    const { id, partition, owner, lifetimeMs, note } = request;
    if (this.#isCluster) await this.#register(partition);
    const start = this.#start(partition);
    const hasHint = fingerprint !== undefined;
    const plan = planOf(candidates, lifetimeMs, owner, note ? JSON.stringify(note) : '""');
    const flags = (hasHint ? 1 : 0) + (this.#isCluster ? 0 : 2);
    const keys = [`${start}r`, `${start}due`];
    if (!this.#isCluster) keys.push(this.#partitions);
    keys.push(`${start}t:${id}`);
    for (const name of plan.names) keys.push(start + name);
    if (hasHint) keys.push(`${start}h:${fingerprint}`);
    if (!this.#isCluster) keys.push(this.#epochKey);
    const answer = await this.#runScript(scripts.RESERVE, keys, [
      `${this.#time}\0${flags}\0${id}\0${this.#isCluster ? "" : encodeURIComponent(partition)}\0${plan.packed}`,
    ]);
    const list: readonly unknown[] = Array.isArray(answer) ? answer : [];
    if (Number(list[0]) !== 1) return { isReserved: false, numbers: list.slice(1).map(Number) };
    const [, candidate, epoch, hint] = list;
    this.#remember(id, plan.charged[Number(candidate)] ?? []);
    return {
      isReserved: true,
      candidate: Number(candidate),
      epoch: Number(epoch),
      hint: String(hint) === "" ? undefined : String(hint),
      numbers: list.slice(4).map(Number),
    };
  }

  async #adjustOne(adjustment: Adjustment): Promise<AdjustAnswer> {
    const { id, partition, requests, tokens, costNanoUsd, note, fingerprint, deployment } = adjustment;
    const hasHint = fingerprint !== undefined && deployment !== undefined;
    const said = note === undefined ? "" : JSON.stringify(note);
    const served = hasHint ? deployment : "";
    const packed = `${this.#time}\0${requests}\0${tokens}\0${costNanoUsd}\0${said}\0${id}\0${served}\0`;
    const fixed = hasHint ? ["r", `h:${fingerprint}`] : ["r"];
    const [answer, names] = await this.#withAccounts(id, partition, (names) =>
      this.#runScript(scripts.ADJUST, this.#keys(partition, [...fixed, ...names]), [packed]),
    );
    const numbers = numbersOf(answer);
    if (numbers[0] !== 1) return { isAdjusted: false, budgets: [] };
    return { isAdjusted: true, budgets: budgetsOf(numbers, budgetAccounts(names), 1) };
  }

  async #settleOne(settlement: Settlement): Promise<SettlementAnswer> {
    const { id, partition, requests, tokens, costNanoUsd, fingerprint, deployment } = settlement;
    const hasHint = fingerprint !== undefined && deployment !== undefined;
    const served = hasHint ? deployment : "";
    const packed = `${this.#time}\0${requests}\0${tokens}\0${costNanoUsd}\0${this.#tombstoneMs}\0${id}\0${served}\0`;
    const fixed = ["r", "due", `t:${id}`, "x"];
    if (hasHint) fixed.push(`h:${fingerprint}`);
    const [answer, names] = await this.#withAccounts(id, partition, (names) =>
      this.#runScript(scripts.SETTLE, this.#keys(partition, [...fixed, ...names]), [packed]),
    );
    this.#accounts.delete(id);
    const numbers = numbersOf(answer);
    const [result, replacedNanoUsd = 0] = numbers;
    if (result !== APPLIED && result !== CORRECTED) {
      return { result: result === DUPLICATE ? "duplicate" : "unknown", replacedNanoUsd: 0, budgets: [] };
    }
    const budgets = budgetsOf(numbers, budgetAccounts(names), 2);
    return { result: result === APPLIED ? "applied" : "corrected", replacedNanoUsd, budgets };
  }

  /**
   * Runs a script that needs the accounts of a reservation. A process that did not make it asks for them first: the
   * script answers with their names where it was given others.
   */
  async #withAccounts(
    id: string,
    partition: string,
    run: (names: readonly string[]) => Promise<unknown>,
  ): Promise<[answer: unknown, names: readonly string[]]> {
    let names = this.#accounts.get(id) ?? [];
    let answer = await run(names);
    let others = otherAccounts(answer);
    if (others !== undefined) {
      names = others;
      answer = await run(names);
      others = otherAccounts(answer);
    }
    if (others !== undefined) throw new Error(`The reservation ${id} of ${partition} cannot be read`);
    return [answer, names];
  }

  #remember(id: string, names: readonly string[]): void {
    this.#accounts.set(id, names);
    if (this.#accounts.size > MAX_REMEMBERED) this.#accounts.deleteOldest();
  }

  async #sweepPartition(
    partition: string,
    aliveUntil: ReadonlyMap<string, string>,
    most: number,
  ): Promise<ExpiredReservation[]> {
    const ends = this.#keys(partition, ["r", "due", "x"]);
    const [due, listed] = listsOf(
      await this.#run(scripts.LOOK, ends, [String(most), ...Array.from(aliveUntil).flat()]),
    );
    const expiring: Promise<ExpiredReservation | undefined>[] = [];
    for (let at = 0; at + 2 < due.length && at < 3 * most; at += 3) {
      const [id = "", owner = "", accounts = ""] = due.slice(at, at + 3);
      const keys = this.#keys(partition, ["r", "due", "x", ...namesOf(accounts)]);
      expiring.push(
        this.#run(scripts.EXPIRE, keys, [id, aliveUntil.get(owner) ?? "0"]).then((answer) =>
          expiredOf(id, partition, listOf(answer)),
        ),
      );
    }
    const found: ExpiredReservation[] = [];
    for (let at = 0; at + 4 < listed.length; at += 5) {
      const [id = "", ...rest] = listed.slice(at, at + 5);
      const expired = expiredOf(id, partition, rest);
      if (expired) found.push(expired);
    }
    for (const expired of await Promise.all(expiring)) if (expired) found.push(expired);
    await this.#planNextLook(partition);
    return found;
  }

  async #planNextLook(partition: string): Promise<void> {
    const encoded = encodeURIComponent(partition);
    const list = this.#shared("partitions");
    const ends = this.#keys(partition, ["due", "x"]);
    if (!this.#isCluster) {
      await this.#runTimeless(scripts.LOOK_AGAIN, [list, ...ends], [encoded]);
      return;
    }
    const left = String(await this.#runTimeless(scripts.LEFT, ends, []));
    await this.#run(
      scripts.LOOK_AGAIN_APART,
      [list, this.#shared("registered")],
      [encoded, left === "0" ? "1" : "0", left === "2" ? "0" : String(this.#lookMs), String(UNREGISTER_MS)],
    );
  }

  /** Before the first reservation in a partition, so that a sweep finds it whatever becomes of this process. */
  async #register(partition: string): Promise<void> {
    const now = this.#clock.now();
    const last = this.#registered.get(partition);
    if (last !== undefined && now - last < REGISTERED_MS) return;
    const keys = [this.#shared("partitions"), this.#shared("registered")];
    await this.#run(scripts.REGISTER, keys, [encodeURIComponent(partition), String(this.#lookMs)]);
    this.#registered.delete(partition);
    this.#registered.set(partition, now);
    for (const [name, at] of this.#registered) {
      if (now - at < REGISTERED_MS) break;
      this.#registered.delete(name);
    }
  }

  /** Beside the decisions, which cannot reach it in a cluster. Where it fails, the next one asks again. */
  #askForEpoch(): void {
    const now = this.#clock.now();
    if (now - this.#epochAskedAtMs < EPOCH_MS) return;
    this.#epochAskedAtMs = now;
    this.#runTimeless(scripts.EPOCH, [this.#shared("epoch")], []).then(
      (epoch) => {
        this.#epoch = Number(epoch);
      },
      () => {},
    );
  }

  #run(script: scripts.Script, keys: string[], values: readonly string[]): Promise<unknown> {
    return this.#runScript(script, keys, [this.#time, ...values]);
  }

  #runTimeless(script: scripts.Script, keys: string[], values: string[]): Promise<unknown> {
    return this.#runScript(script, keys, values);
  }

  /** That of a test; empty: the server's. */
  get #time(): string {
    return this.#now ? String(this.#now()) : "";
  }

  get #partitions(): string {
    return this.#shared("partitions");
  }

  get #epochKey(): string {
    return this.#shared("epoch");
  }

  #shared(name: string): string {
    return `${this.#prefix}{${SHARED}}:${name}`;
  }

  #keys(partition: string, names: readonly string[]): string[] {
    const start = this.#start(partition);
    return names.map((name) => start + name);
  }

  #start(partition: string): string {
    // Encoded: a brace in the name of a partition would end the hash tag.
    return `${this.#prefix}{${encodeURIComponent(partition)}}:`;
  }
}

/** All were sent in one turn, which makes them one pipeline; none is left behind when another fails. */
async function allOf<T>(answers: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(answers);
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

type ReserveAnswer =
  | {
      readonly isReserved: true;
      readonly candidate: number;
      readonly epoch: number;
      readonly hint: string | undefined;
      readonly numbers: readonly number[];
    }
  | { readonly isReserved: false; readonly numbers: readonly number[] };

/** What the script that settles answers first. */
const APPLIED = 1;
const CORRECTED = 2;
const DUPLICATE = 3;

/** The accounts with which a script answers where it was given others than those of the reservation. */
function otherAccounts(answer: unknown): string[] | undefined {
  if (Array.isArray(answer) || typeof answer === "number") return undefined;
  const text = String(answer);
  return text.startsWith("accounts") ? namesOf(text) : undefined;
}

/** After a word, one per line. */
function namesOf(text: string): string[] {
  return text.split("\n").slice(1);
}

function statesOf(numbers: readonly number[], start: number): LimitState[] {
  const states: LimitState[] = [];
  for (let at = start; at + 1 < numbers.length; at += 2) {
    const remaining = numbers[at] as number; // pairs
    states.push({
      remaining: remaining < 0 ? Number.POSITIVE_INFINITY : remaining,
      resetMs: numbers[at + 1] as number,
    });
  }
  return states;
}

/** How many, then three numbers for each. */
function denialsAt(numbers: readonly number[], start: number): { denials: Denial[]; end: number } {
  const end = start + 1 + 3 * (numbers[start] ?? 0);
  const denials: Denial[] = [];
  for (let at = start + 1; at < end; at += 3) {
    const [index, retryAfterMs, isTooLarge] = numbers.slice(at, at + 3) as [number, number, number]; // threes
    denials.push({ index, retryAfterMs: retryAfterMs < 0 ? undefined : retryAfterMs, isTooLarge: isTooLarge === 1 });
  }
  return { denials, end };
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

/** Those of a reservation's accounts that are budgets, in their order. */
function budgetAccounts(names: readonly string[]): BudgetAccount[] {
  return names.map(budgetOfName).filter((account) => account !== undefined);
}

function budgetsOf(numbers: readonly number[], accounts: readonly BudgetAccount[], start: number): BudgetState[] {
  return accounts.map(({ key, period }, at) => ({
    key,
    period,
    spentNanoUsd: numbers[start + 2 * at] ?? 0,
    reservedNanoUsd: numbers[start + 2 * at + 1] ?? 0,
  }));
}

function numbersOf(value: unknown): number[] {
  return Array.isArray(value) ? value.map(Number) : [];
}

/** Tokens, money, owner, note; nothing where it was not over. */
function expiredOf(id: string, partition: string, values: readonly string[]): ExpiredReservation | undefined {
  const [tokens, costNanoUsd, owner, note] = values;
  if (owner === undefined || note === undefined) return undefined;
  return {
    id,
    partition,
    owner,
    tokens: Number(tokens),
    costNanoUsd: Number(costNanoUsd),
    note: String(JSON.parse(note)), // written by `#reserve`
  };
}

/** Redis answers with lists; what they hold is text, or its bytes where the client was told so. */
function listOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function listsOf(value: unknown): [string[], string[]] {
  const lists: readonly unknown[] = Array.isArray(value) ? value : [];
  return [listOf(lists[0]), listOf(lists[1])];
}
