import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../src/internal/random.js";
import { type AccountRequest, Accounts, type AccountsOptions } from "../../../src/limits/accounts.js";
import type { AccountRefusal } from "../../../src/limits/asked-limits.js";
import type { Claim } from "../../../src/limits/claim.js";
import { DeploymentLimits } from "../../../src/limits/deployment-limits.js";
import type { RequestAccount } from "../../../src/limits/request-account.js";
import { type Rule, ruleOf } from "../../../src/limits/rule.js";
import { createMemoryStore, type MemoryStore } from "../../../src/stores/memory-store.js";
import type { Store } from "../../../src/stores/store.js";
import { type VirtualClock, virtualClock } from "../../../src/testing/index.js";
import { advanceUntil } from "../../support/advance-until.js";
import { remoteStore } from "../../support/remote-store.js";

interface Options {
  readonly clock?: VirtualClock;
  readonly store?: (clock: VirtualClock) => Store;
  readonly budgetStore?: (clock: VirtualClock) => Store;
  readonly more?: Partial<AccountsOptions>;
}

function someAccounts({ clock = virtualClock({ turns: 2 }), store: makeStore, budgetStore, more }: Options = {}) {
  const localStore = createMemoryStore({ clock });
  const store = makeStore?.(clock) ?? localStore;
  const warnings: string[] = [];
  const corrected: string[] = [];
  const accounts = new Accounts({
    clock,
    random: seededRandom(7),
    store,
    budgetStore: budgetStore?.(clock) ?? store,
    localStore,
    storeTimeoutMs: 50,
    onWarning: (message) => warnings.push(message),
    onExpired: async (expired) => expired.map((each) => ({ ...each, isKnown: false })),
    onCorrected: (id) => corrected.push(id),
    onCooldowns: () => {},
    ...more,
  });
  let ids = 0;
  const reserve = (rules: readonly Rule[], fields: Partial<AccountRequest> = {}) =>
    accounts.reserve({
      id: `r${ids++}`,
      tenant: "organization:acme",
      rules,
      amounts: { tokens: 10, upperNanoUsd: 100, expectedNanoUsd: 50 },
      lifetimeMs: 60_000,
      ...fields,
    });
  const ask = (rules: readonly Rule[], fields?: Partial<AccountRequest>) => advanceUntil(clock, reserve(rules, fields));
  const admitted = async (rules: readonly Rule[], fields?: Partial<AccountRequest>): Promise<RequestAccount> => {
    const answer = await ask(rules, fields);
    if (!answer.isReserved) throw new Error(`refused by ${answer.rule.key}: ${answer.cause}`);
    return answer;
  };
  const refused = async (rules: readonly Rule[], fields?: Partial<AccountRequest>): Promise<AccountRefusal> => {
    const answer = await ask(rules, fields);
    if (answer.isReserved) throw new Error("it was admitted");
    return answer;
  };
  return { clock, accounts, localStore, warnings, corrected, reserve, ask, admitted, refused };
}

const rule = (claim: Claim, isShared = false) => ruleOf(claim, `scope of ${claim.key}`, isShared);
const budget = (limitUsd: number, more: Partial<Extract<Claim, { kind: "budget" }>> = {}) =>
  rule({ kind: "budget", key: "b", limitUsd, ...more });
const parallel = (limit: number, more: Partial<Extract<Claim, { kind: "parallel" }>> = {}) =>
  rule({ kind: "parallel", key: "p", limit, ...more });
const requests = (limit: number, more: Partial<Extract<Claim, { kind: "requests" | "tokens" }>> = {}) =>
  rule({ kind: "requests", key: "q", limit, ...more });

const isBudget = (each: Rule) => each.kind === "budget";

/** In a cluster ids are a partition's own; the memory that stands for it has one list. */
function shardedStore(clock: VirtualClock) {
  const store = remoteStore({ clock, isSharded: true });
  const { admit, settle } = store.memory;
  store.memory.admit = (request) => admit.call(store.memory, { ...request, id: `${request.partition}/${request.id}` });
  store.memory.settle = (all) =>
    settle.call(
      store.memory,
      all.map((each) => ({ ...each, id: `${each.partition}/${each.id}` })),
    );
  return store;
}

const NANO = 1e-9;
const USED = { isAttempted: true, tokens: 7, costNanoUsd: 70 };
const UNUSED = { isAttempted: false, tokens: 0, costNanoUsd: 0 };
const spentIn = (store: MemoryStore, partition = "all", key = "budget:b") => {
  const [state] = store.budgets(partition, [{ key, period: "total" }]);
  return [state?.spentNanoUsd, state?.reservedNanoUsd];
};

describe("accounts in memory", () => {
  it("decides at once", () => {
    const { reserve, accounts } = someAccounts();
    const account = reserve([budget(150 * NANO), parallel(2)]) as RequestAccount;
    expect(account.isReserved).toBe(true);
    expect(accounts.view()).toMatchObject({ open: 1, unsettled: 0 });
    expect(reserve([budget(150 * NANO), parallel(2)])).toMatchObject({
      isReserved: false,
      cause: "no-room",
      retryAfterMs: undefined,
      rule: { kind: "budget", scope: "scope of b" },
    });
    account.end(USED);
    account.end(USED);
    expect(accounts.view().open).toBe(0);
  });

  it("R11: all or none: a refused request holds nothing of the limits that had room", () => {
    const { reserve, localStore } = someAccounts();
    expect(reserve([budget(1), parallel(1), budget(50 * NANO, { key: "small" })])).toMatchObject({
      cause: "never-fits",
    });
    expect(spentIn(localStore)).toEqual([0, 0]);
    expect(reserve([parallel(1)])).toMatchObject({ isReserved: true });
  });

  it("names the limit that keeps the request out the longest, and what is left of each", () => {
    const { reserve } = someAccounts();
    const rules = [requests(1), requests(1, { key: "day", windowMs: 86_400_000 }), parallel(1)];
    reserve(rules);
    const refusal = reserve(rules) as AccountRefusal;
    expect(refusal).toMatchObject({ isReserved: false, cause: "no-room", rule: { key: "requests:day" } });
    expect(refusal.retryAfterMs).toBeGreaterThan(79_000_000);
    expect(refusal.states.map(({ state }) => state.remaining)).toEqual([0, 0, 0]);
  });

  it("says that a request never fits", () => {
    const { reserve } = someAccounts();
    expect(reserve([rule({ kind: "tokens", key: "t", limit: 9 })])).toMatchObject({
      cause: "never-fits",
      retryAfterMs: undefined,
    });
  });

  it("extends what is reserved while there is room", async () => {
    const { admitted, localStore } = someAccounts();
    const account = await admitted([budget(150 * NANO)]);
    expect(await account.extend(0, 50)).toBe(true);
    expect(await account.extend(0, 1)).toBe(false);
    expect(spentIn(localStore)).toEqual([0, 150]);
    account.end(USED);
    expect(await account.extend(0, 1)).toBe(false);
    expect(spentIn(localStore)).toEqual([70, 0]);
  });

  it("asks a store of its own that answers later once, and ends what it reserved once", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = { ...remoteStore({ clock }), isShared: false };
    const settled: string[] = [];
    const { settle } = store;
    store.settle = (all) => {
      settled.push(...all.map(({ id }) => id));
      return settle(all);
    };
    const { admitted, refused } = someAccounts({ clock, store: () => store });
    const account = await admitted([budget(150 * NANO)]);
    expect(store.calls.admit).toBe(1);
    await refused([budget(150 * NANO)]);
    expect(store.calls.admit).toBe(2);
    account.end(USED);
    await clock.advance(1_000);
    expect([settled, spentIn(store.memory)]).toEqual([["r0"], [70, 0]]);
  });

  it("R14: goes by each policy where a store of its own fails, at once or later", async () => {
    const clock = virtualClock({ turns: 2 });
    const failsAtOnce = createMemoryStore({ clock });
    failsAtOnce.admit = failsAtOnce.settle = () => {
      throw new Error("The disk is full.");
    };
    const remote = remoteStore({ clock });
    remote.fault = () => "refused";
    for (const store of [failsAtOnce, { ...remote, isShared: false }]) {
      const { refused, admitted } = someAccounts({ clock, store: () => store });
      expect(await refused([budget(1)])).toMatchObject({ cause: "store-unavailable" });
      (await admitted([requests(5)])).end(USED);
    }
  });

  it("R18: takes sums that no store would take as the most that it takes", () => {
    const { reserve, localStore, accounts } = someAccounts();
    const account = reserve([budget(1)]) as RequestAccount;
    account.end({ isAttempted: true, tokens: 1, costNanoUsd: 2 * Number.MAX_SAFE_INTEGER });
    expect(spentIn(localStore)).toEqual([Number.MAX_SAFE_INTEGER, 0]);
    expect(accounts.view().open).toBe(0);
  });

  it("warns of soft budgets, and refuses nothing for them", () => {
    const { reserve, warnings } = someAccounts();
    const soft = budget(100 * NANO, { isHard: false });
    for (let request = 0; request < 4; request++) {
      (reserve([soft]) as RequestAccount).end({ ...USED, costNanoUsd: 40 });
    }
    expect(warnings).toHaveLength(2);
    expect(warnings[1]).toContain("has reached 100 %");
  });
});

describe("accounts in a shared store", () => {
  it("asks once per decision, and settles behind the request's back", async () => {
    const shared = remoteStore({ clock: virtualClock() });
    const clock = virtualClock({ turns: 2 });
    const store = remoteStore({ clock, memory: createMemoryStore({ clock }) });
    const { accounts, admitted } = someAccounts({ clock, store: () => store });
    expect(shared.calls.admit).toBe(0);
    const account = await admitted([budget(1), parallel(5), requests(5)]);
    expect(store.calls.admit).toBe(1);
    account.end(USED);
    expect(accounts.view()).toMatchObject({ open: 0, unsettled: 1 });
    await clock.advance(250);
    expect([store.calls.settle, accounts.view().unsettled, spentIn(store.memory)]).toEqual([1, 0, [70, 0]]);
  });

  it("keeps a tenant's accounts together in a sharded store, and shared ones elsewhere", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = shardedStore(clock);
    const { admitted, refused } = someAccounts({ clock, store: () => store });
    const mine = budget(1);
    const everybodys = rule({ kind: "budget", key: "all", limitUsd: 150 * NANO }, true);
    const admits = store.calls.admit;
    const account = await admitted([mine, everybodys]);
    expect(store.calls.admit - admits).toBe(2);
    expect(spentIn(store.memory, "organization:acme")).toEqual([0, 100]);
    expect(spentIn(store.memory, "all", "budget:all")).toEqual([0, 100]);
    await refused([mine, everybodys]);
    account.end(USED);
    await clock.advance(250);
    expect(spentIn(store.memory, "organization:acme")).toEqual([70, 0]);
    expect(spentIn(store.memory, "all", "budget:all")).toEqual([70, 0]);
  });

  it("R1, R27: says once what a request was whose accounts are in two partitions: where it first reserved money", async () => {
    const cases = [
      { own: [requests(9)], shared: 100, noted: "all" },
      { own: [budget(1)], shared: 100, noted: "organization:acme" },
      // Also where it is less: a process may die before it comes to the other one.
      { own: [budget(1, { reserve: "expected" })], shared: 100, noted: "organization:acme" },
      { own: [budget(1)], shared: 0, noted: "organization:acme" },
    ];
    for (const { own, shared, noted } of cases) {
      const clock = virtualClock({ turns: 2 });
      const store = shardedStore(clock);
      const notes = new Map<string, string | undefined>();
      const { admit } = store.memory;
      store.memory.admit = (request) => {
        notes.set(request.partition, request.note);
        return admit.call(store.memory, request);
      };
      const { admitted } = someAccounts({ clock, store: () => store });
      const everybodys: Claim =
        shared > 0 ? { kind: "budget", key: "all", limitUsd: 1 } : { kind: "requests", key: "all", limit: 9 };
      await admitted([...own, rule(everybodys, true)], { note: "what it was" });
      const other = noted === "all" ? "organization:acme" : "all";
      expect(Object.fromEntries(notes)).toEqual({ [noted]: "what it was", [other]: undefined });
    }
  });

  it("keeps drawn parts of tenants' budgets in their partitions of a sharded store, and shared ones elsewhere", async () => {
    const clock = virtualClock({ turns: 2 });
    const budgetStore = shardedStore(clock);
    const { admitted, accounts } = someAccounts({ clock, budgetStore: () => budgetStore });
    const mine = budget(300 * NANO);
    const everybodys = rule({ kind: "budget", key: "all", limitUsd: 500 * NANO }, true);
    const first = await admitted([mine, everybodys]);
    const second = await admitted([mine, everybodys], { tenant: "organization:other" });
    expect(spentIn(budgetStore.memory, "organization:acme")).toEqual([0, 100]);
    expect(spentIn(budgetStore.memory, "organization:other")).toEqual([0, 100]);
    expect(spentIn(budgetStore.memory, "all", "budget:all")).toEqual([0, 200]);
    const states = advanceUntil(clock, accounts.budgets([mine, everybodys].filter(isBudget), "organization:acme"));
    expect(await states).toMatchObject([{ reservedNanoUsd: 100 }, { reservedNanoUsd: 200 }]);
    for (const account of [first, second]) account.end(USED);
    await clock.advance(10_000);
    expect(spentIn(budgetStore.memory, "organization:acme")).toEqual([70, 0]);
    expect(spentIn(budgetStore.memory, "organization:other")).toEqual([70, 0]);
    expect(spentIn(budgetStore.memory, "all", "budget:all")).toEqual([140, 0]);
    await accounts.close(1_000);
  });

  it("R3: gives back what the store reserved although nobody heard of it", async () => {
    for (const fault of ["lost", "late-answer", "late"] as const) {
      const clock = virtualClock({ turns: 2 });
      const store = remoteStore({ clock });
      const { accounts, refused } = someAccounts({ clock, store: () => store });
      store.fault = (operation) => (operation === "admit" ? fault : "none");
      expect(await refused([budget(1)])).toMatchObject({ cause: "store-unavailable" });
      await clock.advance(30_000);
      expect([fault, spentIn(store.memory), store.memory.view().openReservations]).toEqual([fault, [0, 0], 0]);
      expect(accounts.view()).toMatchObject({ open: 0, unsettled: 0 });
    }
  });

  it("tells the ledger's keeper of a settlement that came after others had charged", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = remoteStore({ clock });
    const { corrected, admitted } = someAccounts({ clock, store: () => store });
    const account = await admitted([budget(1)], { lifetimeMs: 1_000 });
    // The owner sends no heartbeat: it is taken for dead.
    await clock.advance(62_000);
    expect(store.memory.sweep(100)).toHaveLength(1);
    account.end(USED);
    await clock.advance(250);
    expect([corrected, spentIn(store.memory)]).toEqual([["r0"], [70, 0]]);
    const other = await admitted([budget(1)], { lifetimeMs: 1_000 });
    await clock.advance(62_000);
    const [expired] = store.memory.sweep(100);
    store.memory.settle([{ id: expired?.id ?? "", partition: "all", requests: 1, tokens: 0, costNanoUsd: 100 }]);
    other.end(USED);
    await clock.advance(250);
    expect(corrected).toEqual(["r0", "r1"]);
  });

  it("R12: adjusted, a request holds what it used and no more, until it is ended", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = remoteStore({ clock });
    const { accounts, admitted } = someAccounts({ clock, store: () => store });
    const account = await admitted([budget(1), parallel(1), budget(1, { key: "soft", isHard: false })]);
    account.adjust(USED);
    account.adjust({ ...USED, costNanoUsd: 99 });
    expect(accounts.view()).toMatchObject({ open: 0, unsettled: 1 });
    expect(await account.extend(0, 1)).toBe(false);
    await clock.advance(250);
    expect([store.calls.adjust, store.calls.settle, accounts.view().unsettled]).toEqual([1, 0, 0]);
    expect([spentIn(store.memory), spentIn(store.memory, "all", "budget:soft")]).toEqual([
      [0, 70],
      [0, 70],
    ]);
    // Its slot is free.
    const next = await admitted([parallel(1)]);
    next.end(UNUSED);
    account.end(USED);
    account.end(USED);
    account.adjust(USED);
    await clock.advance(250);
    expect([spentIn(store.memory), spentIn(store.memory, "all", "budget:soft")]).toEqual([
      [70, 0],
      [70, 0],
    ]);
    expect([accounts.view().open, store.memory.view().openReservations]).toEqual([0, 0]);
  });

  it("R12: what this process counts itself is ended at once: in memory, in drawn parts, in the journal, in its share", async () => {
    const clock = virtualClock({ turns: 2 });
    const inMemory = someAccounts({ clock });
    const account = await inMemory.admitted([budget(1), parallel(1)]);
    account.adjust(USED);
    expect([spentIn(inMemory.localStore), inMemory.localStore.view().openReservations]).toEqual([[70, 0], 0]);
    account.end(USED);
    expect(spentIn(inMemory.localStore)).toEqual([70, 0]);
    expect(inMemory.corrected).toEqual([]);

    const budgetStore = remoteStore({ clock });
    const apart = someAccounts({
      clock,
      store: (each) => remoteStore({ clock: each }),
      budgetStore: () => budgetStore,
    });
    // Two requests' worth of it: the second takes what the first did not use.
    const drawn = await apart.admitted([budget(170 * NANO)]);
    drawn.adjust(USED);
    const second = await apart.admitted([budget(170 * NANO)]);
    for (const each of [drawn, second]) each.end(USED);
    await clock.advance(10_000);
    expect(spentIn(budgetStore.memory)).toEqual([140, 0]);

    const away = remoteStore({ clock });
    away.fault = () => "refused";
    const without = someAccounts({ clock, store: () => away });
    const rules = [budget(100_000 * NANO, { onStoreFailure: "grace" }), parallel(2)];
    const journaled = await without.admitted(rules);
    journaled.adjust(USED);
    expect(without.localStore.view().openReservations).toBe(0);
    journaled.end(USED);
    away.fault = () => "none";
    await clock.advance(10_000);
    expect(spentIn(away.memory)).toEqual([70, 0]);
  });

  it("R27: says what a request used in each of its reservations, for either may be all that somebody finds", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = shardedStore(clock);
    const notes = new Map<string, string | undefined>();
    const { adjust } = store.memory;
    store.memory.adjust = (adjustments) => {
      for (const { partition, note } of adjustments) notes.set(partition, note);
      return adjust.call(
        store.memory,
        adjustments.map((each) => ({ ...each, id: `${each.partition}/${each.id}` })),
      );
    };
    const { admitted } = someAccounts({ clock, store: () => store });
    const everybodys = rule({ kind: "budget", key: "all", limitUsd: 1 }, true);
    const account = await admitted([budget(1), everybodys], { note: "whose it was" });
    account.adjust(USED, "what it used");
    await clock.advance(250);
    expect(Object.fromEntries(notes)).toEqual({ "organization:acme": "what it used", all: "what it used" });
    expect(spentIn(store.memory, "organization:acme")).toEqual([0, 70]);
    expect(spentIn(store.memory, "all", "budget:all")).toEqual([0, 70]);
    account.end(USED);
    await clock.advance(250);
    expect(spentIn(store.memory, "organization:acme")).toEqual([70, 0]);
    expect(spentIn(store.memory, "all", "budget:all")).toEqual([70, 0]);
  });

  it("R11: rules that name one account of a budget kept apart charge it once, within the smallest limit", async () => {
    const clock = virtualClock({ turns: 2 });
    const [store, budgets] = [remoteStore({ clock }), remoteStore({ clock })];
    const { admitted, refused } = someAccounts({ clock, store: () => store, budgetStore: () => budgets });
    const rules = [budget(1), budget(250 * NANO, { reserve: "expected" }), budget(250 * NANO)];
    const open = [await admitted(rules), await admitted(rules)];
    expect(spentIn(budgets.memory)).toEqual([0, 200]);
    expect(await refused(rules)).toMatchObject({ cause: "no-room", rule: { limitNanoUsd: 250 } });
    for (const account of open) account.end(USED);
    await clock.advance(10_000);
    expect(spentIn(budgets.memory)).toEqual([140, 0]);
  });

  it("an extension that a later part refuses is not taken again of the parts that gave it", async () => {
    const clock = virtualClock({ turns: 2 });
    const [store, budgets] = [remoteStore({ clock }), remoteStore({ clock })];
    const { admitted } = someAccounts({ clock, store: () => store, budgetStore: () => budgets });
    const account = await admitted([budget(1_000 * NANO), rule({ kind: "tokens", key: "t", limit: 100 })]);
    for (let attempt = 0; attempt < 5; attempt++) expect(await account.extend(95, 50)).toBe(false);
    expect(await account.extend(10, 20)).toBe(true);
    // What was given and refused elsewhere serves the next extensions.
    expect(spentIn(budgets.memory)[1]).toBeLessThan(400);
    expect(await account.extend(10, 30)).toBe(true);
    expect(await account.extend(0, 750)).toBe(true);
    expect(await account.extend(0, 101)).toBe(false);
    account.end(UNUSED);
    await clock.advance(10_000);
    expect(spentIn(budgets.memory)).toEqual([0, 0]);
  });

  it("R14: without their store, limits that let requests through let them grow, and others do not", async () => {
    const clock = virtualClock({ turns: 2 });
    const [store, budgets] = [remoteStore({ clock }), remoteStore({ clock })];
    const { admitted } = someAccounts({ clock, store: () => store, budgetStore: () => budgets });
    const lenient = await admitted([budget(1), requests(5), parallel(5, { onStoreFailure: "open" })]);
    const strict = await admitted([budget(1), requests(5, { onStoreFailure: "closed" })]);
    store.fault = () => "refused";
    expect(await lenient.extend(5, 5)).toBe(true);
    expect(await strict.extend(5, 5)).toBe(false);
    budgets.fault = () => "refused";
    expect(await lenient.extend(5, 1e9)).toBe(false);
  });

  it("R8: what ends after close is settled, or tried once, without timers", async () => {
    for (const isAway of [false, true]) {
      const clock = virtualClock({ turns: 2 });
      const [store, budgets] = [remoteStore({ clock }), remoteStore({ clock })];
      const { accounts, admitted } = someAccounts({ clock, store: () => store, budgetStore: () => budgets });
      const account = await admitted([budget(1), requests(5)]);
      budgets.fault = () => "refused";
      await clock.advance(10_000);
      const graceful = await admitted([budget(1_000, { key: "g", onStoreFailure: "grace" })]);
      budgets.fault = () => "none";
      await clock.advance(10_000);
      await advanceUntil(clock, accounts.close(1_000));
      store.fault = budgets.fault = () => (isAway ? "refused" : "none");
      account.end(USED);
      graceful.end(USED);
      await clock.advance(100);
      expect(clock.pendingTimers).toBe(0);
      const spent = isAway ? 0 : 70;
      expect([spentIn(budgets.memory)[0], spentIn(budgets.memory, "all", "budget:g")[0]]).toEqual([spent, spent]);
    }
  });

  it("R8: close settles what waits, and leaves no timers", async () => {
    const clock = virtualClock({ turns: 2 });
    const [store, budgets] = [remoteStore({ clock, name: "one" }), remoteStore({ clock, name: "other" })];
    const { accounts, admitted } = someAccounts({ clock, store: () => store, budgetStore: () => budgets });
    accounts.start();
    (await admitted([budget(1), requests(5)])).end(USED);
    await advanceUntil(clock, accounts.close(5_000));
    expect([accounts.view().unsettled, spentIn(budgets.memory)]).toEqual([0, [70, 0]]);
    await clock.advance(10_000);
    expect(clock.pendingTimers).toBe(0);
    expect(accounts.view().stores).toEqual([
      { name: "one", holds: "limits", breaker: "closed" },
      { name: "other", holds: "budgets", breaker: "closed" },
    ]);
  });

  it("says when settlements never reached their store", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = remoteStore({ clock });
    const { accounts, admitted, warnings } = someAccounts({ clock, store: () => store });
    const account = await admitted([budget(1)]);
    store.fault = () => "hanging";
    account.end(USED);
    await advanceUntil(clock, accounts.close(5_000));
    expect(warnings.at(-1)).toContain("Some settlements did not reach their store");
  });
});

describe("accounts while a store is away (R14)", () => {
  const away = (clock: VirtualClock) => {
    const store = remoteStore({ clock });
    store.fault = () => "refused";
    return store;
  };

  it("closed: refuses, and says when to come again", async () => {
    const { refused } = someAccounts({ store: away });
    for (const each of [budget(1), parallel(5, { onStoreFailure: "closed" })]) {
      expect(await refused([requests(5), each])).toMatchObject({
        cause: "store-unavailable",
        rule: { key: each.key },
        retryAfterMs: 1_000,
      });
    }
  });

  it("local-share: each process lets its part of the limit through", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = remoteStore({ clock });
    for (const other of ["a", "b", "c"]) store.memory.heartbeat(other);
    const { accounts, admitted, refused, warnings } = someAccounts({ clock, store: () => store });
    accounts.start();
    await clock.advance(1_000);
    expect(accounts.liveProcesses).toBe(4);
    store.fault = () => "refused";
    const open = [await admitted([requests(10), parallel(9)]), await admitted([requests(10), parallel(9)])];
    expect(await refused([requests(10), parallel(9)])).toMatchObject({ cause: "no-room" });
    for (const account of open) account.end(USED);
    expect(await refused([requests(10)])).toMatchObject({ cause: "no-room" });
    expect((await admitted([parallel(9)])).isReserved).toBe(true);
    expect(warnings.filter((warning) => warning.includes("does not answer"))).toHaveLength(1);
    await advanceUntil(clock, accounts.close(0));
  });

  it("open: lets everything through", async () => {
    const { admitted, accounts } = someAccounts({ store: away });
    const rules = [parallel(1, { onStoreFailure: "open" }), budget(1 * NANO, { onStoreFailure: "open" })];
    const open = await Promise.all([admitted(rules), admitted(rules), admitted(rules)]);
    for (const account of open) account.end(UNUSED);
    expect(accounts.view().open).toBe(0);
  });

  it("grace: allows 0.5 % of the budget, and charges it in the budget's own account when the store is back", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = away(clock);
    const { accounts, admitted, refused } = someAccounts({ clock, store: () => store });
    const graceful = budget(64_000 * NANO, { onStoreFailure: "grace" });
    const open = [await admitted([graceful]), await admitted([graceful]), await admitted([graceful])];
    expect(await refused([graceful])).toMatchObject({ cause: "store-unavailable" });
    expect(await open[0]?.extend(0, 20)).toBe(true);
    expect(await open[0]?.extend(0, 1)).toBe(false);
    for (const account of open) account.end(USED);
    expect((await admitted([graceful])).isReserved).toBe(true);
    store.fault = () => "none";
    await clock.advance(10_000);
    expect(spentIn(store.memory)).toEqual([210, 0]);
    expect(accounts.view().unsettled).toBe(1); // what is still under way
  });

  it("grace: rules that name one account charge it once, within the smallest allowance", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = away(clock);
    const { admitted, refused } = someAccounts({ clock, store: () => store });
    const grace = (limitNanoUsd: number) => budget(limitNanoUsd * NANO, { onStoreFailure: "grace" });
    const rules = [grace(1_000_000), grace(40_000)];
    const open = [await admitted(rules), await admitted(rules)];
    expect(await refused(rules)).toMatchObject({ cause: "store-unavailable" });
    for (const account of open) account.end(USED);
    store.fault = () => "none";
    await clock.advance(10_000);
    expect(spentIn(store.memory)).toEqual([140, 0]);
  });

  it("soft budgets are counted, and told when the store is back", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = away(clock);
    const { admitted, accounts } = someAccounts({ clock, store: () => store });
    const soft = budget(1 * NANO, { isHard: false });
    for (let request = 0; request < 3; request++) (await admitted([soft])).end(USED);
    store.fault = () => "none";
    await clock.advance(10_000);
    expect([spentIn(store.memory), accounts.view().unsettled]).toEqual([[210, 0], 0]);
  });

  it("F8: costs one timeout at most, then nothing, and the settlements of others are not pushed out", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = remoteStore({ clock });
    store.fault = () => "hanging";
    const { accounts, reserve } = someAccounts({ clock, store: () => store });
    const waits: number[] = [];
    for (let burst = 0; burst < 20; burst++) {
      const startedAt = clock.now();
      const answers = Array.from({ length: 20 }, async () => {
        await reserve([requests(1_000)]);
        waits.push(clock.now() - startedAt);
      });
      await advanceUntil(clock, Promise.all(answers));
      const limits = new DeploymentLimits({ id: "d", rpm: 1_000, tpm: undefined, sharedParallel: undefined });
      const ask = { group: "g", candidates: [limits], tokens: 1, lifetimeMs: 1_000 };
      for (let at = 0; at < 20; at++)
        await advanceUntil(clock, accounts.reserveDeployment({ ...ask, id: `${burst}#${at}` }));
    }
    expect(Math.max(...waits)).toBeLessThanOrEqual(51);
    // Only for what the store was asked, it hears that nobody wants it.
    expect(accounts.view().unsettled).toBeLessThanOrEqual(60);
    await advanceUntil(clock, accounts.close(0));
  });
});

describe("limits of deployments in a shared store", () => {
  const limits = (id: string, rpm: number) =>
    new DeploymentLimits({ id, rpm, tpm: undefined, sharedParallel: undefined });

  it("reserves the first that has room, and tells the others that they are full", async () => {
    const clock = virtualClock({ turns: 2 });
    const store = remoteStore({ clock });
    const { accounts } = someAccounts({ clock, store: () => store });
    const candidates = [limits("a", 1), limits("b", 2)];
    const ask = (id: string) =>
      advanceUntil(clock, accounts.reserveDeployment({ id, group: "g", candidates, tokens: 1, lifetimeMs: 1_000 }));
    const taken = [await ask("1"), await ask("2"), await ask("3")];
    expect(taken).toMatchObject([{ index: 0 }, { index: 1 }, { index: 1 }]);
    expect(await ask("4")).toEqual({ isReserved: false });
    expect(candidates.map((each) => each.hasRoom(1, clock.now()))).toEqual([false, false]);
    expect(accounts.view().open).toBe(3);
    for (const each of taken) if (each.isReserved) each.end(false, 0);
    await clock.advance(250);
    expect(accounts.view()).toMatchObject({ open: 0, unsettled: 0 });
    expect(await ask("5")).toMatchObject({ index: 0 });
  });

  it("a question that cannot be asked says nothing about the store", async () => {
    const clock = virtualClock({ turns: 2 });
    const { accounts } = someAccounts({ clock, store: () => remoteStore({ clock }) });
    const candidates = [undefined as never]; // what the types forbid
    for (let at = 0; at < 3; at++) {
      const asking = accounts.reserveDeployment({ id: `${at}`, group: "g", candidates, tokens: 1, lifetimeMs: 1_000 });
      await expect(asking).rejects.toThrow(TypeError);
    }
    expect(accounts.view()).toMatchObject({ open: 0, unsettled: 0, stores: [{ breaker: "closed" }] });
  });

  it("R3: gives back what was reserved although nobody heard of it", async () => {
    for (const fault of ["lost", "late-answer", "late"] as const) {
      const clock = virtualClock({ turns: 2 });
      const store = remoteStore({ clock });
      const { accounts } = someAccounts({ clock, store: () => store });
      store.fault = (operation) => (operation === "reserveDeployment" ? fault : "none");
      const asking = accounts.reserveDeployment({
        id: "1",
        group: "g",
        candidates: [limits("a", 1)],
        tokens: 1,
        lifetimeMs: 1_000,
      });
      // R14: its own share is let through.
      expect(await advanceUntil(clock, asking)).toMatchObject({ isReserved: true });
      await clock.advance(30_000);
      expect([fault, store.memory.view().openReservations, accounts.view().unsettled]).toEqual([fault, 0, 0]);
    }
  });
});
