import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createDirectory } from "../../../src/access/create-directory.js";
import type { Directory } from "../../../src/access/directory.js";
import type { Principal } from "../../../src/access/principal.js";
import { RouterError } from "../../../src/errors/router-error.js";
import { virtualClock } from "../../../src/testing/virtual-clock.js";

/** The directory in its simplest form: no caches, no versions, everything looked up anew. */
interface Reference {
  readonly organizations: Map<string, Fields>;
  readonly teams: Map<string, Fields>;
  readonly users: Map<string, Fields>;
  readonly keys: Map<string, Fields & { secrets: { secret: string; until: number }[]; isRevoked: boolean }>;
}
interface Fields {
  organization?: string | undefined;
  team?: string | undefined;
  user?: string | undefined;
  teams?: readonly string[] | undefined;
  models?: readonly string[] | undefined;
  blocked?: boolean | undefined;
  expiresAt?: number | undefined;
}

const IDS = ["a", "b"] as const;
const MODELS = ["chat", "openai/o3", "openai/gpt"];
const id = fc.constantFrom(...IDS);
const maybeId = fc.option(id, { nil: undefined });
const models = fc.option(fc.constantFrom<readonly string[]>([], ["*"], ["chat"], ["openai/*"], ["*", "!openai/o3"]), {
  nil: undefined,
});
const state = {
  models,
  blocked: fc.option(fc.boolean(), { nil: undefined }),
  expiresInMs: fc.option(fc.integer({ min: 0, max: 20_000 }), { nil: undefined }),
};

const operation = fc.oneof(
  fc.record({ kind: fc.constant("organization" as const), id, ...state }),
  fc.record({ kind: fc.constant("team" as const), id, organization: maybeId, ...state }),
  fc.record({ kind: fc.constant("user" as const), id, organization: maybeId, teams: fc.uniqueArray(id), ...state }),
  fc.record({ kind: fc.constant("key" as const), id, user: maybeId, team: maybeId, organization: maybeId, ...state }),
  fc.record({
    kind: fc.constant("change" as const),
    level: fc.constantFrom(...(["organizations", "teams", "users", "keys"] as const)),
    id,
    ...state,
  }),
  fc.record({
    kind: fc.constant("delete" as const),
    level: fc.constantFrom(...(["organizations", "teams", "users", "keys"] as const)),
    id,
  }),
  fc.record({ kind: fc.constant("revoke" as const), id }),
  fc.record({ kind: fc.constant("rotate" as const), id, overlapMs: fc.integer({ min: 0, max: 10_000 }) }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 6_000 }) }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** The levels of a principal in the reference, or nothing. */
function expectedLevels(reference: Reference, asked: Principal, now: number): Fields[] | undefined {
  let { user, team, organization } = asked;
  const levels: (Fields | undefined)[] = [];
  if (asked.key !== undefined) {
    const key = reference.keys.get(asked.key);
    if (!key || key.isRevoked) return undefined;
    for (const level of ["user", "team", "organization"] as const) {
      if (asked[level] !== undefined && asked[level] !== key[level]) return undefined;
    }
    ({ user, team, organization } = key);
    levels.push(key);
  }
  const userEntry = user === undefined ? undefined : reference.users.get(user);
  const teamEntry = team === undefined ? undefined : reference.teams.get(team);
  if (user !== undefined) levels.push(userEntry);
  if (team !== undefined) levels.push(teamEntry);
  if (userEntry && team !== undefined && !userEntry.teams?.includes(team)) return undefined;
  if (teamEntry || userEntry) {
    const implied = teamEntry ? teamEntry.organization : userEntry?.organization;
    if (organization !== undefined && organization !== implied) return undefined;
    if (teamEntry && userEntry?.organization !== undefined && userEntry.organization !== implied) return undefined;
    organization = implied;
  }
  if (organization !== undefined) levels.push(reference.organizations.get(organization));
  const isGood = (entry: Fields | undefined) => entry && !entry.blocked && now < (entry.expiresAt ?? Infinity);
  return levels.length > 0 && levels.every(isGood) ? (levels as Fields[]) : undefined;
}

const allows = (entry: Fields, model: string) =>
  !entry.models ||
  (entry.models.some(
    (pattern) => pattern === "*" || pattern === model || (pattern === "openai/*" && model.startsWith("openai/")),
  ) &&
    !entry.models.includes(`!${model}`));

const principals: Principal[] = [undefined, ...IDS].flatMap((organization) =>
  [undefined, ...IDS].flatMap((team) =>
    [undefined, ...IDS].flatMap((user) => [undefined, ...IDS].map((key) => ({ organization, team, user, key }))),
  ),
);

async function isDone(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (!RouterError.isRouterError(error)) throw error;
    expect(["invalid_request", "conflict", "not_found"]).toContain(error.code);
    return false;
  }
}

describe("a directory", () => {
  it("S11, S13: agrees with a simple reference after any operations", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 30 }), async (operations) => {
        const clock = virtualClock();
        const directory = createDirectory({ clock });
        const reference: Reference = { organizations: new Map(), teams: new Map(), users: new Map(), keys: new Map() };
        for (const step of operations) {
          await perform(directory, reference, step, clock);
          await compare(directory, reference, clock.wallNow());
        }
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});

async function perform(
  directory: Directory,
  reference: Reference,
  step: Operation,
  clock: ReturnType<typeof virtualClock>,
): Promise<void> {
  const now = clock.wallNow();
  const fields =
    "models" in step
      ? {
          ...(step.models && { models: step.models }),
          ...(step.blocked !== undefined && { blocked: step.blocked }),
          ...(step.expiresInMs !== undefined && { expiresAt: now + step.expiresInMs }),
        }
      : {};
  switch (step.kind) {
    case "wait":
      return clock.advance(step.ms);
    case "organization":
      if (await isDone(() => directory.organizations.create({ id: step.id, ...fields })))
        reference.organizations.set(step.id, fields);
      return;
    case "team": {
      const stated = { ...fields, organization: step.organization };
      if (await isDone(() => directory.teams.create({ id: step.id, ...stated }))) reference.teams.set(step.id, stated);
      return;
    }
    case "user": {
      const stated = { ...fields, organization: step.organization, teams: step.teams };
      if (await isDone(() => directory.users.create({ id: step.id, ...stated }))) reference.users.set(step.id, stated);
      return;
    }
    case "key": {
      const { user, team, organization } = step;
      await isDone(async () => {
        const { secret, entry } = await directory.keys.create({ id: step.id, ...fields, user, team, organization });
        const secrets = [{ secret, until: Infinity }];
        reference.keys.set(step.id, {
          ...fields,
          user,
          team,
          organization: entry.organization,
          secrets,
          isRevoked: false,
        });
      });
      return;
    }
    case "change":
      if (await isDone(() => directory[step.level].update(step.id, fields))) {
        Object.assign(reference[step.level].get(step.id) ?? {}, fields);
      }
      return;
    case "delete":
      if (await isDone(() => directory[step.level].delete(step.id))) reference[step.level].delete(step.id);
      return;
    case "revoke":
      if (await isDone(() => directory.keys.revoke(step.id))) reference.keys.get(step.id)!.isRevoked = true;
      return;
    case "rotate":
      await isDone(async () => {
        const { secret } = await directory.keys.rotate(step.id, { overlapMs: step.overlapMs });
        const key = reference.keys.get(step.id)!;
        const last = key.secrets.at(-1)!;
        key.secrets = [
          { secret: last.secret, until: now + step.overlapMs },
          { secret, until: Infinity },
        ];
      });
  }
}

async function compare(directory: Directory, reference: Reference, now: number): Promise<void> {
  for (const asked of principals) {
    const levels = expectedLevels(reference, asked, now);
    let resolved: Awaited<ReturnType<Directory["resolve"]>> | undefined;
    try {
      resolved = await directory.resolve(asked);
    } catch (error) {
      expect((error as RouterError).code).toBe("invalid_api_key");
    }
    expect(resolved !== undefined, JSON.stringify(asked)).toBe(levels !== undefined);
    if (!resolved || !levels) continue;
    expect(resolved.levels).toHaveLength(levels.length);
    for (const model of MODELS) expect(resolved.mayUse(model)).toBe(levels.every((level) => allows(level, model)));
  }
  for (const [key, { secrets }] of reference.keys) {
    const isGood = expectedLevels(reference, { key }, now) !== undefined;
    for (const { secret, until } of secrets) {
      let found: string | undefined;
      try {
        found = (await directory.authenticateKey(secret)).key;
      } catch {
        // Refused.
      }
      expect(found).toBe(isGood && now < until ? key : undefined);
    }
  }
}
