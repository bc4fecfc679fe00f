import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import {
  type Adjustment,
  type AdmitAnswer,
  type AdmitRequest,
  type BudgetLimit,
  HINT_MS,
  MAX_WINDOW_AMOUNT,
  type MaybePromise,
  OWNER_LIFETIME_MS,
  type Settlement,
  type SlotLimit,
  type Store,
  type StoreLimit,
  TOMBSTONE_MS,
  type WindowLimit,
} from "../../src/stores/store.js";

/** The time of a store under test: its `now`, in Unix milliseconds, is all that the store knows of time. */
export interface StoreTime {
  now: number;
}

/** A store that knows nothing yet; `close` gives back what was opened for it. */
export type MakeStore = (time: StoreTime) => MaybePromise<{ store: Store; close?: () => MaybePromise<void> }>;

export interface DescribeStoreOptions {
  /** Histories per property. @default 200 */
  readonly runs?: number | undefined;
  /** How many steps the longest history has: fewer where each is a round trip. @default 80 */
  readonly longest?: number | undefined;
  /** How long the store remembers what was settled. @default 24 h */
  readonly tombstoneMs?: number | undefined;
}

/** A whole number of minutes. */
const START = 1_800_000_000_000;
const MINUTE = 60_000;
/** A twelfth of a minute. */
const PART = 5_000;

export const rpm = (limit: number, rest: Partial<WindowLimit> = {}): WindowLimit => ({
  kind: "window",
  key: "rpm",
  dimension: "requests",
  limit,
  windowMs: MINUTE,
  amount: 1,
  isStrict: false,
  ...rest,
});
export const tpm = (limit: number, amount: number, rest: Partial<WindowLimit> = {}): WindowLimit =>
  rpm(limit, { key: "tpm", dimension: "tokens", amount, ...rest });
export const slots = (limit: number, key = "slots"): SlotLimit => ({ kind: "slots", key, limit });
export const budget = (limitNanoUsd: number, amountNanoUsd: number, rest: Partial<BudgetLimit> = {}): BudgetLimit => ({
  kind: "budget",
  key: "budget",
  period: "2027-01",
  keepMs: 400 * 24 * 60 * MINUTE,
  limitNanoUsd,
  amountNanoUsd,
  ...rest,
});

/** The rules of the port, as sentences, and random histories against the store in memory and against a plain list. */
export function describeStore(
  name: string,
  makeStore: MakeStore,
  { runs = 200, longest = 80, tombstoneMs = TOMBSTONE_MS }: DescribeStoreOptions = {},
): void {
  describe(name, () => {
    const closers: (() => MaybePromise<void>)[] = [];
    afterEach(async () => {
      for (const close of closers.splice(0)) await close();
    });

    async function open(time: StoreTime = { now: START }) {
      const made = await makeStore(time);
      if (made.close) closers.push(made.close);
      const { store } = made;
      let count = 0;
      return {
        time,
        store,
        admit: async (limits: readonly StoreLimit[], rest: Partial<AdmitRequest> = {}) => {
          const id = `request-${++count}`;
          const answer = await store.admit({
            id,
            owner: "owner",
            partition: "tenant",
            lifetimeMs: 10 * MINUTE,
            limits,
            ...rest,
          });
          return { ...answer, id: rest.id ?? id };
        },
        settle: async (id: string, use: Partial<Settlement> = {}) => {
          const settlement = { id, partition: "tenant", requests: 0, tokens: 0, costNanoUsd: 0, ...use };
          const [answer] = await store.settle([settlement]);
          return answer;
        },
        adjust: async (id: string, use: Partial<Adjustment> = {}) => {
          const adjustment = { id, partition: "tenant", requests: 0, tokens: 0, costNanoUsd: 0, ...use };
          const [answer] = await store.adjust([adjustment]);
          return answer;
        },
        spent: async (key = "budget", period = "2027-01", partition = "tenant") => {
          const [state] = await store.budgets(partition, [{ key, period }]);
          return [state?.spentNanoUsd, state?.reservedNanoUsd];
        },
      };
    }

    describe("windows", () => {
      it("admit up to the limit, say what is left, and when all of it is free again", async () => {
        const { admit, time } = await open();
        time.now += 1_000;
        expect(await admit([rpm(2)])).toMatchObject({
          isAdmitted: true,
          states: [{ remaining: 1, resetMs: 13 * PART - 1_000 }],
        });
        expect(await admit([rpm(2)])).toMatchObject({ isAdmitted: true, states: [{ remaining: 0 }] });
        expect(await admit([rpm(2)])).toMatchObject({
          isAdmitted: false,
          denials: [{ index: 0, isTooLarge: false }],
          states: [{ remaining: 0 }],
        });
      });

      it("tell the first moment at which a denied request would pass: refused 1 ms before, admitted then", async () => {
        for (const isStrict of [false, true]) {
          const { admit, time } = await open();
          for (const amount of [30, 20, 40, 7]) {
            expect(await admit([tpm(100, amount, { isStrict })])).toMatchObject({ isAdmitted: true });
            time.now += 7_300;
          }
          const denied = await admit([tpm(100, 25, { isStrict })]);
          const retryAfterMs = retryOf(denied) ?? 0;
          expect(retryAfterMs).toBeGreaterThan(1);
          time.now += retryAfterMs - 1;
          expect((await admit([tpm(100, 25, { isStrict })])).isAdmitted).toBe(false);
          time.now += 1;
          expect((await admit([tpm(100, 25, { isStrict })])).isAdmitted).toBe(true);
        }
      });

      it("fade the oldest part out, or count it in full where the limit is strict", async () => {
        const { admit, time } = await open();
        await admit([tpm(100, 100)]);
        await admit([tpm(100, 100, { key: "strict", isStrict: true })]);
        time.now += 12 * PART + PART / 2;
        expect((await admit([tpm(100, 50)])).isAdmitted).toBe(true);
        expect((await admit([tpm(100, 1, { key: "strict", isStrict: true })])).isAdmitted).toBe(false);
        time.now += PART / 2;
        expect((await admit([tpm(100, 100, { key: "strict", isStrict: true })])).isAdmitted).toBe(true);
      });

      it("never fit a request that is larger than the limit", async () => {
        const { admit } = await open();
        expect(await admit([tpm(100, 101)])).toMatchObject({
          isAdmitted: false,
          denials: [{ isTooLarge: true, retryAfterMs: undefined }],
          states: [{ remaining: 100, resetMs: 0 }],
        });
        expect((await admit([rpm(0)])).isAdmitted).toBe(false);
      });

      it("R11: reserve all limits of a request or none, and name every one that has no room", async () => {
        const { admit } = await open();
        await admit([rpm(1, { key: "full" }), tpm(10, 10, { key: "also full" })]);
        const denied = await admit([rpm(9), rpm(1, { key: "full" }), slots(3), tpm(10, 1, { key: "also full" })]);
        expect(denied).toMatchObject({ isAdmitted: false, denials: [{ index: 1 }, { index: 3 }] });
        expect(await admit([rpm(9), slots(3)])).toMatchObject({ states: [{ remaining: 8 }, { remaining: 2 }] });
      });

      it("count what was really used once it is settled, in the part of the reservation, and never less than nothing", async () => {
        const { admit, settle, time } = await open();
        const first = await admit([tpm(100, 60), rpm(5)]);
        time.now += PART;
        const second = await admit([tpm(100, 30), rpm(5)]);
        await settle(first.id, { requests: 1, tokens: 10 });
        expect(await admit([tpm(100, 0), rpm(5, { amount: 0 })])).toMatchObject({
          states: [{ remaining: 60 }, { remaining: 3 }],
        });
        await settle(second.id, { requests: 1, tokens: 95 });
        expect(await admit([tpm(100, 0, { limit: 200 })])).toMatchObject({ states: [{ remaining: 95 }] });
        // The first 10 fade with their own part, not with the one in which they were settled.
        time.now += 12 * PART;
        expect(await admit([tpm(200, 0)])).toMatchObject({ states: [{ remaining: 105 }] });
      });

      it("give a request back that was released before any attempt, and count it as one after an attempt", async () => {
        const { admit, settle } = await open();
        const released = await admit([rpm(1)]);
        expect(await settle(released.id)).toMatchObject({ result: "applied" });
        const attempted = await admit([rpm(1)]);
        expect(attempted.isAdmitted).toBe(true);
        await settle(attempted.id, { requests: 1 });
        expect((await admit([rpm(1)])).isAdmitted).toBe(false);
      });

      it("leave what has left the window alone", async () => {
        const { admit, settle, time } = await open();
        const old = await admit([tpm(100, 10)]);
        time.now += 13 * PART;
        await admit([tpm(100, 50)]);
        await settle(old.id, { requests: 1, tokens: 90 });
        expect(await admit([tpm(100, 0)])).toMatchObject({ states: [{ remaining: 50 }] });
      });

      it("keep their account when the limit changes, and begin anew when the length does", async () => {
        const { admit } = await open();
        await admit([tpm(100, 60)]);
        expect(await admit([tpm(80, 10)])).toMatchObject({ isAdmitted: true, states: [{ remaining: 10 }] });
        expect((await admit([tpm(50, 1)])).isAdmitted).toBe(false);
        expect(await admit([tpm(50, 1, { windowMs: 2 * MINUTE })])).toMatchObject({ states: [{ remaining: 49 }] });
        expect(await admit([tpm(50, 1, { dimension: "requests" })])).toMatchObject({ states: [{ remaining: 49 }] });
      });

      it("charge an account that is named twice once, with the largest amount, and hold both limits", async () => {
        const { admit } = await open();
        expect(await admit([tpm(100, 10), tpm(50, 20)])).toMatchObject({
          states: [{ remaining: 80 }, { remaining: 30 }],
        });
        expect(await admit([tpm(100, 10), tpm(50, 31)])).toMatchObject({ isAdmitted: false, denials: [{ index: 1 }] });
      });

      it("R19: stay in the newest part when the clock steps back, and remove no charge", async () => {
        const { admit, time } = await open();
        time.now += 30 * MINUTE;
        await admit([tpm(100, 60)]);
        time.now -= 10 * MINUTE;
        const denied = await admit([tpm(100, 50)]);
        expect(retryOf(denied)).toBeGreaterThan(10 * MINUTE);
        expect(await admit([tpm(100, 40)])).toMatchObject({ isAdmitted: true, states: [{ remaining: 0 }] });
        time.now += 10 * MINUTE + 12 * PART;
        expect((await admit([tpm(100, 1)])).isAdmitted).toBe(false);
        time.now += PART;
        expect((await admit([tpm(100, 100)])).isAdmitted).toBe(true);
      });

      it("count in integers up to their bound", async () => {
        const { admit, settle } = await open();
        const huge = await admit([tpm(MAX_WINDOW_AMOUNT, MAX_WINDOW_AMOUNT - 1)]);
        expect(huge).toMatchObject({ states: [{ remaining: 1 }] });
        await settle(huge.id, { tokens: Number.MAX_SAFE_INTEGER });
        expect(await admit([tpm(MAX_WINDOW_AMOUNT, 0)])).toMatchObject({ states: [{ remaining: 0 }] });
      });
    });

    describe("budgets", () => {
      it("R11: never let spent and reserved exceed the limit, to the last nano-dollar", async () => {
        const { admit, settle, spent } = await open();
        const most = Number.MAX_SAFE_INTEGER;
        const first = await admit([budget(most, most - 10)]);
        expect(first).toMatchObject({ isAdmitted: true, states: [{ remaining: 10, resetMs: 0 }] });
        expect(await admit([budget(most, 11)])).toMatchObject({
          isAdmitted: false,
          denials: [{ isTooLarge: false, retryAfterMs: undefined }],
        });
        expect((await admit([budget(most, 10)])).isAdmitted).toBe(true);
        expect(await settle(first.id, { requests: 1, costNanoUsd: most - 13 })).toEqual({
          result: "applied",
          replacedNanoUsd: 0,
          budgets: [{ key: "budget", period: "2027-01", spentNanoUsd: most - 13, reservedNanoUsd: 10 }],
        });
        expect((await admit([budget(most, 4)])).isAdmitted).toBe(false);
        expect((await admit([budget(most, 3)])).isAdmitted).toBe(true);
        expect(await spent()).toEqual([most - 13, 13]);
      });

      it("without a limit only count", async () => {
        const { admit, settle, spent } = await open();
        const soft = budget(Number.POSITIVE_INFINITY, 0);
        const first = await admit([soft]);
        expect(first).toMatchObject({
          isAdmitted: true,
          states: [{ remaining: Number.POSITIVE_INFINITY, resetMs: 0 }],
        });
        await settle(first.id, { requests: 1, costNanoUsd: 123 });
        expect(await spent()).toEqual([123, 0]);
      });

      it("charge the period that the reservation began in, and forget a period some time after its last change", async () => {
        const { admit, settle, spent, time } = await open();
        const limit = budget(100, 100, { keepMs: MINUTE });
        const old = await admit([limit]);
        time.now += 5 * MINUTE;
        expect((await admit([{ ...limit, period: "2027-02" }])).isAdmitted).toBe(true);
        // Reserved money is not forgotten.
        expect((await admit([limit])).isAdmitted).toBe(false);
        await settle(old.id, { costNanoUsd: 70 });
        expect(await spent()).toEqual([70, 0]);
        expect(await spent("budget", "2027-02")).toEqual([0, 100]);
        time.now += MINUTE - 1;
        expect((await admit([limit])).isAdmitted).toBe(false);
        time.now += 1;
        expect(await spent()).toEqual([0, 0]);
        expect((await admit([limit])).isAdmitted).toBe(true);
      });

      it("keep those without an end, and know nothing of strangers", async () => {
        const { admit, settle, spent, time } = await open();
        const { id } = await admit([budget(100, 100, { period: "all", keepMs: Number.POSITIVE_INFINITY })]);
        await settle(id, { costNanoUsd: 100 });
        time.now += 20_000 * 24 * 60 * MINUTE;
        expect(await spent("budget", "all")).toEqual([100, 0]);
        expect(await spent("stranger")).toEqual([0, 0]);
        expect(await spent("budget", "all", "stranger")).toEqual([0, 0]);
      });
    });

    describe("slots", () => {
      it("hold so many reservations at the same time, until they are settled", async () => {
        const { admit, settle } = await open();
        const first = await admit([slots(2)]);
        await admit([slots(2), slots(3)]);
        expect(await admit([slots(2)])).toMatchObject({
          isAdmitted: false,
          denials: [{ retryAfterMs: undefined, isTooLarge: false }],
          states: [{ remaining: 0, resetMs: 0 }],
        });
        await settle(first.id, { requests: 1 });
        expect((await admit([slots(2)])).isAdmitted).toBe(true);
        expect(await admit([slots(0, "closed")])).toMatchObject({ denials: [{ isTooLarge: true }] });
      });

      it("R10: are free when the reservation's time is over, whatever became of its owner", async () => {
        const { admit, time } = await open();
        await admit([slots(1)], { lifetimeMs: 20_000 });
        time.now += 19_999;
        expect((await admit([slots(1)])).isAdmitted).toBe(false);
        time.now += 1;
        expect((await admit([slots(1)])).isAdmitted).toBe(true);
      });

      it("R10: are free once a sweep found their owner dead", async () => {
        const { admit, store, time } = await open();
        await admit([slots(1)]);
        time.now += OWNER_LIFETIME_MS - 1;
        expect(await store.sweep(100)).toEqual([]);
        expect((await admit([slots(1)], { owner: "other" })).isAdmitted).toBe(false);
        time.now += 1;
        expect(await store.sweep(100)).toHaveLength(1);
        expect((await admit([slots(1)], { owner: "other" })).isAdmitted).toBe(true);
      });
    });

    describe("endings", () => {
      it("R13: apply a settlement once, however often it is replayed, and know nothing of strange ids", async () => {
        const { admit, settle, spent, time } = await open();
        const { id } = await admit([budget(100, 60), rpm(10), slots(1)]);
        const use = { requests: 1, costNanoUsd: 40 };
        expect(await settle(id, use)).toMatchObject({ result: "applied" });
        const again = { result: "duplicate", replacedNanoUsd: 0, budgets: [] };
        expect(await settle(id, use)).toEqual(again);
        time.now += tombstoneMs - 1;
        expect(await settle(id)).toEqual(again);
        expect(await spent()).toEqual([40, 0]);
        time.now += 1;
        expect(await settle(id)).toEqual({ ...again, result: "unknown" });
        expect(await settle("stranger")).toEqual({ ...again, result: "unknown" });
      });

      it("answer a batch in its order, also where it names one reservation twice", async () => {
        const { admit, store } = await open();
        const [first, second] = [await admit([budget(100, 30)]), await admit([budget(100, 30), rpm(5)])];
        const use = { partition: "tenant", requests: 1, tokens: 0, costNanoUsd: 20 };
        const answers = await store.settle([
          { id: second.id, ...use },
          { id: "stranger", ...use },
          { id: first.id, ...use },
          { id: second.id, ...use },
        ]);
        expect(answers.map(({ result }) => result)).toEqual(["applied", "unknown", "applied", "duplicate"]);
        expect(answers.map(({ budgets }) => budgets[0]?.spentNanoUsd)).toEqual([20, undefined, 40, undefined]);
        expect(await store.settle([])).toEqual([]);
      });

      it("reserve nothing more for an id that is known, open or ended", async () => {
        const { admit, settle, spent } = await open();
        const { id } = await admit([budget(100, 60), rpm(5)]);
        expect(await admit([budget(100, 60), rpm(5)], { id })).toMatchObject({
          isAdmitted: true,
          states: [{ remaining: 40 }, { remaining: 4 }],
        });
        await settle(id, { costNanoUsd: 10 });
        expect((await admit([budget(100, 60)], { id })).isAdmitted).toBe(true);
        expect(await spent()).toEqual([10, 0]);
      });

      it("end a reservation only in its own partition", async () => {
        const { admit, settle, spent } = await open();
        const { id } = await admit([budget(100, 60)]);
        expect(await settle(id, { partition: "other", costNanoUsd: 5 })).toMatchObject({ result: "unknown" });
        expect(await spent()).toEqual([0, 60]);
        expect(await settle(id, { costNanoUsd: 5 })).toMatchObject({ result: "applied" });
      });

      it("keep the accounts of partitions apart", async () => {
        const { admit } = await open();
        await admit([rpm(1), slots(1), budget(10, 10)]);
        const answer = await admit([rpm(1), slots(1), budget(10, 10)], { partition: "other" });
        expect(answer.isAdmitted).toBe(true);
      });

      it("end reservations without any limit, too", async () => {
        const { admit, settle } = await open();
        const { id } = await admit([]);
        expect(await settle(id, { requests: 1 })).toEqual({ result: "applied", replacedNanoUsd: 0, budgets: [] });
        expect(await settle(id)).toMatchObject({ result: "duplicate" });
      });
    });

    describe("extensions", () => {
      it("make all limits of a reservation larger, or none", async () => {
        const { admit, settle, spent, store } = await open();
        const { id } = await admit([tpm(100, 40), budget(100, 40), rpm(1), slots(1)]);
        const extend = (tokens: number, costNanoUsd: number) =>
          store.extend({ id, partition: "tenant", tokens, costNanoUsd });
        expect(await extend(10, 61)).toEqual({ isExtended: false });
        expect(await extend(61, 10)).toEqual({ isExtended: false });
        expect(await extend(60, 60)).toEqual({ isExtended: true });
        expect(await extend(1, 0)).toEqual({ isExtended: false });
        expect(await extend(0, 0)).toEqual({ isExtended: true });
        expect(await spent()).toEqual([0, 100]);
        expect((await admit([tpm(100, 1)])).isAdmitted).toBe(false);
        await settle(id, { requests: 1, tokens: 70, costNanoUsd: 55 });
        expect(await spent()).toEqual([55, 0]);
        expect(await admit([tpm(100, 0)])).toMatchObject({ states: [{ remaining: 30 }] });
        expect(await extend(1, 1)).toEqual({ isExtended: false });
        expect(await store.extend({ id: "stranger", partition: "tenant", tokens: 1, costNanoUsd: 1 })).toEqual({
          isExtended: false,
        });
      });

      it("count from now on where the reservation has left the window", async () => {
        const { admit, settle, store, time } = await open();
        const { id } = await admit([tpm(100, 80), budget(Number.POSITIVE_INFINITY, 0)]);
        time.now += 20 * PART;
        await store.heartbeat("owner");
        expect(await store.extend({ id, partition: "tenant", tokens: 50, costNanoUsd: 9 })).toEqual({
          isExtended: true,
        });
        expect(await admit([tpm(100, 0)])).toMatchObject({ states: [{ remaining: 50 }] });
        await settle(id, { requests: 1, tokens: 100 });
        expect(await admit([tpm(100, 0)])).toMatchObject({ states: [{ remaining: 80 }] });
      });
    });

    describe("adjustments", () => {
      it("R12: hold no more than what was used, and no slot, until the reservation is settled", async () => {
        const { admit, adjust, settle, spent, time } = await open();
        const limits = [tpm(100, 60), rpm(5), slots(1), budget(100, 90)];
        const { id } = await admit(limits);
        time.now += PART;
        expect(await adjust(id, { requests: 1, tokens: 20, costNanoUsd: 30 })).toEqual({
          isAdjusted: true,
          budgets: [{ key: "budget", period: "2027-01", spentNanoUsd: 0, reservedNanoUsd: 30 }],
        });
        expect(await spent()).toEqual([0, 30]);
        expect(await admit([tpm(100, 0), rpm(5, { amount: 0 }), slots(1), budget(100, 0)])).toMatchObject({
          states: [{ remaining: 80 }, { remaining: 4 }, { remaining: 0 }, { remaining: 70 }],
        });
        expect(await settle(id, { requests: 1, tokens: 20, costNanoUsd: 30 })).toEqual({
          result: "applied",
          replacedNanoUsd: 0,
          budgets: [{ key: "budget", period: "2027-01", spentNanoUsd: 30, reservedNanoUsd: 0 }],
        });
        expect(await admit([tpm(100, 0), rpm(5, { amount: 0 })])).toMatchObject({
          states: [{ remaining: 80 }, { remaining: 4 }],
        });
      });

      it("hold more than was reserved, and more than the limits, where more was used; and count in soft budgets", async () => {
        const { admit, adjust, settle, spent } = await open();
        const soft = budget(Number.POSITIVE_INFINITY, 0, { key: "soft" });
        const { id } = await admit([tpm(100, 60), budget(100, 90), soft]);
        await adjust(id, { requests: 1, tokens: 250, costNanoUsd: 170 });
        expect([await spent(), await spent("soft")]).toEqual([
          [0, 170],
          [0, 170],
        ]);
        expect((await admit([tpm(249, 0)])).isAdmitted).toBe(false);
        expect((await admit([budget(169, 0)])).isAdmitted).toBe(false);
        await settle(id, { requests: 1, tokens: 50, costNanoUsd: 50 });
        expect([await spent(), await spent("soft")]).toEqual([
          [50, 0],
          [50, 0],
        ]);
        expect(await admit([tpm(100, 0)])).toMatchObject({ states: [{ remaining: 50 }] });
      });

      it("R13: come to the same however often they are replayed; of several the last counts, also in one batch", async () => {
        const { admit, adjust, spent, store } = await open();
        const { id } = await admit([budget(100, 90), rpm(5)]);
        const use = { id, partition: "tenant", requests: 1, tokens: 0, costNanoUsd: 30 };
        for (let time = 0; time < 3; time++) expect(await adjust(id, use)).toMatchObject({ isAdjusted: true });
        expect(await spent()).toEqual([0, 30]);
        const answers = await store.adjust([use, { ...use, id: "stranger" }, { ...use, costNanoUsd: 12 }]);
        expect(answers.map(({ isAdjusted }) => isAdjusted)).toEqual([true, false, true]);
        expect(answers.map(({ budgets }) => budgets[0]?.reservedNanoUsd)).toEqual([30, undefined, 12]);
        expect(await spent()).toEqual([0, 12]);
        expect(await store.adjust([])).toEqual([]);
      });

      it("change nothing that has ended, that has expired, or that lies in another partition", async () => {
        const { admit, adjust, settle, spent, store, time } = await open();
        const nothing = { isAdjusted: false, budgets: [] };
        const settled = await admit([budget(100, 10)]);
        await settle(settled.id, { requests: 1, costNanoUsd: 4 });
        expect(await adjust(settled.id, { requests: 1, costNanoUsd: 9 })).toEqual(nothing);
        const expired = await admit([budget(100, 50)]);
        expect(await adjust(expired.id, { partition: "other", costNanoUsd: 9 })).toEqual(nothing);
        time.now += OWNER_LIFETIME_MS;
        await store.sweep(100);
        expect(await adjust(expired.id, { requests: 1, costNanoUsd: 9, note: "too late" })).toEqual(nothing);
        expect(await store.sweep(100)).toMatchObject([{ id: expired.id, costNanoUsd: 50, note: "" }]);
        expect(await spent()).toEqual([54, 0]);
        // What comes after that corrects it.
        expect(await settle(expired.id, { requests: 1, costNanoUsd: 9 })).toMatchObject({ result: "corrected" });
        expect(await spent()).toEqual([13, 0]);
      });

      it("R27: are what a dead process is charged, and what is said of it", async () => {
        const { admit, adjust, settle, spent, store, time } = await open();
        const limits = [tpm(100, 60), slots(1), budget(100, 90)];
        const named = await admit(limits, { note: "asked" });
        await adjust(named.id, { requests: 1, tokens: 7, costNanoUsd: 11, note: 'used \u0000 "7" \n 漢' });
        await adjust(named.id, { requests: 1, tokens: 8, costNanoUsd: 12 });
        const plain = await admit([budget(100, 20)], { note: "asked" });
        await adjust(plain.id, { requests: 1, tokens: 5, costNanoUsd: 5 });
        time.now += OWNER_LIFETIME_MS;
        const swept = [...(await store.sweep(100))].sort((one, other) => other.costNanoUsd - one.costNanoUsd);
        expect(swept).toMatchObject([
          { id: named.id, tokens: 8, costNanoUsd: 12, note: 'used \u0000 "7" \n 漢' },
          { id: plain.id, tokens: 0, costNanoUsd: 5, note: "asked" },
        ]);
        expect(await spent()).toEqual([17, 0]);
        expect(await settle(named.id, { requests: 1, tokens: 8, costNanoUsd: 12 })).toMatchObject({
          result: "corrected",
          replacedNanoUsd: 12,
        });
        expect(await spent()).toEqual([17, 0]);
      });

      it("leave what has left the window alone, and do not free a slot that somebody else has taken since", async () => {
        const { admit, adjust, time } = await open();
        const old = await admit([tpm(100, 10), slots(1)], { lifetimeMs: 10 * MINUTE });
        time.now += 13 * PART;
        await admit([tpm(100, 50)]);
        await adjust(old.id, { requests: 1, tokens: 90 });
        expect(await admit([tpm(100, 0)])).toMatchObject({ states: [{ remaining: 50 }] });
        expect((await admit([slots(1)])).isAdmitted).toBe(true);
        await adjust(old.id, { requests: 1, tokens: 90 });
        expect((await admit([slots(1)])).isAdmitted).toBe(false);
      });

      it("remember which deployment served a fingerprint", async () => {
        const { admit, adjust } = await open();
        const { id } = await admit([rpm(9)]);
        await adjust(id, { requests: 1, fingerprint: "f", deployment: "d" });
        expect(await admit([rpm(9)], { fingerprint: "f" })).toMatchObject({ hint: "d" });
      });

      it("refuse what is no amount and no note, and take notes of 8,192 characters", async () => {
        const { admit, adjust, store, time } = await open();
        const { id } = await admit([rpm(9)]);
        await expect(adjust(id, { tokens: -1 })).rejects.toThrow(RangeError);
        await expect(adjust(id, { note: "x".repeat(8_193) })).rejects.toThrow(RangeError);
        const note = "漢".repeat(8_192);
        expect(await adjust(id, { requests: 1, note })).toMatchObject({ isAdjusted: true });
        time.now += OWNER_LIFETIME_MS;
        expect(await store.sweep(100)).toMatchObject([{ id, note }]);
      });
    });

    describe("sweeps", () => {
      it("R27: charge what a dead process had reserved, and list it until it is settled", async () => {
        const { admit, settle, spent, store, time } = await open();
        const note = `{"key":"42"}\n\u0000"ü"`;
        const { id } = await admit([budget(100, 60), tpm(100, 30), budget(900, 70, { key: "other" })], { note });
        await store.heartbeat("owner");
        time.now += 20_000;
        await store.heartbeat("owner");
        await store.heartbeat("other");
        time.now += OWNER_LIFETIME_MS - 1;
        expect(await store.sweep(100)).toEqual([]);
        expect(await spent()).toEqual([0, 60]);
        time.now += 1;
        const expired = { id, partition: "tenant", owner: "owner", tokens: 30, costNanoUsd: 70, note };
        expect(await store.sweep(100)).toEqual([expired]);
        expect(await spent()).toEqual([60, 0]);
        expect(await store.sweep(100)).toEqual([expired]);
        expect(await settle(id, { requests: 1, tokens: 10, costNanoUsd: 25 })).toEqual({
          result: "corrected",
          replacedNanoUsd: 70,
          budgets: [
            { key: "budget", period: "2027-01", spentNanoUsd: 25, reservedNanoUsd: 0 },
            { key: "other", period: "2027-01", spentNanoUsd: 25, reservedNanoUsd: 0 },
          ],
        });
        expect(await settle(id, { costNanoUsd: 1 })).toMatchObject({ result: "duplicate" });
        time.now += 10_000;
        expect(await store.sweep(100)).toEqual([]);
      });

      it("leave what a live process holds, until its own time is over", async () => {
        const { admit, spent, store, time } = await open();
        const { id } = await admit([budget(100, 60)], { lifetimeMs: 2 * MINUTE });
        for (let beat = 0; beat < 12; beat++) {
          expect(await store.sweep(100)).toEqual([]);
          await store.heartbeat("owner");
          time.now += 10_000;
        }
        expect(await store.sweep(100)).toMatchObject([{ id, owner: "owner", note: "" }]);
        expect(await spent()).toEqual([60, 0]);
      });

      it("list a limited number, the others next", async () => {
        const { admit, settle, store, time } = await open();
        const ids: string[] = [];
        for (let count = 0; count < 7; count++) ids.push((await admit([slots(9)], { partition: "tenant" })).id);
        time.now += OWNER_LIFETIME_MS;
        const found: string[] = [];
        for (let turn = 0; turn < 7 && found.length < 7; turn++) {
          const expired = await store.sweep(3);
          expect(expired.length).toBeLessThanOrEqual(3);
          for (const { id } of expired) {
            found.push(id);
            expect(await settle(id)).toMatchObject({ result: "corrected" });
          }
        }
        expect(found.sort()).toEqual(ids.sort());
      });

      it("remember a late settlement's reservation for a day", async () => {
        const { admit, settle, spent, store, time } = await open();
        const { id } = await admit([budget(100, 60)]);
        const { id: forgotten } = await admit([budget(100, 5)]);
        time.now += OWNER_LIFETIME_MS;
        expect(await store.sweep(100)).toHaveLength(2);
        time.now += TOMBSTONE_MS - 1;
        expect(await settle(id, { costNanoUsd: 70 })).toMatchObject({ result: "corrected", replacedNanoUsd: 60 });
        time.now += 1;
        expect(await settle(forgotten)).toMatchObject({ result: "unknown" });
        expect(await store.sweep(100)).toEqual([]);
        expect(await spent()).toEqual([75, 0]);
        // Whoever made it was thought dead, and learns late that others ended it.
        time.now += TOMBSTONE_MS - 2;
        expect(await settle(id)).toMatchObject({ result: "duplicate" });
      });

      it("find what lies in many partitions", async () => {
        const { admit, store, time } = await open();
        const ids: string[] = [];
        for (let tenant = 0; tenant < 60; tenant++) {
          ids.push((await admit([budget(100, 60)], { partition: `tenant ${tenant}` })).id);
        }
        time.now += OWNER_LIFETIME_MS;
        const expired = await store.sweep(100);
        expect(expired.map(({ id }) => id).sort()).toEqual(ids.sort());
      });

      it("count the processes that live", async () => {
        const { store, time } = await open();
        expect(await store.heartbeat("a")).toEqual({ liveOwners: 1 });
        expect(await store.heartbeat("b")).toEqual({ liveOwners: 2 });
        time.now += 20_000;
        expect(await store.heartbeat("a")).toEqual({ liveOwners: 2 });
        time.now += 10_000;
        expect(await store.heartbeat("a")).toEqual({ liveOwners: 1 });
      });
    });

    describe("deployments", () => {
      const candidate = (deployment: string, ...limits: StoreLimit[]) => ({ deployment, limits });

      it("reserve the first that has room, and say when each would have", async () => {
        const { store, time } = await open();
        let count = 0;
        const reserve = () =>
          store.reserveDeployment({
            id: `attempt-${++count}`,
            owner: "owner",
            partition: "group",
            lifetimeMs: MINUTE,
            candidates: [
              candidate("first", rpm(1, { key: "first" }), slots(5, "first")),
              candidate("second", rpm(1, { key: "second" }), slots(1, "second")),
              candidate("third", tpm(1, 2, { key: "third" })),
            ],
          });
        expect(await reserve()).toEqual({
          isReserved: true,
          index: 0,
          states: [
            { remaining: 0, resetMs: 13 * PART },
            { remaining: 4, resetMs: 0 },
          ],
        });
        expect(await reserve()).toMatchObject({ isReserved: true, index: 1 });
        expect(await reserve()).toEqual({ isReserved: false, retryAfterMs: [13 * PART, undefined, undefined] });
        const use = { partition: "group", requests: 0, tokens: 0, costNanoUsd: 0 };
        await store.settle([{ id: "attempt-2", ...use }]);
        expect(await reserve()).toMatchObject({ isReserved: true, index: 1 });
        time.now += 13 * PART;
        expect(await reserve()).toMatchObject({ isReserved: true, index: 0 });
      });

      it("publish cooldowns, of which the later one wins, under an epoch that changes with each", async () => {
        const { admit, store, time } = await open();
        const epochs = new Set<number>();
        const publish = async (deployment: string, kind: "open" | "limited" | "config", remainingMs: number) => {
          const { cooldownEpoch } = await store.cooldown({ deployment, kind, remainingMs });
          epochs.add(cooldownEpoch);
          return cooldownEpoch;
        };
        expect(await store.cooldowns()).toEqual([]);
        await publish("a", "limited", 30_000);
        await publish("b", "open", 5_000);
        const epoch = await publish("a", "config", 60_000);
        expect(epochs.size).toBe(3);
        expect(await publish("a", "open", 10_000)).toBe(epoch);
        if (!store.isSharded) {
          const answer = await admit([rpm(5)]);
          expect(answer.isAdmitted && answer.cooldownEpoch).toBe(epoch);
        }
        time.now += 5_000;
        expect(await store.cooldowns()).toEqual([{ deployment: "a", kind: "config", remainingMs: 55_000 }]);
        time.now += 55_000;
        expect(await store.cooldowns()).toEqual([]);
        await publish("c", "open", 1);
        expect(epochs.size).toBe(4);
      });

      it("remember for ten minutes which one served a fingerprint, in its partition", async () => {
        const { admit, settle, time } = await open();
        const asking = { fingerprint: "hello {world} 7" };
        const { id } = await admit([rpm(9)], asking);
        await settle(id, { requests: 1, ...asking, deployment: "a deployment" });
        const second = await admit([rpm(9)], asking);
        expect(second).toMatchObject({ hint: "a deployment" });
        expect(await admit([rpm(9)], { ...asking, partition: "other" })).toMatchObject({ hint: undefined });
        expect(await admit([rpm(9)])).toMatchObject({ hint: undefined });
        await settle(second.id, { requests: 1, ...asking, deployment: "b" });
        time.now += HINT_MS - 1;
        expect(await admit([rpm(9)], asking)).toMatchObject({ hint: "b" });
        time.now += 1;
        expect(await admit([rpm(9)], asking)).toMatchObject({ hint: undefined });
      });
    });

    it("takes any printable name", async () => {
      const { admit, settle, spent } = await open();
      for (const odd of ["}", "{a}b", "a:b", "%7D", "$", "é 漢 🦊", "x".repeat(512)]) {
        const limits = [rpm(5, { key: odd }), slots(5, odd), budget(9, 4, { key: odd, period: odd })];
        const names = { partition: odd, id: odd, owner: odd, fingerprint: odd };
        expect(await admit(limits, names)).toMatchObject({ isAdmitted: true });
        const settled = await settle(odd, { ...names, deployment: odd, requests: 1, costNanoUsd: 3 });
        expect(settled).toMatchObject({ result: "applied", budgets: [{ key: odd, period: odd, spentNanoUsd: 3 }] });
        expect(await spent(odd, odd, odd)).toEqual([3, 0]);
        expect(await admit(limits, { partition: odd, fingerprint: odd })).toMatchObject({ hint: odd });
      }
    });

    it("refuses what is no amount, no name and no window", async () => {
      const { admit, settle, store } = await open();
      const wrong: StoreLimit[] = [
        ...[-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53].map((amount) => tpm(9, amount)),
        ...[-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, MAX_WINDOW_AMOUNT + 1].map((limit) => tpm(limit, 1)),
        ...[0, 60_001, Number.NaN, Number.POSITIVE_INFINITY].map((windowMs) => tpm(9, 1, { windowMs })),
        ...[-1, 0.5, Number.NaN].map((limit) => slots(limit)),
        ...[-1, 0.5, Number.NaN, 2 ** 53].map((limit) => budget(limit, 1)),
        ...["", "a\nb", "x".repeat(513), "\ud800"].map((key) => rpm(1, { key })),
      ];
      for (const limit of wrong) await expect(admit([limit]), JSON.stringify(limit)).rejects.toThrow(RangeError);
      await expect(settle("id", { tokens: -1 })).rejects.toThrow(RangeError);
      await expect(admit([rpm(1)], { lifetimeMs: Number.NaN })).rejects.toThrow(RangeError);
      await expect(admit(new Array(65).fill(rpm(1)))).rejects.toThrow(RangeError);
      await expect(async () => store.sweep(101)).rejects.toThrow(RangeError);
      expect((await admit([rpm(1)])).isAdmitted).toBe(true);
    });

    it("13: gives the answers of the store in memory on random histories, clock steps included", {
      timeout: 120_000,
    }, async () => {
      await fc.assert(
        fc.asyncProperty(histories(step, longest), async (steps) => {
          const time = { now: START };
          const { store } = await open(time);
          const memory = createMemoryStore({ clock: clockOf(time), tombstoneMs });
          const ids: string[] = [];
          for (const each of steps) {
            const [actual, expected] = [await perform(store, each, [...ids]), await perform(memory, each, ids)];
            expect(actual).toEqual(expected);
            if (each.name === "advance") time.now += each.ms;
          }
          expect(await remains(store, time)).toEqual(await remains(memory, time));
        }),
        { numRuns: runs },
      );
    });

    it("13, 14: agrees with a plain list of all reservations: limits hold, and each ends once", {
      timeout: 120_000,
    }, async () => {
      await fc.assert(
        fc.asyncProperty(histories(plainStep, longest), async (steps) => {
          const { store, time } = await open();
          await checkAgainstList(store, time, steps);
        }),
        { numRuns: runs },
      );
    });
  });
}

const histories = <Kind>(step: fc.Arbitrary<Kind>, longest: number) =>
  fc.array(step, { minLength: Math.floor(longest / 4), maxLength: longest });

function retryOf(answer: AdmitAnswer): number | undefined {
  return answer.isAdmitted ? undefined : answer.denials[0]?.retryAfterMs;
}

/** The store in memory asks its clock for the time only. */
export function clockOf(time: StoreTime) {
  return {
    now: () => time.now,
    wallNow: () => time.now,
    schedule: () => ({ cancel() {} }),
    sleep: () => Promise.resolve(),
  };
}

type Step =
  | { name: "advance"; ms: number }
  | { name: "admit"; limits: StoreLimit[]; owner: string; lifetimeMs: number; fingerprint: string | undefined }
  | { name: "reserveDeployment"; candidates: StoreLimit[][]; owner: string }
  | { name: "settle" | "adjust"; which: number[]; use: number; deployment: string | undefined }
  | { name: "extend"; which: number; tokens: number; cost: number }
  | { name: "heartbeat"; owner: string }
  | { name: "sweep" }
  | { name: "cooldown"; deployment: string; remainingMs: number }
  | { name: "budgets" };

const owner = fc.constantFrom("owner a", "owner b", "owner c");
const amount = fc.integer({ min: 0, max: 60 });
const limitOf: fc.Arbitrary<StoreLimit> = fc.oneof(
  fc
    .record({
      key: fc.constantFrom("a", "b"),
      dimension: fc.constantFrom("requests" as const, "tokens" as const),
      limit: fc.integer({ min: 0, max: 120 }),
      windowMs: fc.constantFrom(MINUTE, 10_008),
      amount,
      isStrict: fc.boolean(),
    })
    .map((fields) => ({ kind: "window" as const, ...fields })),
  fc.record({ key: fc.constantFrom("a", "b"), limit: fc.integer({ min: 0, max: 4 }) }).map((fields) => ({
    kind: "slots" as const,
    ...fields,
  })),
  fc
    .record({
      key: fc.constantFrom("a", "b"),
      period: fc.constantFrom("1", "2"),
      keepMs: fc.constantFrom(5_000, MINUTE, Number.POSITIVE_INFINITY),
      limitNanoUsd: fc.constantFrom(50, 200, 1_000, Number.POSITIVE_INFINITY),
      amountNanoUsd: amount,
    })
    .map((fields) => ({ kind: "budget" as const, ...fields })),
);
const limits = fc.array(limitOf, { maxLength: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      name: fc.constant("admit" as const),
      limits,
      owner,
      lifetimeMs: fc.constantFrom(1_000, 40_000, 300_000),
      fingerprint: fc.option(fc.constantFrom("x", "y"), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      name: fc.constant("reserveDeployment" as const),
      candidates: fc.array(limits, { minLength: 1, maxLength: 3 }),
      owner,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      name: fc.constant("settle" as const),
      which: fc.array(fc.nat(40), { maxLength: 3 }),
      use: fc.integer({ min: 0, max: 90 }),
      deployment: fc.option(fc.constantFrom("d1", "d2"), { nil: undefined }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      name: fc.constant("adjust" as const),
      which: fc.array(fc.nat(40), { maxLength: 3 }),
      use: fc.integer({ min: 0, max: 90 }),
      deployment: fc.option(fc.constantFrom("d1", "d2"), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ name: fc.constant("extend" as const), which: fc.nat(40), tokens: amount, cost: amount }),
  },
  { weight: 2, arbitrary: fc.record({ name: fc.constant("heartbeat" as const), owner }) },
  { weight: 2, arbitrary: fc.record({ name: fc.constant("sweep" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      name: fc.constant("cooldown" as const),
      deployment: fc.constantFrom("d1", "d2"),
      remainingMs: fc.integer({ min: 0, max: 60_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ name: fc.constant("budgets" as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      name: fc.constant("advance" as const),
      ms: fc.oneof(
        { weight: 5, arbitrary: fc.integer({ min: 0, max: 9_000 }) },
        { weight: 2, arbitrary: fc.integer({ min: 0, max: 70_000 }) },
        { weight: 1, arbitrary: fc.integer({ min: -90_000, max: 0 }) },
      ),
    }),
  },
);

const ACCOUNTS = ["a", "b"].flatMap((key) => ["1", "2"].map((period) => ({ key, period })));

/** One step on one store. Ids are those of all reservations that were asked for, in order. */
async function perform(store: Store, step: Step, ids: string[]): Promise<unknown> {
  switch (step.name) {
    case "advance":
      return undefined;
    case "admit": {
      const { limits, owner, lifetimeMs, fingerprint } = step;
      const id = `id-${ids.push("tenant") - 1}`;
      const answer = await store.admit({ id, owner, partition: "tenant", lifetimeMs, limits, fingerprint, note: id });
      // A cluster learns of it beside the decisions; the numbers of others are their own.
      return answer.isAdmitted ? { ...answer, cooldownEpoch: undefined } : answer;
    }
    case "reserveDeployment": {
      const id = `id-${ids.push("group") - 1}`;
      const candidates = step.candidates.map((limits, at) => ({ deployment: `d${at}`, limits }));
      return store.reserveDeployment({ id, owner: step.owner, partition: "group", lifetimeMs: 50_000, candidates });
    }
    case "settle":
    case "adjust": {
      const uses = step.which.map((which) => ({
        id: `id-${which}`,
        partition: ids[which] ?? "tenant",
        requests: step.use > 0 ? 1 : 0,
        tokens: step.use,
        costNanoUsd: step.use,
        fingerprint: "x",
        deployment: step.deployment,
      }));
      if (step.name === "settle") return store.settle(uses);
      return store.adjust(uses.map((use) => ({ ...use, note: step.use % 2 === 0 ? undefined : `used ${step.use}` })));
    }
    case "extend":
      return store.extend({
        id: `id-${step.which}`,
        partition: ids[step.which] ?? "tenant",
        tokens: step.tokens,
        costNanoUsd: step.cost,
      });
    case "heartbeat":
      return store.heartbeat(step.owner);
    case "sweep":
      return [...(await store.sweep(100))].sort((a, b) => (a.id < b.id ? -1 : 1));
    case "cooldown":
      await store.cooldown({ deployment: step.deployment, kind: "open", remainingMs: step.remainingMs });
      return [...(await store.cooldowns())].sort((a, b) => (a.deployment < b.deployment ? -1 : 1));
    case "budgets":
      return store.budgets("tenant", ACCOUNTS);
  }
}

/** After all owners died, nothing is reserved. */
async function remains(store: Store, time: StoreTime): Promise<unknown> {
  const before = time.now;
  time.now += 10 * MINUTE;
  const swept = await perform(store, { name: "sweep" }, []);
  const budgets = [...(await store.budgets("tenant", ACCOUNTS)), ...(await store.budgets("group", ACCOUNTS))];
  expect(budgets.every(({ reservedNanoUsd }) => reservedNanoUsd === 0)).toBe(true);
  const cooldowns = await store.cooldowns();
  time.now = before;
  return { swept, budgets, cooldowns };
}

type PlainStep =
  | { name: "admit"; tokens: number; cost: number; isAbandoned: boolean }
  | { name: "settle" | "adjust"; which: number; part: number }
  | { name: "advance"; ms: number };

const plainStep: fc.Arbitrary<PlainStep> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      name: fc.constant("admit" as const),
      tokens: fc.integer({ min: 1, max: 40 }),
      cost: fc.integer({ min: 1, max: 200 }),
      isAbandoned: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      name: fc.constantFrom("settle" as const, "adjust" as const),
      which: fc.nat(30),
      part: fc.integer({ min: 0, max: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ name: fc.constant("advance" as const), ms: fc.integer({ min: 0, max: 12_000 }) }),
  },
);

interface Listed {
  readonly id: string;
  readonly at: number;
  /** Or what was used, once that was said. */
  reserved: { readonly tokens: number; readonly cost: number };
  holdsSlot: boolean;
  /** What was really used, whenever that came to light; `undefined`: abandoned so far. */
  actual: { readonly tokens: number; readonly cost: number } | undefined;
  end: "open" | "settled" | "expired" | "corrected";
  /** What the part of the window has of it. */
  tokensInWindow: number;
}

/** Limits of all kinds at once, honest usage, every number worked out again from the list. */
async function checkAgainstList(store: Store, time: StoreTime, steps: readonly PlainStep[]): Promise<void> {
  const [rpmLimit, tpmLimit, strictLimit, slotLimit, budgetLimit] = [9, 100, 120, 6, 1_500];
  const list: Listed[] = [];
  const partOf = (ms: number) => Math.floor(ms / PART);
  const used = (isStrict: boolean, amountOf: (listed: Listed) => number) => {
    let fading = 0;
    let counted = 0;
    for (const listed of list) {
      const age = partOf(time.now) - partOf(listed.at);
      if (age < 12) counted += amountOf(listed);
      else if (age === 12) fading += amountOf(listed);
    }
    const left = isStrict ? 1_024 : Math.ceil(((PART - (time.now % PART)) * 1_024) / PART);
    return counted + Math.ceil((fading * left) / 1_024);
  };
  const money = () => {
    let [spent, reserved] = [0, 0];
    for (const { end, reserved: held, actual } of list) {
      if (end === "open") reserved += held.cost;
      else if (end === "expired") spent += held.cost;
      else spent += actual?.cost ?? 0;
    }
    return { spent, reserved };
  };
  const sweep = async () => {
    const swept = await store.sweep(100);
    for (const listed of list) {
      if (listed.end === "open" && listed.at + OWNER_LIFETIME_MS <= time.now) listed.end = "expired";
    }
    expect(swept.map(({ id }) => id).sort()).toEqual(
      list
        .filter(({ end }) => end === "expired")
        .map(({ id }) => id)
        .sort(),
    );
  };
  const agrees = async () => {
    const [state] = await store.budgets("tenant", [{ key: "budget", period: "2027-01" }]);
    const { spent, reserved } = money();
    expect([state?.spentNanoUsd, state?.reservedNanoUsd]).toEqual([spent, reserved]);
    expect(spent + reserved).toBeLessThanOrEqual(budgetLimit);
  };
  for (const each of steps) {
    if (each.name === "advance") {
      time.now += each.ms;
      await sweep();
    } else if (each.name === "admit") {
      const { tokens, cost } = each;
      const id = `id-${list.length}-${time.now}`;
      const limits = [
        rpm(rpmLimit),
        tpm(tpmLimit, tokens),
        tpm(strictLimit, tokens, { key: "strict", isStrict: true }),
        slots(slotLimit),
        budget(budgetLimit, cost),
      ];
      const { spent, reserved } = money();
      const before = [
        used(false, () => 1),
        used(false, ({ tokensInWindow }) => tokensInWindow),
        used(true, ({ tokensInWindow }) => tokensInWindow),
        list.filter(({ end, holdsSlot }) => end === "open" && holdsSlot).length,
        spent + reserved,
      ];
      const most = [rpmLimit, tpmLimit, strictLimit, slotLimit, budgetLimit];
      const asked = [1, tokens, tokens, 1, cost];
      const refused = most.flatMap((limit, at) => ((before[at] ?? 0) + (asked[at] ?? 0) > limit ? [at] : []));
      const answer = await store.admit({ id, owner: "mortal", partition: "tenant", lifetimeMs: 10 * MINUTE, limits });
      expect(answer.isAdmitted ? [] : answer.denials.map(({ index }) => index)).toEqual(refused);
      const after = most.map((limit, at) => limit - (before[at] ?? 0) - (answer.isAdmitted ? (asked[at] ?? 0) : 0));
      expect(answer.states.map(({ remaining }) => remaining)).toEqual(after.map((left) => Math.max(0, left)));
      if (answer.isAdmitted) {
        list.push({
          id,
          at: time.now,
          reserved: { tokens, cost },
          holdsSlot: true,
          actual: undefined,
          end: "open",
          tokensInWindow: tokens,
        });
      }
    } else {
      const listed = list[each.which];
      if (!listed) continue;
      const { reserved } = listed;
      const actual = {
        tokens: Math.floor((reserved.tokens * each.part) / 4),
        cost: Math.floor((reserved.cost * each.part) / 4),
      };
      const use = {
        id: listed.id,
        partition: "tenant",
        requests: 1,
        tokens: actual.tokens,
        costNanoUsd: actual.cost,
      };
      if (each.name === "adjust") {
        const [answer] = await store.adjust([use]);
        expect(answer?.isAdjusted).toBe(listed.end === "open");
        if (listed.end !== "open") continue;
        listed.reserved = actual;
        listed.holdsSlot = false;
        if (partOf(time.now) - partOf(listed.at) <= 12) listed.tokensInWindow = actual.tokens;
        await agrees();
        continue;
      }
      const [answer] = await store.settle([use]);
      const expected = { open: "applied", expired: "corrected", settled: "duplicate", corrected: "duplicate" } as const;
      expect(answer?.result).toBe(expected[listed.end]);
      if (listed.end !== "open" && listed.end !== "expired") continue;
      listed.end = listed.end === "open" ? "settled" : "corrected";
      listed.actual = actual;
      if (partOf(time.now) - partOf(listed.at) <= 12) listed.tokensInWindow = actual.tokens;
    }
    await agrees();
  }
  // What was really used in any window: of 11/12 of a minute, and of a whole one where the limit is strict.
  for (const { at } of list) {
    const within = (ms: number) => list.filter((other) => other.at > at - ms && other.at <= at);
    expect(within(11 * PART).length).toBeLessThanOrEqual(rpmLimit);
    const tokensOf = (ms: number) =>
      within(ms).reduce((sum, { actual, reserved }) => sum + (actual ?? reserved).tokens, 0);
    expect(tokensOf(11 * PART)).toBeLessThanOrEqual(tpmLimit);
    expect(tokensOf(12 * PART)).toBeLessThanOrEqual(strictLimit);
  }
  time.now += OWNER_LIFETIME_MS;
  await sweep();
  expect(money().reserved).toBe(0);
  const [state] = await store.budgets("tenant", [{ key: "budget", period: "2027-01" }]);
  expect(state).toMatchObject({ reservedNanoUsd: 0, spentNanoUsd: money().spent });
}
