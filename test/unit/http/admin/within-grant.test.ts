import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Organization, Permissions, Team } from "../../../../src/access/entries.js";
import { allowList, patternMatcher } from "../../../../src/access/patterns.js";
import type { RouterError } from "../../../../src/errors/router-error.js";
import type { AdminScope } from "../../../../src/http/admin/grant.js";
import { covers, mayOverlap, refuseExcess } from "../../../../src/http/admin/within-grant.js";

const base = { id: "own", createdAt: 0, updatedAt: 0, version: 1 };
const organization = (fields: Permissions): Organization => ({ ...base, ...fields });
const team = (fields: Permissions): Team => ({ ...base, ...fields });
const withinOrganization = (own: Permissions): AdminScope => ({
  kind: "organization",
  organization: organization(own),
});

/** What is refused; `undefined`: nothing. */
function refusal(scope: AdminScope, asked: Permissions): Pick<RouterError, "code" | "param" | "message"> | undefined {
  try {
    refuseExcess(scope, asked);
    return undefined;
  } catch (error) {
    const { code, param, message } = error as RouterError; // it throws nothing else
    return { code, param, message };
  }
}

/** Few letters, so that patterns and names meet. */
const name = fc.stringMatching(/^[ab/]{1,6}$/);
const pattern = fc.stringMatching(/^[ab/*]{1,6}$/);
const models = fc
  .array(fc.tuple(fc.boolean(), pattern), { minLength: 1, maxLength: 4 })
  .map((list) => list.map(([isDenied, text]) => (isDenied ? `!${text}` : text)));

describe("what a grant gives (S10)", () => {
  it("is never more names than the granter may call", () => {
    fc.assert(
      fc.property(models, models, fc.array(name, { minLength: 20, maxLength: 20 }), (own, asked, names) => {
        if (refusal(withinOrganization({ models: own }), { models: asked })) return;
        const [mayOwn, mayAsked] = [allowList(own), allowList(asked)];
        for (const each of names)
          if (mayAsked(each)) expect([own, asked, each, mayOwn(each)]).toEqual([own, asked, each, true]);
      }),
      { numRuns: 2_000 },
    );
  });

  it("may be what the granter has itself", () => {
    fc.assert(
      fc.property(models, (own) => {
        expect(refusal(withinOrganization({ models: own }), { models: own })).toBeUndefined();
      }),
    );
  });

  it("covers, and may overlap, as the patterns do", () => {
    fc.assert(
      fc.property(pattern, pattern, name, (one, other, each) => {
        const [matchesOne, matchesOther] = [patternMatcher(one)(each), patternMatcher(other)(each)];
        if (covers(one, other) && matchesOther) expect(matchesOne).toBe(true);
        if (matchesOne && matchesOther) expect(mayOverlap(one, other)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
    expect(covers("openai/*", "openai/gpt-*")).toBe(true);
    expect(covers("openai/gpt-*", "openai/*")).toBe(false);
    expect(mayOverlap("openai/*", "anthropic/*")).toBe(false);
  });

  it("is no larger amount than that of the organization, nor than that of the team", () => {
    const scope: AdminScope = {
      kind: "team",
      organization: organization({ rpm: 100 }),
      team: team({ rpm: 10, tpm: 5 }),
    };
    expect(refusal(scope, { rpm: 10, tpm: 5, maxParallel: 1_000, budgetUsd: 9 })).toBeUndefined();
    expect(refusal(scope, { rpm: 101 })).toEqual({
      code: "permission_denied",
      param: "rpm",
      message: 'rpm: 101 is more than the 100 of organization "own".',
    });
    expect(refusal(scope, { rpm: 11 })?.message).toBe('rpm: 11 is more than the 10 of team "own".');
    expect(refusal(scope, { modelLimits: { chat: { tpm: 6 } } })?.param).toBe('modelLimits["chat"].tpm');
    const perModel = withinOrganization({ modelLimits: { "o*": { budgetUsd: 1 } } });
    expect(refusal(perModel, { modelLimits: { "o*": { budgetUsd: 2 } } })?.param).toBe('modelLimits["o*"].budgetUsd');
    // Names that every object has are no patterns of the granter's (S29).
    expect(refusal(perModel, { modelLimits: { constructor: { budgetUsd: 2 } } })).toBeUndefined();
    expect(refusal({ kind: "everything" }, { rpm: 1_000_000, models: ["*"] })).toBeUndefined();
  });

  it("says which name to deny where a pattern may stand for what the granter denies", () => {
    expect(refusal(withinOrganization({ models: ["*", "!openai/o3"] }), { models: ["openai/*"] })).toMatchObject({
      param: "models",
      message: 'models: "openai/*" may stand for what organization "own" denies: add "!openai/o3".',
    });
    expect(refusal(withinOrganization({ models: [] }), { models: ["chat"] })?.message).toBe(
      'models: "chat" is more than what organization "own" may use.',
    );
  });
});
