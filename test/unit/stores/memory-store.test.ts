import { describe, expect, it } from "vitest";
import { type Random, seededRandom } from "../../../src/internal/random.js";
import { createMemoryStore } from "../../../src/stores/memory-store.js";
import { clockOf, rpm, slots, tpm } from "../../conformance/stores.js";

const START = 1_800_000_000_000;
const reserving = { owner: "owner", partition: "tenant", lifetimeMs: 600_000 };
const unused = { partition: "tenant", requests: 0, tokens: 0, costNanoUsd: 0 };

/** Exponential pauses. */
const pauseMs = (random: Random, perMs: number) => -Math.log(1 - random.next()) / perMs;
/** Lognormal, as prompts and outputs are. */
function lognormal(random: Random, median: number, sigma: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  return Math.max(1, Math.round(median * Math.exp(sigma * normal)));
}

/** The most that any 60 s hold. */
function worstMinute(events: readonly { at: number; amount: number }[]): number {
  let [worst, sum, first] = [0, 0, 0];
  for (const { at, amount } of events) {
    sum += amount;
    for (; (events[first]?.at ?? at) <= at - 60_000; first++) sum -= events[first]?.amount ?? 0;
    worst = Math.max(worst, sum);
  }
  return worst;
}

describe("limits of the store in memory", () => {
  it("S27: forget accounts that nobody uses, however many names there are", () => {
    const time = { now: START };
    const store = createMemoryStore({ clock: clockOf(time), maxTombstones: 500, maxHints: 50 });
    for (let count = 0; count < 12_000; count++) {
      time.now += 1_000;
      const id = `id-${count}`;
      const partition = `tenant-${count}`;
      store.admit({ ...reserving, id, partition, limits: [rpm(5), slots(5)] });
      store.settle([{ ...unused, id, partition, requests: 1, fingerprint: id, deployment: "d" }]);
    }
    // 671 s of windows and their grace, and half as many again that wait to be looked at.
    expect(store.view().accounts).toBeLessThan(3_000);
    expect(store.view()).toMatchObject({ openReservations: 0, expiredReservations: 0, tombstones: 500, hints: 50 });
  });

  it("S27: let a refusal leave nothing behind for long", () => {
    const time = { now: START };
    const store = createMemoryStore({ clock: clockOf(time) });
    for (let count = 0; count < 8_000; count++) {
      const limits = [rpm(0, { key: `key-${count}` })];
      expect(store.admit({ ...reserving, id: `id-${count}`, limits }).isAdmitted).toBe(false);
    }
    expect(store.view().accounts).toBeLessThan(2_100);
  });

  // Row 28: bursts of twice the limit each 45 s, and 1.5 times the limit as Poisson arrivals.
  it("28: admit in no 60 s more than 1.03 of the limit, and never more than the limit where it is strict", () => {
    const worst = (isStrict: boolean, seed: number) => {
      const random = seededRandom(seed);
      const time = { now: START };
      const store = createMemoryStore({ clock: clockOf(time) });
      const limit = 300;
      const arrivals: number[] = [];
      for (let at = 0; at < 600_000; at += 45_000) for (let n = 0; n < 2 * limit; n++) arrivals.push(at + n / 10);
      for (let at = 0; at < 600_000; at += pauseMs(random, (1.5 * limit) / 60_000)) arrivals.push(at);
      arrivals.sort((a, b) => a - b);
      const admitted: { at: number; amount: number }[] = [];
      arrivals.forEach((at, n) => {
        time.now = START + Math.floor(at);
        if (store.admit({ ...reserving, id: `id-${n}`, limits: [rpm(limit, { isStrict })] }).isAdmitted) {
          admitted.push({ at, amount: 1 });
        }
      });
      return worstMinute(admitted) / limit;
    };
    for (const seed of [1, 2, 3]) {
      expect(worst(false, seed)).toBeLessThanOrEqual(1.03);
      expect(worst(true, seed)).toBeLessThanOrEqual(1);
    }
  });

  // Row 29: a million tokens a minute, demand 1.5 times that; a call takes its output's time.
  it("29: stay within the limit by reserving, where charging afterwards does not", () => {
    const worst = (reserve: "nothing" | "p95" | "most", seed: number) => {
      const random = seededRandom(seed);
      const time = { now: START };
      const store = createMemoryStore({ clock: clockOf(time) });
      const limit = 1_000_000;
      const outputs = Array.from({ length: 2_000 }, () => Math.min(1_500, lognormal(random, 180, 0.7)));
      const p95 = outputs.sort((a, b) => a - b)[1_900] ?? 0;
      const events: { at: number; run: () => void }[] = [];
      const used: { at: number; amount: number }[] = [];
      const mean = 1_100 + 230;
      for (let at = 0, n = 0; at < 300_000; at += pauseMs(random, (1.5 * limit) / mean / 60_000), n++) {
        const prompt = Math.min(8_000, Math.max(20, lognormal(random, 800, 0.8)));
        const output = Math.min(1_500, lognormal(random, 180, 0.7));
        const id = `id-${n}`;
        const begin = () => {
          const amount = reserve === "nothing" ? 0 : prompt + (reserve === "p95" ? Math.min(1_500, p95) : 1_500);
          if (!store.admit({ ...reserving, id, limits: [tpm(limit, amount)] }).isAdmitted) return;
          const end = at + 300 + 40 * output;
          used.push({ at, amount: prompt + output });
          later(end, () => store.settle([{ ...unused, id, requests: 1, tokens: prompt + output }]));
        };
        events.push({ at, run: begin });
      }
      const ends: { at: number; run: () => void }[] = [];
      const later = (at: number, run: () => void) => {
        const place = ends.findIndex((other) => other.at > at);
        ends.splice(place === -1 ? ends.length : place, 0, { at, run });
      };
      for (const { at, run } of events) {
        for (let end = ends[0]; end && end.at <= at; end = ends[0]) {
          ends.shift();
          time.now = START + Math.floor(end.at);
          end.run();
        }
        time.now = START + Math.floor(at);
        run();
      }
      return worstMinute(used) / limit;
    };
    for (const seed of [1, 2, 3]) {
      expect(worst("nothing", seed)).toBeGreaterThanOrEqual(1.1);
      expect(worst("p95", seed)).toBeLessThanOrEqual(1.02);
      expect(worst("most", seed)).toBeLessThanOrEqual(1);
    }
  });
});
