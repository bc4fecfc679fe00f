import fc from "fast-check";
import type {
  Adjustment,
  AdmitRequest,
  BudgetAccount,
  DeploymentRequest,
  Extension,
  Settlement,
  SharedCooldown,
  Store,
  StoreLimit,
} from "../../src/stores/store.js";

/** One step of a random history: time that passes, or a call. */
export type StoreOperation =
  | { readonly type: "advance"; readonly ms: number }
  | { readonly type: "admit"; readonly request: AdmitRequest }
  | { readonly type: "reserveDeployment"; readonly request: DeploymentRequest }
  | { readonly type: "adjust"; readonly adjustments: readonly Adjustment[] }
  | { readonly type: "settle"; readonly settlements: readonly Settlement[] }
  | { readonly type: "extend"; readonly extension: Extension }
  | { readonly type: "heartbeat"; readonly owner: string }
  | { readonly type: "sweep"; readonly most: number }
  | { readonly type: "cooldown"; readonly cooldown: SharedCooldown }
  | { readonly type: "budgets"; readonly partition: string; readonly accounts: readonly BudgetAccount[] };

const partition = fc.constantFrom("organization:a", "organization:a", "user:😀");
const id = fc.nat(11).map((n) => `r${n}`);
const owner = fc.constantFrom("p1", "p2");
const amount = fc.oneof({ weight: 8, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.nat(8_796_093_022_208) });
const money = fc.oneof({ weight: 8, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.maxSafeNat() });
const fingerprint = fc.option(fc.constantFrom("f1", "f2"), { nil: undefined });

const limit: fc.Arbitrary<StoreLimit> = fc.oneof(
  fc.record({
    kind: fc.constant("window" as const),
    key: fc.constantFrom("w1", "w2"),
    dimension: fc.constantFrom("requests" as const, "tokens" as const),
    limit: fc.oneof(fc.nat(60), amount),
    windowMs: fc.constantFrom(60_000, 60_000, 1_200, 12),
    amount,
    isStrict: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("slots" as const), key: fc.constantFrom("s1", "s2"), limit: fc.nat(3) }),
  fc.record({
    kind: fc.constant("budget" as const),
    key: fc.constantFrom("b1", "b2"),
    period: fc.constantFrom("2026-11", "all"),
    keepMs: fc.constantFrom(0, 20_000, Number.POSITIVE_INFINITY),
    limitNanoUsd: fc.oneof(fc.nat(100), fc.constant(Number.POSITIVE_INFINITY), money),
    amountNanoUsd: money,
  }),
);
const limits = fc.array(limit, { maxLength: 5 });
const note = fc.constantFrom(undefined, "", '{"model":"chat \\"\\u0000"}\n');
const lifetimeMs = fc.constantFrom(0, 10_000, 45_000, 600_000);

const use = {
  id,
  partition,
  requests: fc.nat(2),
  tokens: amount,
  costNanoUsd: money,
  fingerprint,
  deployment: fc.option(fc.constantFrom("d1", "d2"), { nil: undefined }),
};

const operation: fc.Arbitrary<StoreOperation> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("advance" as const),
      ms: fc.oneof(fc.nat(12_000), fc.constantFrom(100, 5_000, 30_000, 60_000, 65_000, 86_400_000, -3_000, -70_000)),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant("admit" as const),
      request: fc.record({ id, partition, owner, lifetimeMs, limits, fingerprint, note }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("reserveDeployment" as const),
      request: fc.record({
        id,
        partition,
        owner,
        lifetimeMs,
        candidates: fc.array(fc.record({ deployment: fc.constantFrom("d1", "d2"), limits }), {
          minLength: 1,
          maxLength: 4,
        }),
      }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant("settle" as const),
      settlements: fc.array(fc.record(use), { maxLength: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("adjust" as const),
      adjustments: fc.array(fc.record({ ...use, note }), { maxLength: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("extend" as const),
      extension: fc.record({ id, partition, tokens: amount, costNanoUsd: money }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("heartbeat" as const), owner }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("sweep" as const), most: fc.constantFrom(1, 2, 100) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("cooldown" as const),
      cooldown: fc.record({
        deployment: fc.constantFrom("d1", "d2", "d3"),
        kind: fc.constantFrom("open" as const, "limited" as const, "config" as const),
        remainingMs: fc.nat(20_000),
      }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("budgets" as const),
      partition,
      accounts: fc.array(
        fc.record({ key: fc.constantFrom("b1", "b2"), period: fc.constantFrom("2026-11", "all", "2026-12") }),
        { maxLength: 3 },
      ),
    }),
  },
);

export const storeHistory = (maxLength: number) => fc.array(operation, { maxLength, size: "max" });

/** Performs a step. @returns what the store answered, its cooldowns included. */
export async function perform(store: Store, step: Exclude<StoreOperation, { type: "advance" }>): Promise<unknown> {
  switch (step.type) {
    case "admit":
      return store.admit(step.request);
    case "reserveDeployment":
      return store.reserveDeployment(step.request);
    case "adjust":
      return store.adjust(step.adjustments);
    case "settle":
      return store.settle(step.settlements);
    case "extend":
      return store.extend(step.extension);
    case "heartbeat":
      return store.heartbeat(step.owner);
    case "sweep":
      return store.sweep(step.most);
    case "cooldown":
      return [await store.cooldown(step.cooldown), await store.cooldowns()];
    case "budgets":
      return store.budgets(step.partition, step.accounts);
  }
}
