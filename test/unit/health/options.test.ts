import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { cooldownOption, defaultCooldown } from "../../../src/health/options.js";

const group = z.strictObject({ cooldown: cooldownOption.optional() });

function issuesOf(cooldown: unknown): string[] {
  const parsed = group.safeParse({ cooldown });
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

describe("the option `cooldown`", () => {
  test("has the defaults of the routing specification", () => {
    expect(group.parse({ cooldown: {} }).cooldown).toEqual({
      isEnabled: true,
      failures: 5,
      errorRate: 0.5,
      minOutcomes: 10,
      windowMs: 30_000,
      baseMs: 5_000,
      maxMs: 120_000,
      jitter: 0.2,
      cleanMs: 60_000,
      unprobedMs: 30_000,
      maxOpenShare: 0.5,
      limitedBaseMs: 1_000,
      limitedMaxMs: 60_000,
      overloadedMaxMs: 2_000,
      configMs: 300_000,
      quotaBaseMs: 900_000,
      quotaMaxMs: 3_600_000,
      successWeight: 0.1,
      forgiveMs: 15_000,
      panic: false,
    });
  });

  test("documents the default that it has, for every field", () => {
    const source = readFileSync(new URL("../../../src/health/options.ts", import.meta.url), "utf8");
    const documented = new Map(
      [...source.matchAll(/@default (\S+) \*\/\n {2}readonly (\w+)\?:/g)].map(([, value, name]) => [name, value]),
    );
    const { isEnabled: _, ...fields } = defaultCooldown;
    expect(Object.fromEntries(documented)).toEqual(
      Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)])),
    );
  });

  test("`false` keeps the rest at its defaults", () => {
    expect(group.parse({ cooldown: false }).cooldown).toEqual({ ...defaultCooldown, isEnabled: false });
  });

  test("takes what is given and leaves the caller's object as it was", () => {
    const given = { failures: 3 };
    expect(group.parse({ cooldown: given }).cooldown).toEqual({ ...defaultCooldown, failures: 3 });
    expect(given).toEqual({ failures: 3 });
  });

  test("reports every problem with its path", () => {
    expect(issuesOf({ failurs: 3 })).toEqual(['cooldown: Unrecognized key: "failurs"']);
    expect(issuesOf({ failures: 0, errorRate: 2 }).map((issue) => issue.split(":")[0])).toEqual([
      "cooldown.failures",
      "cooldown.errorRate",
    ]);
    expect(issuesOf(true)).toHaveLength(1);
    expect(issuesOf({ baseMs: 10, maxMs: 5 })).toEqual([
      "cooldown.maxMs: Expected `maxMs` to be at least `baseMs` (10), received 5",
    ]);
    expect(issuesOf({ quotaBaseMs: 10, quotaMaxMs: 5 })).toHaveLength(1);
    expect(issuesOf({ limitedBaseMs: 10, limitedMaxMs: 5 })).toHaveLength(1);
  });
});
