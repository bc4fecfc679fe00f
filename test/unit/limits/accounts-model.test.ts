import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../src/internal/random.js";
import { Accounts } from "../../../src/limits/accounts.js";
import type { Claim } from "../../../src/limits/claim.js";
import type { RequestAccount } from "../../../src/limits/request-account.js";
import { type Rule, ruleOf } from "../../../src/limits/rule.js";
import { createMemoryStore, type MemoryStore } from "../../../src/stores/memory-store.js";
import type { Store } from "../../../src/stores/store.js";
import { virtualClock } from "../../../src/testing/index.js";
import { type RemoteStore, remoteStore, type StoreFault } from "../../support/remote-store.js";

const UNIT = 100;
const NANO = 1e-9;

/** Three budgets, two caps and two windows; a request names some of them. */
const CLAIMS: readonly Claim[] = [
  { kind: "budget", key: "organization", limitUsd: 1_550 * NANO },
  { kind: "budget", key: "team", limitUsd: 830 * NANO },
  { kind: "budget", key: "key", limitUsd: 400 * NANO },
  { kind: "parallel", key: "team", limit: 4 },
  { kind: "parallel", key: "key", limit: 2 },
  { kind: "requests", key: "team", limit: 6 },
  { kind: "requests", key: "key", limit: 3, isStrict: true },
];
const RULES = CLAIMS.map((claim) => ruleOf(claim, claim.key, false));

type Step =
  | { readonly kind: "ask"; readonly rules: readonly number[]; readonly cost: number }
  | { readonly kind: "end"; readonly which: number; readonly share: number; readonly isAttempted: boolean }
  | { readonly kind: "extend"; readonly which: number; readonly cost: number }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "wall"; readonly ms: number };

const steps = (maxWaitMs: number, maxStepMs: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant("ask" as const),
          rules: fc.uniqueArray(fc.integer({ min: 0, max: RULES.length - 1 }), { minLength: 1 }),
          cost: fc.integer({ min: 0, max: 2 * UNIT }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant("end" as const),
          which: fc.nat(20),
          share: fc.double({ min: 0, max: 1, noNaN: true }),
          isAttempted: fc.boolean(),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant("extend" as const), which: fc.nat(20), cost: fc.nat(UNIT) }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(maxWaitMs) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("wall" as const),
          ms: fc.integer({ min: -maxStepMs, max: maxStepMs }),
        }),
      },
    ),
    { minLength: 5, maxLength: 60 },
  );

interface Open {
  readonly account: RequestAccount;
  readonly rules: readonly Rule[];
  held: number;
}

/** What budgets and caps should hold, and when windows let requests through. */
class Model {
  readonly spent = new Map<string, number>();
  readonly admittedAt = new Map<string, number[]>();
  readonly open: Open[] = [];

  held(key: string): number {
    return this.open.reduce((sum, { rules, held }) => sum + (rules.some((rule) => rule.key === key) ? held : 0), 0);
  }

  running(key: string): number {
    return this.open.filter(({ rules }) => rules.some((rule) => rule.key === key)).length;
  }

  /** Of budgets and caps: their state alone decides. */
  hasRoom(rules: readonly Rule[], cost: number): boolean {
    return rules.every((rule) => {
      if (rule.kind === "parallel") return this.running(rule.key) < rule.limit;
      if (rule.kind !== "budget") return true;
      return (this.spent.get(rule.key) ?? 0) + this.held(rule.key) + cost <= rule.limitNanoUsd;
    });
  }

  end({ rules }: Open, cost: number): void {
    for (const { kind, key } of rules) if (kind === "budget") this.spent.set(key, (this.spent.get(key) ?? 0) + cost);
  }
}

const budgetsOf = (store: MemoryStore) =>
  RULES.filter(({ kind }) => kind === "budget").map((rule) => {
    const [state] = store.budgets("all", [{ key: rule.key, period: "total" }]);
    return { rule, spent: state?.spentNanoUsd ?? 0, reserved: state?.reservedNanoUsd ?? 0 };
  });

function accountsOf(clock: ReturnType<typeof virtualClock>, store: Store, budgetStore: Store, localStore: Store) {
  return new Accounts({
    clock,
    random: seededRandom(1),
    store,
    budgetStore,
    localStore,
    storeTimeoutMs: 50,
    onWarning: () => {},
    onExpired: async (expired) => expired.map((each) => ({ ...each, isKnown: false })),
    onCorrected: () => {},
    onCooldowns: () => {},
  });
}

describe("limits and budgets, whatever happens", () => {
  it("F14: decide as a simple model does (routing invariants 13 and 14)", async () => {
    await fc.assert(
      fc.asyncProperty(steps(40_000, 30_000), async (history) => {
        const clock = virtualClock({ turns: 1 });
        const store = createMemoryStore({ clock });
        const accounts = accountsOf(clock, store, store, store);
        const model = new Model();
        let id = 0;
        let hasStepped = false;
        for (const step of history) {
          if (step.kind === "wait") await clock.advance(step.ms);
          else if (step.kind === "wall") {
            clock.stepWall(step.ms);
            hasStepped = true;
          } else if (step.kind === "ask") {
            const rules = step.rules.map((index) => RULES[index] as Rule);
            const { cost } = step;
            const amounts = { tokens: 1, upperNanoUsd: cost, expectedNanoUsd: 0 };
            const request = { id: `r${id++}`, tenant: undefined, rules, amounts, lifetimeMs: 3_600_000 };
            const answer = await accounts.reserve(request);
            if (!model.hasRoom(rules, cost)) expect(answer.isReserved).toBe(false);
            else if (!answer.isReserved) expect(["requests", "tokens"]).toContain(answer.rule.kind);
            if (!answer.isReserved) continue;
            model.open.push({ account: answer, rules, held: cost });
            for (const { kind, key } of rules) {
              if (kind === "requests") model.admittedAt.set(key, [...(model.admittedAt.get(key) ?? []), clock.now()]);
            }
          } else {
            const open = model.open[step.which % Math.max(1, model.open.length)];
            if (!open) continue;
            if (step.kind === "extend") {
              const budgets = open.rules.filter(({ kind }) => kind === "budget");
              const room = budgets.every(
                (rule) =>
                  rule.kind === "budget" &&
                  (model.spent.get(rule.key) ?? 0) + model.held(rule.key) + step.cost <= rule.limitNanoUsd,
              );
              expect(await open.account.extend(0, step.cost)).toBe(room);
              if (room) open.held += step.cost;
              continue;
            }
            const cost = step.isAttempted ? Math.floor(open.held * step.share) : 0;
            open.account.end({ isAttempted: true, tokens: 1, costNanoUsd: cost });
            open.account.end({ isAttempted: true, tokens: 1, costNanoUsd: 9 * UNIT });
            model.open.splice(model.open.indexOf(open), 1);
            model.end(open, cost);
          }
          for (const { rule, spent, reserved } of budgetsOf(store)) {
            expect([rule.key, spent, reserved]).toEqual([
              rule.key,
              model.spent.get(rule.key) ?? 0,
              model.held(rule.key),
            ]);
          }
          expect(accounts.view().open).toBe(model.open.length);
        }
        // R19: a step of the wall clock may grant one window more; without steps none of 11/12 of a minute is exceeded.
        for (const rule of RULES) {
          if (rule.kind !== "requests" || hasStepped) continue;
          const times = model.admittedAt.get(rule.key) ?? [];
          const lengthMs = rule.isStrict ? rule.windowMs : (rule.windowMs * 11) / 12;
          for (const from of times) {
            expect(times.filter((at) => at >= from && at < from + lengthMs).length).toBeLessThanOrEqual(rule.limit);
          }
        }
        for (const { account } of model.open) account.end({ isAttempted: false, tokens: 0, costNanoUsd: 0 });
        expect(accounts.view()).toMatchObject({ open: 0, unsettled: 0 });
        expect(store.view().openReservations).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  const FAULTS: readonly StoreFault[] = [
    "none",
    "none",
    "none",
    "lost",
    "refused",
    "hanging",
    "twice",
    "late-answer",
    "late",
  ];

  for (const isApart of [false, true]) {
    const where = isApart ? "budgets in a store of their own" : "everything in one store";
    it(`R11, R13, R14: never exceed a budget, lose or double a charge, or keep a hold, whatever a store does: ${where}`, async () => {
      await fc.assert(
        fc.asyncProperty(
          steps(20_000, 10_000),
          fc.infiniteStream(fc.constantFrom(...FAULTS)),
          fc.constantFrom("closed" as const, "grace" as const),
          async (history, faults, policy) => {
            const clock = virtualClock({ turns: 1 });
            const local = createMemoryStore({ clock });
            const stores: RemoteStore[] = [remoteStore({ clock })];
            if (isApart) stores.push(remoteStore({ clock }));
            const [main, budgets] = [stores[0] as RemoteStore, stores.at(-1) as RemoteStore];
            for (const store of stores) store.fault = () => faults.next().value as StoreFault; // the stream has no end
            const accounts = accountsOf(clock, main, budgets, local);
            accounts.start();
            const claims = CLAIMS.map((claim) =>
              claim.kind === "budget" ? { ...claim, limitUsd: claim.limitUsd * 100, onStoreFailure: policy } : claim,
            );
            const rules = claims.map((claim) => ruleOf(claim, claim.key, false));
            const model = new Model();
            const asking: Promise<void>[] = [];
            let id = 0;
            const check = () => {
              for (const { rule, spent, reserved } of budgetsOf(budgets.memory)) {
                const { limitNanoUsd } = rules.find(({ key }) => key === rule.key) as Extract<Rule, { kind: "budget" }>;
                // Grace may go beyond by its allowance (one process).
                const most = policy === "closed" ? limitNanoUsd : limitNanoUsd * 1.1;
                expect(spent + reserved).toBeLessThanOrEqual(most);
              }
            };
            for (const step of history) {
              if (step.kind === "wait") await clock.advance(step.ms);
              else if (step.kind === "wall") clock.stepWall(step.ms);
              else if (step.kind === "ask") {
                const own = step.rules.map((index) => rules[index] as Rule);
                const held = step.cost * 10;
                const amounts = { tokens: 1, upperNanoUsd: held, expectedNanoUsd: 0 };
                const request = { id: `r${id++}`, tenant: undefined, rules: own, amounts, lifetimeMs: 3_600_000 };
                const ask = async () => {
                  const answer = await accounts.reserve(request);
                  if (answer.isReserved) model.open.push({ account: answer, rules: own, held });
                };
                asking.push(ask());
                await clock.advance(0);
              } else {
                const open = model.open[step.which % Math.max(1, model.open.length)];
                if (!open) continue;
                if (step.kind === "extend") {
                  const extending = open.account.extend(0, step.cost);
                  asking.push(
                    Promise.resolve(extending).then((isExtended) => {
                      if (isExtended) open.held += step.cost;
                    }),
                  );
                  continue;
                }
                const cost = Math.floor(open.held * step.share);
                open.account.end({ isAttempted: true, tokens: 1, costNanoUsd: cost });
                open.account.end({ isAttempted: true, tokens: 1, costNanoUsd: 9 * UNIT });
                model.open.splice(model.open.indexOf(open), 1);
                model.end(open, cost);
              }
              check();
            }
            await clock.advance(100);
            await Promise.all(asking);
            for (const open of model.open.splice(0)) {
              open.account.end({ isAttempted: true, tokens: 1, costNanoUsd: open.held });
              model.end(open, open.held);
            }
            expect(accounts.view().open, "R3").toBe(0);
            for (const store of stores) store.fault = () => "none";
            await clock.advance(60_000);
            check();
            expect(accounts.view().unsettled).toBe(0);
            for (const { rule, spent, reserved } of budgetsOf(budgets.memory)) {
              expect([rule.key, spent, reserved]).toEqual([rule.key, model.spent.get(rule.key) ?? 0, 0]);
            }
            for (const store of stores) expect(store.memory.view().openReservations).toBe(0);
            expect(local.view().openReservations).toBe(0);
            const closing = accounts.close(1_000);
            await clock.advance(10_000);
            await closing;
            expect(clock.pendingTimers, "R8").toBe(0);
          },
        ),
        { numRuns: 200 },
      );
    }, 60_000);
  }
});
