import { describe, expect, test } from "vitest";
import { InvalidOptionsError } from "../../../../src/errors/router-error.js";
import { parseOptions } from "../../../../src/router/options.js";
import { defaultAffinity } from "../../../../src/routing/affinity/options.js";

const parsed = (affinity: unknown) =>
  parseOptions({ models: { chat: { affinity, deployments: [{ provider: "simulated", model: "m" }] } } }).groups.get(
    "chat",
  )?.affinity;

describe("the option `affinity`", () => {
  test("is on, off, or says how long and how much", () => {
    expect(parsed(undefined)).toEqual(defaultAffinity);
    expect(parsed(true)).toEqual(defaultAffinity);
    expect(parsed(false)).toMatchObject({ isEnabled: false });
    expect(parsed({ ttlMs: 5_000 })).toEqual({ isEnabled: true, ttlMs: 5_000, maxChunks: 2_048 });
  });

  test.each([
    ["yes", "affinity"],
    [{ ttlMs: 1 }, "affinity.ttlMs"],
    [{ maxChunks: 1.5 }, "affinity.maxChunks"],
    [{ ttlMS: 5_000 }, 'affinity.ttlMS: unknown option; did you mean "ttlMs"?'],
  ])("%j is refused with its path", (affinity, words) => {
    expect(() => parsed(affinity)).toThrow(InvalidOptionsError);
    expect(() => parsed(affinity)).toThrow(`models.chat.${words}`);
  });
});
