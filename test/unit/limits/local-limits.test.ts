import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Claim } from "../../../src/limits/claim.js";
import type { ClaimDenied, Reservation } from "../../../src/limits/limits.js";
import { LocalLimits } from "../../../src/limits/local-limits.js";

const parallel = (key: string, limit: number): Claim => ({ kind: "parallel", key, limit });
const usage = {
  promptTokens: 1,
  cachedTokens: 0,
  completionTokens: 1,
  reasoningTokens: 0,
  isEstimated: false,
  costUsd: null,
};

function reserved(answer: Reservation | ClaimDenied): Reservation {
  if (!answer.isReserved) throw new Error(`denied: ${answer.key}`);
  return answer;
}

describe("LocalLimits", () => {
  it("lets as many requests in at the same time as the limit says", () => {
    const limits = new LocalLimits();
    const first = reserved(limits.reserve([parallel("user:1", 2)]));
    reserved(limits.reserve([parallel("user:1", 2)]));
    expect(limits.reserve([parallel("user:1", 2)])).toEqual({
      isReserved: false,
      index: 0,
      kind: "parallel",
      key: "user:1",
      limit: 2,
    });
    first.release();
    expect(limits.reserve([parallel("user:1", 2)]).isReserved).toBe(true);
  });

  it("R11: reserves all claims or none", () => {
    const limits = new LocalLimits();
    reserved(limits.reserve([parallel("team:a", 1)]));
    const answer = limits.reserve([parallel("user:1", 5), parallel("team:a", 1)]);
    expect(answer).toMatchObject({ isReserved: false, index: 1, key: "team:a" });
    expect(limits.view()).toEqual({ openReservations: 1, parallel: new Map([["team:a", 1]]) });
  });

  it("R26: one key at its limit does not slow another", () => {
    const limits = new LocalLimits();
    reserved(limits.reserve([parallel("tenant:noisy", 1)]));
    expect(limits.reserve([parallel("tenant:noisy", 1)]).isReserved).toBe(false);
    expect(limits.reserve([parallel("tenant:quiet", 1)]).isReserved).toBe(true);
  });

  it("counts a request once, however often its claims name a key, and holds each claim's limit", () => {
    const limits = new LocalLimits();
    reserved(limits.reserve([parallel("user:1", 9), parallel("user:1", 2)]));
    expect(limits.view().parallel.get("user:1")).toBe(1);
    reserved(limits.reserve([parallel("user:1", 2)]));
    expect(limits.reserve([parallel("user:1", 9), parallel("user:1", 2)])).toMatchObject({ index: 1, limit: 2 });
  });

  it("R13: gives back exactly once, by whichever ending comes first", () => {
    const limits = new LocalLimits();
    const reservation = reserved(limits.reserve([parallel("user:1", 2)]));
    reserved(limits.reserve([parallel("user:1", 2)]));
    reservation.settle(usage);
    reservation.settle(usage);
    reservation.release();
    expect(limits.view()).toEqual({ openReservations: 1, parallel: new Map([["user:1", 1]]) });
  });

  it("S27: forgets a key that nobody holds", () => {
    const limits = new LocalLimits();
    for (let user = 0; user < 1_000; user++) reserved(limits.reserve([parallel(`user:${user}`, 1)])).release();
    expect(limits.view()).toEqual({ openReservations: 0, parallel: new Map() });
  });

  it("hands out views that nobody can change it through", () => {
    const limits = new LocalLimits();
    (limits.view().parallel as Map<string, number>).set("user:1", 99);
    expect(limits.reserve([parallel("user:1", 1)]).isReserved).toBe(true);
  });

  it("R2, R3: agrees with a model under any order of reserving and ending, and is empty in the end", () => {
    const claims = fc.uniqueArray(
      fc.record({ key: fc.constantFrom("a", "b", "c", "__proto__"), limit: fc.integer({ min: 1, max: 3 }) }),
      { maxLength: 4, selector: ({ key, limit }) => `${key}${limit}` },
    );
    const step = fc.oneof(
      fc.record({ does: fc.constant("reserve" as const), claims }),
      fc.record({ does: fc.constantFrom("settle" as const, "release" as const), at: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const limits = new LocalLimits();
        const held: { reservation: Reservation; keys: Set<string>; isOpen: boolean }[] = [];
        const inUse = (key: string) => held.filter((one) => one.isOpen && one.keys.has(key)).length;
        for (const one of steps) {
          if (one.does === "reserve") {
            const hasRoom = one.claims.every(({ key, limit }) => inUse(key) < limit);
            const answer = limits.reserve(one.claims.map(({ key, limit }) => parallel(key, limit)));
            expect(answer.isReserved).toBe(hasRoom);
            if (answer.isReserved) {
              held.push({ reservation: answer, keys: new Set(one.claims.map(({ key }) => key)), isOpen: true });
            }
          } else {
            const chosen = held[one.at % Math.max(1, held.length)];
            if (!chosen) continue;
            // Ended ones again, too: that must change nothing.
            if (one.does === "settle") chosen.reservation.settle(usage);
            else chosen.reservation.release();
            chosen.isOpen = false;
          }
          const view = limits.view();
          expect(view.openReservations).toBe(held.filter(({ isOpen }) => isOpen).length);
          for (const key of ["a", "b", "c", "__proto__"]) expect(view.parallel.get(key) ?? 0).toBe(inUse(key));
        }
        for (const { reservation } of held) reservation.release();
        expect(limits.view()).toEqual({ openReservations: 0, parallel: new Map() });
      }),
    );
  });
});
