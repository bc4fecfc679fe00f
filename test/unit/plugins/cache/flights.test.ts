import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FlightOutcome, Flights } from "../../../../src/plugins/cache/flights.js";
import { virtualClock } from "../../../../src/testing/virtual-clock.js";
import "../../../support/seed.js";

const key = (name: string, check = name) => ({ key: name, check });
const aMember = () => ({});

function opened(maxWaitMs = 1_000) {
  const clock = virtualClock();
  const flights = new Flights<string>(clock, maxWaitMs);
  const enter = (member: object, name = "k") => flights.enter(member, key(name), true, true);
  return { clock, flights, enter };
}

describe("equal requests in flight", () => {
  it("follow the first one, and share its answer", async () => {
    const { flights, enter } = opened();
    const [leader, one, two] = [aMember(), aMember(), aMember()];
    expect(enter(leader)).toEqual({ kind: "lead" });
    const waiting = [enter(one), enter(two)];
    expect(flights.size).toBe(3);
    flights.answered(one, "not mine to give");
    flights.answered(leader, "42");
    expect(await Promise.all(waiting)).toEqual(Array(2).fill({ kind: "answer", answer: "42" }));
    expect(flights.size).toBe(0);
    for (const member of [leader, one, two]) flights.left(member, () => false);
    expect(enter(aMember())).toEqual({ kind: "lead" });
  });

  it("go alone where the key only collides, where they take no other's answer, or have none to give", () => {
    const { flights, enter } = opened();
    expect(flights.enter(aMember(), key("k"), false, true)).toEqual({ kind: "alone" });
    enter(aMember());
    expect(flights.enter(aMember(), key("k", "other"), true, true)).toEqual({ kind: "alone" });
    expect(flights.enter(aMember(), key("k"), true, false)).toEqual({ kind: "alone" });
    expect(enter(aMember(), "other")).toEqual({ kind: "lead" });
  });

  it("hand over from one that left to the one that has waited longest, and are freed by one that failed", async () => {
    const { flights, enter } = opened();
    const members = [aMember(), aMember(), aMember(), aMember()] as const;
    const [leader, one, two, three] = members;
    enter(leader);
    const [first, second, third] = [enter(one), enter(two), enter(three)];
    flights.left(leader, () => true);
    expect(await first).toEqual({ kind: "lead" });
    flights.left(two, () => true);
    expect(await second).toEqual({ kind: "alone" });
    flights.left(one, () => false);
    expect(await third).toEqual({ kind: "alone" });
    expect(flights.size).toBe(0);
  });

  it("are not led by one whose answer is its own", async () => {
    const { flights, enter } = opened();
    const leader = aMember();
    enter(leader);
    const own = flights.enter(aMember(), key("k"), false, true);
    const next = enter(aMember());
    flights.left(leader, () => true);
    expect(await next).toEqual({ kind: "lead" });
    const waiting = Promise.race([own, Promise.resolve("waits")]);
    expect(await waiting).toBe("waits");
  });

  it("wait no longer than allowed", async () => {
    const { clock, flights, enter } = opened(500);
    enter(aMember());
    const waiting = enter(aMember());
    await clock.advance(500);
    expect(await waiting).toEqual({ kind: "alone" });
    expect(flights.size).toBe(1);
  });

  it("each end exactly once, and leave nothing behind, whoever leaves when", async () => {
    const step = fc.tuple(fc.constantFrom("enter", "answer", "cancel", "fail", "wait"), fc.nat(9), fc.nat(2));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { clock, flights, enter } = opened();
        const members = Array.from({ length: 10 }, aMember);
        const inside = new Set<object>();
        const pending = new Set<object>();
        for (const [what, which, name] of steps) {
          const member = members[which] as object; // one of ten
          if (what === "enter" && !inside.has(member)) {
            inside.add(member);
            const outcome = enter(member, String(name));
            if (outcome instanceof Promise) {
              pending.add(member);
              void outcome.then((_: FlightOutcome<string>) => expect(pending.delete(member)).toBe(true));
            }
          } else if (what === "answer" && inside.has(member)) flights.answered(member, "x");
          else if (what === "wait") await clock.advance(600);
          else if (what === "cancel" || what === "fail") {
            flights.left(member, () => what === "cancel");
            inside.delete(member);
            members[which] = aMember();
          }
          await Promise.resolve();
        }
        for (const member of members) flights.left(member, () => true);
        await clock.advance(0);
        expect(flights.size).toBe(0);
        expect(pending.size).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
