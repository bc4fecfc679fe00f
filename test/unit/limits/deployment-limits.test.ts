import { describe, expect, it } from "vitest";
import { type DeploymentLimitOptions, DeploymentLimits } from "../../../src/limits/deployment-limits.js";

const limitsOf = (options: Partial<DeploymentLimitOptions>) =>
  new DeploymentLimits({ id: "d", rpm: undefined, tpm: undefined, sharedParallel: undefined, ...options });

describe("the limits of a deployment", () => {
  it("has room for `rpm` requests a minute, and says when there is room again", () => {
    const limits = limitsOf({ rpm: 2 });
    limits.take(0, 0);
    expect(limits.hasRoom(0, 0)).toBe(true);
    limits.take(0, 1_000);
    expect(limits.hasRoom(0, 1_000)).toBe(false);
    const at = limits.roomAt(0, 1_000);
    expect(at).toBeGreaterThan(55_000);
    expect(at).toBeLessThanOrEqual(65_000);
    expect(limits.hasRoom(0, at)).toBe(true);
    expect(limits.hasRoom(0, at - 1)).toBe(false);
  });

  it("counts tokens as expected, and as they were at the end", () => {
    const limits = limitsOf({ tpm: 100 });
    expect(limits.isTooLarge(101)).toBe(true);
    expect(limits.isTooLarge(100)).toBe(false);
    const share = limits.take(80, 0);
    expect(limits.hasRoom(21, 0)).toBe(false);
    share.end(true, 30, 10);
    share.end(true, 0, 10);
    expect(limits.hasRoom(70, 10)).toBe(true);
    expect(limits.hasRoom(71, 10)).toBe(false);
    expect(limits.headroom(10)).toBeCloseTo(0.7);
  });

  it("gives a request back that was never sent", () => {
    const limits = limitsOf({ rpm: 1, tpm: 10 });
    limits.take(10, 0).end(false, 0, 5);
    expect(limits.hasRoom(10, 5)).toBe(true);
    limits.take(10, 5).end(true, 0, 6);
    expect(limits.hasRoom(0, 6)).toBe(false);
  });

  it("believes a shared store for five seconds", () => {
    const limits = limitsOf({ rpm: 10, tpm: 100 });
    limits.learn(
      [
        { remaining: 0, resetMs: 0 },
        { remaining: 40, resetMs: 0 },
      ],
      0,
    );
    expect(limits.hasRoom(1, 0)).toBe(false);
    expect(limits.headroom(0)).toBe(0);
    expect(limits.hasRoom(1, 5_000)).toBe(true);
    limits.noteFull(2_000, 5_000);
    expect(limits.hasRoom(1, 6_999)).toBe(false);
    expect(limits.roomAt(1, 6_000)).toBe(7_000);
    expect(limits.hasRoom(1, 7_000)).toBe(true);
  });

  it("R14: its share, while the others cannot be asked, is of what this process has taken itself", () => {
    const limits = limitsOf({ rpm: 8, tpm: 800, sharedParallel: 4 });
    // Others have used nearly everything.
    limits.learn(
      [
        { remaining: 1, resetMs: 0 },
        { remaining: 1, resetMs: 0 },
        { remaining: 1, resetMs: 0 },
      ],
      0,
    );
    const shares = [limits.take(100, 0), limits.take(100, 0)];
    expect(limits.hasShare(4, 0, 100, true)).toBe(false); // 2 at the same time, of 4 / 4
    shares[0]?.end(true, 100, 0);
    expect(limits.hasShare(4, 0, 100, true)).toBe(true); // 2 requests of 8 / 4
    expect(limits.hasShare(4, 0, 100, false)).toBe(false); // a third would be beyond it
    shares[1]?.end(true, 100, 0);
    limits.take(100, 0);
    expect(limits.hasShare(4, 0, 100, true)).toBe(false);
    expect(limits.hasShare(2, 0, 100, true)).toBe(true);
  });

  it("a share is never less than one request", () => {
    const limits = limitsOf({ rpm: 1, tpm: 10, sharedParallel: 1 });
    expect(limits.hasShare(8, 0, 10, false)).toBe(true);
  });

  it("is the same limit as long as nothing of it changes", () => {
    const limits = limitsOf({ rpm: 1 });
    expect(limits.isLike({ id: "d", rpm: 1, tpm: undefined, sharedParallel: undefined })).toBe(true);
    for (const other of [{ rpm: 2 }, { rpm: 1, tpm: 1 }, { rpm: 1, sharedParallel: 1 }]) {
      expect(limits.isLike({ id: "d", tpm: undefined, sharedParallel: undefined, ...other })).toBe(false);
    }
  });

  it("states the same limits for a shared store", () => {
    const { rules } = limitsOf({ rpm: 1, tpm: 2, sharedParallel: 3 });
    expect(rules.map((rule) => [rule.kind, rule.key, rule.scope])).toEqual([
      ["parallel", "parallel:deployment:d", "deployment d"],
      ["requests", "requests:deployment:d", "deployment d"],
      ["tokens", "tokens:deployment:d", "deployment d"],
    ]);
  });
});
