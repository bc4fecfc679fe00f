import { describe, expect, it } from "vitest";
import { createDirectory } from "../../../src/access/create-directory.js";
import type { DirectoryOptions } from "../../../src/access/options.js";
import { InvalidOptionsError } from "../../../src/errors/router-error.js";

const DIGEST = "ab".repeat(32);

function problemsOf(options: unknown): Record<string, string> {
  try {
    createDirectory(options as DirectoryOptions);
  } catch (error) {
    if (!(error instanceof InvalidOptionsError)) throw error;
    return Object.fromEntries(error.issues.map(({ path, message }) => [path, message]));
  }
  return {};
}

const problemOf = (fields: unknown) => Object.entries(problemsOf({ organizations: { acme: fields } }));

describe("options of a directory", () => {
  it("may be left out", () => expect(problemsOf({})).toEqual({}));

  it("are reported all at once, each with its path and what was probably meant", () => {
    expect(
      problemsOf({
        cacheTTLMs: 1,
        organizations: { acme: { rpmm: 1 } },
        teams: { search: { organization: "acmee", budgetUsd: 9_000_001 }, ads: { models: ["gpt 4"] } },
        users: { "a b": {}, ada: { teams: ["search", "adds"] } },
        keys: { one: { user: "bob", digest: DIGEST }, two: {}, three: 3 },
      }),
    ).toEqual({
      cacheTTLMs: 'unknown option; did you mean "cacheTtlMs"?',
      "organizations.acme.rpmm": 'unknown option; did you mean "rpm"?',
      "teams.search.budgetUsd": "expected at most 9000000, received 9000001",
      "teams.ads.models[0]": expect.stringContaining("expected a name or pattern of a model"),
      'users["a b"]': expect.stringContaining("is not fit to be an id"),
      "users.ada.teams[1]": 'unknown team "adds"; did you mean "ads"?',
      "keys.one.user": 'unknown user "bob"',
      "keys.two.secret": "expected either `secret` or `digest`",
      "keys.three": "expected an object of fields",
    });
  });

  it.each([
    { rpm: 0 },
    { rpm: -1 },
    { rpm: 1.5 },
    { rpm: Number.NaN },
    { rpm: Number.POSITIVE_INFINITY },
    { rpm: 1e9 + 1 },
    { rpm: "5" },
    { tpm: 1e12 + 1 },
    { maxParallel: 1e6 + 1 },
    { budgetUsd: -0.01 },
    { budgetUsd: 9_000_000.01 },
    { budgetUsd: Number.NaN },
    { softBudgetUsd: Number.POSITIVE_INFINITY },
    { budgetUsd: 1, softBudgetUsd: 2 },
    { budgetPeriod: "year" },
    { budgetPeriod: "0h" },
    { budgetPeriod: "-1d" },
    { budgetPeriod: "1.5h" },
    { budgetPeriod: "99999d" },
    { models: "chat" },
    { models: ["*", "!"] },
    { models: ["!openai/o3"] },
    { models: [""] },
    { models: Array(1_001).fill("a") },
    { modelLimits: { "!a": { rpm: 1 } } },
    { modelLimits: { a: { rpm: -1 } } },
    { modelLimits: { a: { models: ["b"] } } },
    { blocked: "yes" },
    { expiresAt: 1_700_000_000 },
    { expiresAt: Number.NaN },
    { expiresAt: 1e15 },
    { metadata: { a: 1 } },
    { metadata: { "": "x" } },
    { metadata: { a: "x".repeat(513) } },
    { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, "v"])) },
    { tags: [""] },
    { tags: ["a\nb"] },
    { tags: Array(17).fill("a") },
    { name: "\u001b[31m" },
    { name: "" },
    { organization: "x" },
    { secret: "x" },
  ])("R18: refuse %j", (fields) => expect(problemOf(fields)).toHaveLength(1));

  it("take every field at its bounds", () => {
    const allowance = { rpm: 1, tpm: 1e12, maxParallel: 1e6, budgetUsd: 9_000_000, softBudgetUsd: 0 } as const;
    expect(
      problemOf({
        ...allowance,
        budgetPeriod: "24h",
        models: [],
        modelLimits: { "openai/*": allowance },
        blocked: false,
        expiresAt: Date.UTC(2030, 0),
        metadata: { owner: "" },
        tags: ["eu"],
        name: "Acme",
      }),
    ).toEqual([]);
  });

  it.each(["", "a b", "..", ".", "a/b", "ä", "x".repeat(129), "a\n"])("refuse %j as an id", (id) => {
    expect(Object.keys(problemsOf({ users: { [id]: {} } }))).toHaveLength(1);
  });

  it("S12: refuse short, blank and placeholder keys, and repeat none of them", () => {
    const wrong = ["short-key-7f3a", " ".repeat(40), "x".repeat(40), "abc ".repeat(12), "a,".repeat(30), ""];
    for (const secret of wrong) {
      const problems = problemsOf({ keys: { one: { secret } } });
      expect(Object.keys(problems)).toEqual(["keys.one.secret"]);
      if (secret.length > 3) expect(JSON.stringify(problems)).not.toContain(secret);
    }
    const throwing = () => {
      throw new Error("canary-4711");
    };
    expect(problemsOf({ keys: { one: { secret: throwing } } })).toEqual({ "keys.one.secret": "the function threw" });
    expect(problemsOf({ keys: { one: { digest: "abc" } } })).toHaveProperty(["keys.one.digest"]);
  });

  it("refuse two keys with the same secret", () => {
    expect(problemsOf({ keys: { one: { digest: DIGEST }, two: { digest: DIGEST.toUpperCase() } } })).toEqual({
      "keys.two": "has the secret of another key",
    });
  });

  it("refuse entries that do not belong together", () => {
    expect(
      problemsOf({
        organizations: { acme: {}, other: {} },
        teams: { search: { organization: "acme" }, free: {} },
        users: {
          ada: { organization: "acme", teams: ["search"] },
          bob: { organization: "other", teams: ["search"] },
          eve: { organization: "acme" },
        },
        keys: {
          one: { user: "ada", organization: "other", digest: "1".repeat(64) },
          two: { user: "eve", team: "search", digest: "2".repeat(64) },
          three: { team: "free", organization: "acme", digest: "3".repeat(64) },
        },
      }),
    ).toEqual({
      "users.bob.teams[0]": "belongs to another organization",
      "keys.one.organization": "is not that of the user",
      "keys.two.team": "is none of the user's `teams`",
      "keys.three.organization": "is not that of the team",
    });
  });

  it("are left as they are, and later changes of them have no effect", async () => {
    const acme = { models: ["chat"], tags: ["eu"] };
    const directory = createDirectory({ organizations: { acme } });
    acme.models.push("*");
    expect((await directory.resolve({ organization: "acme" })).mayUse("other")).toBe(false);
    expect(Object.isFrozen(acme)).toBe(false);
  });
});
