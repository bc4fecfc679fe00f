import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidOptionsError, RouterError } from "../../../../src/errors/router-error.js";
import { type Claim, claimProblem } from "../../../../src/limits/claim.js";
import { type BudgetOptions, budget } from "../../../../src/plugins/limits/budget.js";
import { type RateLimitOptions, rateLimit } from "../../../../src/plugins/limits/rate-limit.js";
import { accountOf, REQUEST_SCOPES, scopedClaims, valueMatcher } from "../../../../src/plugins/limits/scope.js";
import type { Plugin, PluginRequest } from "../../../../src/plugins/plugin.js";

function aRequest(fields: Partial<PluginRequest> = {}): PluginRequest {
  return {
    id: "req_1",
    identity: {},
    operation: "chat.completions",
    isStreaming: false,
    model: "chat",
    group: "chat",
    principal: undefined,
    tags: [],
    metadata: {},
    body: { model: "chat", messages: [] },
    signal: new AbortController().signal,
    depth: 0,
    ...fields,
  };
}

/** These plugins answer at once, with claims. */
const claims = (plugin: Plugin, fields?: Partial<PluginRequest>) =>
  plugin.reserve?.(aRequest(fields)) as readonly Claim[] | undefined;

/** Every problem of the options. */
function problems(make: () => unknown): Record<string, string> {
  try {
    make();
  } catch (error) {
    if (error instanceof InvalidOptionsError) {
      return Object.fromEntries(error.issues.map(({ path, message }) => [path, message]));
    }
    throw error;
  }
  return {};
}

describe("rateLimit", () => {
  it("claims each of its limits for the level that it is by, and nothing where the request has none", () => {
    const plugin = rateLimit({ by: "user", rpm: 5, tpm: 1_000, parallel: 2, strict: true, onStoreFailure: "closed" });
    expect(claims(plugin, { principal: { user: "42", team: "a" } })).toEqual([
      { kind: "parallel", key: "rateLimit/user:42", scope: 'user "42"', limit: 2, onStoreFailure: "closed" },
      {
        kind: "requests",
        key: "rateLimit/user:42",
        scope: 'user "42"',
        limit: 5,
        isStrict: true,
        onStoreFailure: "closed",
      },
      {
        kind: "tokens",
        key: "rateLimit/user:42",
        scope: 'user "42"',
        limit: 1_000,
        isStrict: true,
        onStoreFailure: "closed",
      },
    ]);
    expect(claims(plugin, { principal: { team: "a" } })).toEqual([]);
    expect(claims(plugin)).toEqual([]);
  });

  it("takes the innermost level of a principal, the model that was asked for, and each tag once", () => {
    const keysBy = (by: RateLimitOptions["by"], fields: Partial<PluginRequest>, match?: RateLimitOptions["match"]) =>
      claims(rateLimit({ by, rpm: 1, match, name: "n" }), fields)?.map(({ key }) => key);
    expect(keysBy("principal", { principal: { organization: "o", team: "t" } })).toEqual(["n/team:t"]);
    expect(keysBy("principal", { principal: { organization: "o", key: "k" } })).toEqual(["n/key:k"]);
    expect(keysBy("model", { model: "gpt-4", group: "chat" })).toEqual(["n/model:gpt-4"]);
    expect(keysBy("tag", { tags: ["a", "b", "a"] })).toEqual(["n/tag:a", "n/tag:b"]);
    expect(keysBy("tag", { tags: ["a", "project-x", "b"] }, ["b", "project-*"])).toEqual([
      "n/tag:project-x",
      "n/tag:b",
    ]);
    expect(keysBy("model", { model: "openai/o3" }, "openai/*")).toEqual(["n/model:openai/o3"]);
    expect(keysBy("model", { model: "chat" }, "openai/*")).toEqual([]);
  });

  it("states limits of deployments instead of claims", () => {
    const plugin = rateLimit({ by: "deployment", rpm: 5, match: "gpu-*" });
    const of = (id: string) =>
      plugin.deploymentLimits?.({ id, provider: "p", model: "m", tags: [], region: undefined });
    expect(of("gpu-1")).toEqual({ rpm: 5, tpm: undefined });
    expect(of("cloud")).toBeUndefined();
    expect(plugin.reserve).toBeUndefined();
  });

  it("refuses more tags than limits can be reserved at once, rather than leave one out", () => {
    const tags = Array.from({ length: 33 }, (_, index) => `t${index}`);
    expect(() => claims(rateLimit({ by: "tag", rpm: 1, tpm: 1 }), { tags })).toThrow(RouterError);
    expect(claims(rateLimit({ by: "tag", rpm: 1, tpm: 1 }), { tags: tags.slice(1) })).toHaveLength(64);
  });

  it("names every problem of its options", () => {
    expect(problems(() => rateLimit({ by: "usr", rpm: 0, tpm: 1.5, paralel: 2, match: [] } as never))).toEqual({
      "rateLimit.by": "expected one of key, user, team, organization, principal, model, tag, deployment",
      "rateLimit.rpm": "expected 1 at least",
      "rateLimit.tpm": "expected a whole number",
      "rateLimit.match": "expected at least one name or pattern",
      "rateLimit.paralel": 'unknown option; did you mean "parallel"?',
    });
    expect(problems(() => rateLimit({ by: "user" }))).toEqual({ rateLimit: "needs `rpm`, `tpm` or `parallel`" });
    expect(problems(() => rateLimit({ by: "user", parallel: 1, strict: true }))).toEqual({
      "rateLimit.strict": "needs `rpm` or `tpm`",
    });
    expect(
      problems(() => rateLimit({ by: "deployment", parallel: 1, strict: true, onStoreFailure: "closed" })),
    ).toEqual({
      rateLimit: "needs `rpm` or `tpm`",
      "rateLimit.parallel": "is no limit of deployments: use their `maxParallel`",
      "rateLimit.onStoreFailure": 'is always "local-share" for deployments',
      "rateLimit.strict": "is not possible for deployments",
    });
  });
});

describe("budget", () => {
  it("claims a hard budget, or a soft one", () => {
    const of = (options: Partial<BudgetOptions>) =>
      claims(budget({ by: "team", limitUsd: 2, ...options }), { principal: { team: "a" } });
    expect(of({ period: "month", reserve: "expected" })).toMatchObject([
      {
        kind: "budget",
        key: "budget/team:a",
        scope: 'team "a"',
        limitUsd: 2,
        period: "month",
        isHard: true,
        reserve: "expected",
      },
    ]);
    expect(of({ soft: true })).toMatchObject([{ kind: "budget", limitUsd: 2, isHard: false }]);
    expect(claims(budget({ by: "team", limitUsd: 2 }))).toEqual([]);
  });

  it("names every problem of its options", () => {
    expect(problems(() => budget({ by: "planet", limitUsd: -1, period: "year", reserv: "expected" } as never))).toEqual(
      {
        "budget.by": "expected one of key, user, team, organization, principal, model, tag, deployment",
        "budget.limitUsd": "expected 0 at least",
        "budget.period": 'expected "day", "week", "month", "total", or hours or days such as "24h"',
        "budget.reserv": 'unknown option; did you mean "reserve"?',
      },
    );
    expect(problems(() => budget({ by: "user", limitUsd: Number.POSITIVE_INFINITY }))).toHaveProperty(
      "budget.limitUsd",
    );
    expect(
      problems(() => budget({ by: "user", limitUsd: 1, soft: true, reserve: "expected", onStoreFailure: "closed" })),
    ).toEqual({
      "budget.reserve": "is for hard budgets: a soft one holds nothing",
      "budget.onStoreFailure": 'is always "open" for soft budgets, which refuse nothing',
    });
    expect(problems(() => budget({ by: "user", limitUsd: 1, cut: true }))).toEqual({
      "budget.cut": 'is for `reserve: "expected"`: otherwise no answer outgrows the budget',
    });
    expect(problems(() => budget({ by: "deployment", limitUsd: 1, reserve: "expected", cut: true }))).toEqual({
      "budget.reserve": 'is always "upper-bound" for deployments',
    });
  });

  it("states budgets of deployments instead of claims", () => {
    const plugin = budget({ by: "deployment", match: "azure-*", limitUsd: 5, period: "day", name: "azure" });
    const of = (id: string) =>
      plugin.deploymentLimits?.({ id, provider: "p", model: "m", tags: [], region: undefined });
    expect(of("azure-1")).toMatchObject({
      budgets: [
        { kind: "budget", key: "azure/deployment:azure-1", scope: 'deployment "azure-1"', limitUsd: 5, period: "day" },
      ],
    });
    expect(of("openai")).toBeUndefined();
    expect(claims(plugin)).toBeUndefined();
  });
});

describe("accounts", () => {
  const label = fc.string({ unit: "grapheme", minLength: 1, maxLength: 512 }).filter((text) => text.length <= 512);

  it("are good claims with keys that every store takes, and different for different values", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(label, { minLength: 1, maxLength: 16 }),
        fc.stringMatching(/^[\w@/.:-]{1,64}$/),
        (tags, name) => {
          const made = claims(rateLimit({ by: "tag", rpm: 1, name }), { tags }) ?? [];
          for (const claim of made) {
            expect(claimProblem(claim)).toBeUndefined();
            expect(claim.key).toMatch(/^[\x21-\x7e]{1,500}$/);
          }
          expect(new Set(made.map(({ key }) => key)).size).toBe(tags.length);
        },
      ),
    );
  });

  it("of a value that looks like the digest of another are not that one's", () => {
    const { key } = accountOf("tag", "ü");
    expect(accountOf("tag", key.slice("tag".length + 1)).key).not.toBe(key);
  });

  it("cannot be evaded by the length of a value", () => {
    expect(valueMatcher("project-*")("x".repeat(257))).toBe(true);
    expect(valueMatcher("project-*")("x")).toBe(false);
    expect(valueMatcher(["a".repeat(300)])("a".repeat(300))).toBe(true);
  });

  it("exist for every scope", () => {
    const request = aRequest({ principal: { key: "k", user: "u", team: "t", organization: "o" }, tags: ["a"] });
    for (const by of REQUEST_SCOPES) {
      const claimsOf = scopedClaims(
        by,
        () => true,
        ({ key }) => [{ kind: "requests", key, limit: 1 }],
      );
      expect(claimsOf(request), by).toHaveLength(1);
    }
  });

  it("claim the same frozen objects for each request, and other ones for each level of a principal", () => {
    const claimsOf = scopedClaims(
      "principal",
      () => true,
      ({ key }) => [{ kind: "requests", key, limit: 1 }],
    );
    const ofUser = claimsOf(aRequest({ principal: { user: "x", team: "t" } }));
    expect(claimsOf(aRequest({ principal: { user: "x" } }))).toBe(ofUser);
    expect(Object.isFrozen(ofUser) && ofUser.every(Object.isFrozen)).toBe(true);
    const ofKey = claimsOf(aRequest({ principal: { key: "x" } }));
    expect([ofUser, ofKey].map(([claim]) => claim?.key)).toEqual(["user:x", "key:x"]);
  });
});
