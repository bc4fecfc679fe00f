import { describe, expect, test } from "vitest";
import { isPoisonRequest } from "../../../src/health/poison.js";
import { aHealth, anError, handClock } from "../../support/candidates.js";

describe("isPoisonRequest", () => {
  const clock = handClock();
  const healthy = (id: string, okAt = 0) => {
    const health = aHealth({ id, clock });
    clock.time = okAt;
    health
      .begin({ uncachedTokens: 1, isStreaming: true, expectedOutputTokens: 1 })
      .end({ outcome: "ok", outputTokens: 1 });
    return health;
  };
  const [first, second] = [healthy("a"), healthy("b")];
  const error = anError({ status: 500 }, "cannot parse");

  test("two healthy deployments that give the same answer accuse the request", () => {
    expect(
      isPoisonRequest({ health: first, error }, { health: second, error: anError({}, "cannot parse") }, 10_000),
    ).toBe(true);
  });

  test("the success of either must not be older than 10 s", () => {
    expect(isPoisonRequest({ health: first, error }, { health: second, error }, 10_001)).toBe(false);
    expect(isPoisonRequest({ health: first, error }, { health: healthy("c", 5_000), error }, 12_000)).toBe(false);
    expect(isPoisonRequest({ health: first, error }, { health: aHealth({ id: "never" }), error }, 1)).toBe(false);
  });

  test("one deployment does not accuse alone", () => {
    expect(isPoisonRequest({ health: first, error }, { health: first, error }, 1)).toBe(false);
  });

  test.each([
    ["another status", anError({ status: 502 }, "cannot parse")],
    ["another text", anError({ status: 500 }, "cannot parse this")],
    ["no status", anError({ status: undefined }, "cannot parse")],
    ["a transport fault", anError({ errorClass: "network", status: 500 }, "cannot parse")],
    ["a timeout", anError({ errorClass: "timeout", status: 500 }, "cannot parse")],
    ["a rate limit", anError({ errorClass: "rate_limit", status: 500 }, "cannot parse")],
    ["an exhausted quota", anError({ errorClass: "quota", status: 500 }, "cannot parse")],
    ["a refused credential", anError({ errorClass: "authentication", status: 500 }, "cannot parse")],
  ])("%s accuses nobody", (_, other) => {
    expect(isPoisonRequest({ health: first, error: other }, { health: second, error }, 1)).toBe(false);
    expect(isPoisonRequest({ health: first, error }, { health: second, error: other }, 1)).toBe(false);
  });
});

describe("isPoisonRequest, of two equal answers", () => {
  test.each([
    ["network", false],
    ["server", true],
    ["timeout", false],
    ["rate_limit", false],
    ["overloaded", false],
    ["quota", false],
    ["authentication", false],
    ["permission", true],
    ["not_found", true],
  ] as const)("class %s: %s", (errorClass, expected) => {
    const [first, second] = ["a", "b"].map((id) => {
      const health = aHealth({ id });
      health
        .begin({ uncachedTokens: 1, isStreaming: true, expectedOutputTokens: 1 })
        .end({ outcome: "ok", outputTokens: 1 });
      return { health, error: anError({ errorClass, status: 500 }, "the same") };
    });
    if (!first || !second) throw new Error("two were made");
    expect(isPoisonRequest(first, second, 1)).toBe(expected);
  });
});
