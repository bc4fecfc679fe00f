import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DeploymentHealth } from "../../../src/health/deployment-health.js";
import { GroupHealth } from "../../../src/health/group-health.js";
import { aHealth, handClock } from "../../support/candidates.js";

const aGroup = () => new GroupHealth({ members: [], hasFallbackChain: false, maxOpenShare: 0.5 });

describe("output tokens of a group", () => {
  test("the mean starts with the first answers and then moves by a fiftieth", () => {
    const group = aGroup();
    expect(group.meanOutputTokens).toBe(180);
    group.recordOutput(100);
    expect(group.meanOutputTokens).toBe(100);
    for (let answer = 0; answer < 99; answer++) group.recordOutput(100);
    group.recordOutput(200);
    expect(group.meanOutputTokens).toBeCloseTo(102);
  });

  test("below 50 answers the 95th percentile is four times the mean", () => {
    const group = aGroup();
    expect(group.p95OutputTokens).toBe(720);
    for (let answer = 0; answer < 49; answer++) group.recordOutput(100);
    expect(group.p95OutputTokens).toBeCloseTo(400);
    group.recordOutput(100);
    expect(group.p95OutputTokens).toBe(100);
  });

  test("the 95th percentile is that of the last 200 answers", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(60), fc.nat(10_000)), { minLength: 50, maxLength: 900, size: "max" }),
        (outputs) => {
          const group = aGroup();
          for (const output of outputs) group.recordOutput(output);
          const sorted = outputs.slice(-200).sort((a, b) => a - b);
          expect(group.p95OutputTokens).toBe(sorted[Math.ceil(0.95 * sorted.length) - 1]);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("members of a group", () => {
  const work = { uncachedTokens: 100, isStreaming: true, expectedOutputTokens: 10 };

  const fail = (health: DeploymentHealth | undefined) => {
    for (let failure = 0; failure < 5; failure++) health?.begin(work).end({ outcome: "hard", outputTokens: 0 });
  };

  test("openings of before the group count under its cap until they recover", () => {
    const clock = handClock();
    const healths = ["a", "b", "c", "d"].map((id) => aHealth({ id, clock }));
    const [a, b, c] = healths;
    fail(a);
    const group = new GroupHealth({ members: healths, hasFallbackChain: false, maxOpenShare: 0.5 });
    expect(group.mayOpen()).toBe(true);
    fail(b);
    expect(group.mayOpen()).toBe(false);
    fail(c);
    expect(c?.availability(clock.time)).toBe("available");
    clock.time += 6_000;
    a?.begin(work).end({ outcome: "ok", outputTokens: 1 });
    expect(group.mayOpen()).toBe(true);
  });

  test("timeouts withdraw a member while most of the others are well, and nobody while all are late", () => {
    const clock = handClock();
    const healths = ["a", "b", "c", "d", "e"].map((id) => aHealth({ id, clock }));
    new GroupHealth({ members: healths, hasFallbackChain: false, maxOpenShare: 0.5 });
    const timeOut = (health: DeploymentHealth | undefined, times = 1) => {
      for (let time = 0; time < times; time++) health?.begin(work).end({ outcome: "soft", outputTokens: 0 });
    };
    const [a, b, c, d, e] = healths;
    timeOut(a, 5);
    expect(a?.availability(clock.time)).toBe("cooling-down");
    // Of the four that are left, the others are late, too.
    for (let time = 0; time < 2; time++) for (const health of [c, d, e]) timeOut(health);
    timeOut(b, 40);
    expect(b?.availability(clock.time)).toBe("available");
    // Once they are well again, it is its own fault.
    for (const health of [c, d])
      for (let ok = 0; ok < 10; ok++) health?.begin(work).end({ outcome: "ok", outputTokens: 1 });
    timeOut(b);
    expect(b?.availability(clock.time)).toBe("cooling-down");
    // A refused connection is a fault whatever the others do.
    timeOut(e, 4);
    e?.begin(work).end({ outcome: "hard", outputTokens: 0 });
    expect(e?.availability(clock.time)).toBe("available"); // by the cap on openings alone
  });

  test("a failed connection among the timeouts withdraws a member although all are late", () => {
    const clock = handClock();
    const healths = ["a", "b", "c"].map((id) => aHealth({ id, clock }));
    new GroupHealth({ members: healths, hasFallbackChain: false, maxOpenShare: 0.5 });
    for (let time = 0; time < 4; time++) {
      for (const health of healths) health.begin(work).end({ outcome: "soft", outputTokens: 0 });
    }
    healths[0]?.begin(work).end({ outcome: "hard", outputTokens: 0 });
    expect(healths.map((health) => health.availability(clock.time))).toEqual([
      "cooling-down",
      "available",
      "available",
    ]);
  });

  test("a member that left neither counts nor tells the group anything", () => {
    const a = aHealth({ id: "a" });
    const group = new GroupHealth({ members: [a], hasFallbackChain: false, maxOpenShare: 0.5 });
    group.reconfigure({ members: [], hasFallbackChain: false, maxOpenShare: 0.5 });
    fail(a);
    expect(a.isFree).toBe(false);
    expect(group.mayOpen()).toBe(true);
    expect(group.changes).toBe(0);
  });

  test("numbers the changes of who is free, and remembers the last 64", () => {
    const a = aHealth({ id: "a", maxParallel: 1 });
    const b = aHealth({ id: "b", maxParallel: 1 });
    const group = new GroupHealth({ members: [a, b], hasFallbackChain: true, maxOpenShare: 0.5 });
    const attempt = a.begin(work);
    b.begin(work);
    attempt.end({ outcome: "ok", outputTokens: 1 });
    expect([group.changeAt(0), group.changeAt(1), group.changeAt(2)]).toEqual([a, b, a]);
    expect(group.changes).toBe(3);
    for (let turn = 0; turn < 31; turn++) a.begin(work).end({ outcome: "ok", outputTokens: 1 });
    expect(group.changes).toBe(65);
    expect(group.changeAt(0)).toBeUndefined();
    expect(group.changeAt(1)).toBe(b);
  });
});
