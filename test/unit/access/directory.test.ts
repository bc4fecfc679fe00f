import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { createDirectory } from "../../../src/access/create-directory.js";
import type { Directory, ResolvedPrincipal } from "../../../src/access/directory.js";
import type { DirectoryStore } from "../../../src/access/directory-store.js";
import { createMemoryDirectoryStore } from "../../../src/access/memory-directory-store.js";
import type { DirectoryOptions } from "../../../src/access/options.js";
import type { Principal } from "../../../src/access/principal.js";
import { RouterError } from "../../../src/errors/router-error.js";
import { sha256Hex } from "../../../src/internal/digest.js";
import { virtualClock } from "../../../src/testing/virtual-clock.js";

const SECRET = "operator-key-0123456789-abcdefghijklmnop";

const company = {
  organizations: { acme: { models: ["*", "!openai/o3"], tags: ["eu", "paid"], rpm: 100 }, other: {} },
  teams: { search: { organization: "acme", models: ["chat", "openai/*"], tags: ["paid", "search"] }, free: {} },
  users: { ada: { organization: "acme", teams: ["search"] }, bob: { teams: ["free"] } },
  keys: { "ada-key": { user: "ada", team: "search", secret: SECRET, modelLimits: { "openai/*": { rpm: 2 } } } },
} satisfies DirectoryOptions;

async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call();
    return "none";
  } catch (error) {
    if (!RouterError.isRouterError(error)) throw error;
    return error.code;
  }
}

const synchronously = (directory: Directory, principal: Principal): ResolvedPrincipal => {
  const resolved = directory.resolve(principal);
  if (resolved instanceof Promise) throw new Error("expected an answer at once");
  return resolved;
};

/** A store that others change, too, and that fails, hangs or counts on demand. */
function sharedStore() {
  const inner = createMemoryDirectoryStore();
  const state = { reads: 0, mode: "up" as "up" | "down" | "hangs", release: () => {} };
  const ask = async <T>(answer: () => T | Promise<T>): Promise<T> => {
    state.reads += 1;
    if (state.mode === "down") throw new Error(`connect ECONNREFUSED canary-${SECRET}`);
    if (state.mode === "hangs") await new Promise<void>((resolve) => (state.release = resolve));
    return answer();
  };
  const store: DirectoryStore = {
    name: "shared",
    isShared: true,
    get: (level, id) => ask(() => inner.get(level, id)),
    findKey: (digest) => ask(() => inner.findKey(digest)),
    put: (level, entry, replaced) => ask(() => inner.put(level, entry, replaced)),
    remove: (level, id, version) => ask(() => inner.remove(level, id, version)),
    list: (level, filter) => ask(() => inner.list(level, filter)),
  };
  return { store, state };
}

describe("resolve", () => {
  it("fills in the levels that follow, the outermost first", () => {
    const directory = createDirectory(company);
    const { principal, tenant, levels, tags } = synchronously(directory, { key: "ada-key" });
    expect(principal).toEqual({ organization: "acme", team: "search", user: "ada", key: "ada-key" });
    expect(tenant).toBe("organization:acme");
    expect(levels.map(({ level, id }) => `${level}:${id}`)).toEqual([
      "organization:acme",
      "team:search",
      "user:ada",
      "key:ada-key",
    ]);
    expect(tags).toEqual(["eu", "paid", "search"]);
    expect(levels[0]?.allowance).toEqual({ rpm: 100 });
    expect(synchronously(directory, { team: "search" }).principal).toEqual({ organization: "acme", team: "search" });
    expect(synchronously(directory, { user: "ada" }).principal).toEqual({ organization: "acme", user: "ada" });
    expect(synchronously(directory, { user: "bob" }).tenant).toBe("user:bob");
  });

  it("gives the same frozen object while nothing changes, also when it is read again", async () => {
    const clock = virtualClock();
    const { store } = sharedStore();
    const directory = createDirectory({ store, clock });
    await directory.organizations.create({ id: "acme" });
    const first = await directory.resolve({ organization: "acme" });
    expect(directory.resolve({ organization: "acme" })).toBe(first);
    await clock.advance(10_000);
    expect(await directory.resolve({ organization: "acme" })).toBe(first);
    expect(Object.isFrozen(first) && Object.isFrozen(first.principal) && Object.isFrozen(first.levels)).toBe(true);
    await directory.organizations.update("acme", { rpm: 1 });
    expect(await directory.resolve({ organization: "acme" })).not.toBe(first);
  });

  it.each<Principal>([
    {},
    { organization: "nobody" },
    { key: "nobody" },
    { organization: "" },
    { user: "ada", organization: "other" },
    { user: "ada", team: "free" },
    { user: "bob", team: "search" },
    { team: "free", organization: "acme" },
    { key: "ada-key", user: "bob" },
    { key: "ada-key", organization: "other" },
    { key: "ada-key", team: "free" },
    { organization: "acme\nsearch" },
    { organization: "../acme" },
    { user: 5 as unknown as string },
    { user: null as unknown as string },
    { organization: "__proto__" },
  ])("S11: refuses %j, in the same words as any other", async (principal) => {
    const directory = createDirectory(company);
    const message = "The API key is missing or not valid.";
    await expect((async () => directory.resolve(principal))()).rejects.toMatchObject({
      code: "invalid_api_key",
      status: 401,
      message,
    });
  });

  it("S11: lets every level block and expire", async () => {
    const clock = virtualClock();
    const at = clock.wallNow() + 60_000;
    const levels = ["organizations", "teams", "users", "keys"] as const;
    const ids = { organizations: "acme", teams: "search", users: "ada", keys: "ada-key" };
    for (const level of levels) {
      const { [level]: entries, ...others } = company;
      const withFields = (fields: object) => {
        const changed = { ...entries, [ids[level]]: { ...(entries[ids[level] as never] as object), ...fields } };
        return createDirectory({ ...others, [level]: changed, clock });
      };
      expect(await codeOf(() => withFields({ blocked: true }).resolve({ key: "ada-key" }))).toBe("invalid_api_key");
      const directory = withFields({ expiresAt: clock.wallNow() + 60_000 });
      expect(await codeOf(() => directory.resolve({ key: "ada-key" }))).toBe("none");
      // Within the time for which a principal is remembered, too.
      await clock.advance(59_999);
      expect(await codeOf(() => directory.resolve({ key: "ada-key" }))).toBe("none");
      await clock.advance(1);
      expect(await codeOf(() => directory.resolve({ key: "ada-key" }))).toBe("invalid_api_key");
    }
    expect(clock.wallNow()).toBeGreaterThan(at);
  });

  it("S11: all levels have to allow a model; a deny of any level wins", () => {
    const { mayUse, levels } = synchronously(createDirectory(company), { key: "ada-key" });
    const names = ["chat", "openai/gpt-4o", "openai/o3", "anthropic/claude", ""];
    expect(names.filter((name) => mayUse(name))).toEqual(["chat", "openai/gpt-4o"]);
    expect(names.filter((name) => mayUse(name))).toEqual(["chat", "openai/gpt-4o"]);
    expect(levels.at(-1)?.limitsFor("openai/gpt-4o")).toEqual([{ pattern: "openai/*", allowance: { rpm: 2 } }]);
    expect(levels.at(-1)?.limitsFor("chat")).toEqual([]);
    for (let index = 0; index < 1_000; index++) expect(mayUse(`made-up-${index}`)).toBe(false);
  });
});

describe("keys", () => {
  it("S12: are 256 random bits, and known by their digest alone (S6)", async () => {
    const { store } = sharedStore();
    const directory = createDirectory({ store });
    const made = await Promise.all(Array.from({ length: 20 }, () => directory.keys.create()));
    expect(new Set(made.map(({ secret }) => secret)).size).toBe(20);
    for (const { secret, entry } of made) {
      expect(secret).toMatch(/^sk-sy-[\w-]{43}$/);
      expect(entry.digest).toBe(sha256Hex(secret));
      expect(await directory.authenticateKey(secret)).toEqual({ key: entry.id });
      const printed = [inspect(directory, { depth: 9 }), JSON.stringify(await store.list("key", {}))];
      expect(printed.join()).not.toContain(secret);
    }
  });

  it("S18: tell their secret to who asks for it, not to who prints them", async () => {
    const created = await createDirectory().keys.create({ name: "ci" });
    for (const text of [
      inspect(created),
      JSON.stringify(created),
      inspect([created], { depth: 5, showHidden: true }),
    ]) {
      expect(text).not.toContain(created.secret);
      expect(text).toContain("[secret]");
    }
    expect({ ...created }).not.toHaveProperty("secret");
  });

  it("S12, S14: never authenticate when they are short, blank, or the digest of one", async () => {
    const directory = createDirectory(company);
    const { secret, entry } = await directory.keys.create();
    const wrong = [
      undefined,
      "",
      " ".repeat(40),
      "sk-sy-",
      entry.digest,
      sha256Hex(SECRET),
      ` ${secret}`,
      `${secret} `,
      secret.toUpperCase(),
      secret.slice(0, -1),
      `${secret}x`,
      "x".repeat(100_000),
      5 as unknown as string,
      {} as unknown as string,
    ];
    for (const key of wrong) expect(await codeOf(() => directory.authenticateKey(key))).toBe("invalid_api_key");
    expect(await codeOf(() => directory.authenticateKey(SECRET))).toBe("none");
  });

  it("S15: answer alike, and take the same way, whatever is wrong with one", async () => {
    const clock = virtualClock();
    const { store, state } = sharedStore();
    const calls: string[] = [];
    const directory = createDirectory({
      clock,
      store: {
        ...store,
        get: (level, id) => {
          calls.push("get");
          return store.get(level, id);
        },
        findKey: (digest) => {
          calls.push(`findKey ${digest.length}`);
          return store.findKey(digest);
        },
      },
    });
    const [revoked, expired, blocked] = await Promise.all([
      directory.keys.create(),
      directory.keys.create({ expiresAt: clock.wallNow() }),
      directory.keys.create({ blocked: true }),
    ]);
    await directory.keys.revoke(revoked.entry.id);
    const unknown = `sk-sy-${"x".repeat(43)}`;
    const seen = new Set<string>();
    for (const key of [revoked.secret, expired.secret, blocked.secret, unknown, "malformed", ""]) {
      calls.length = 0;
      const error = await (async () => directory.authenticateKey(key))().catch((thrown: unknown) => thrown);
      const { code, status, type, message, param, cause } = error as RouterError;
      seen.add(JSON.stringify([code, status, type, message, param, cause, Object.keys(error as object), calls]));
    }
    expect([...seen]).toHaveLength(1);
    expect([...seen][0]).toContain('["findKey 64"]');
    expect(state.reads).toBeGreaterThan(0);
  });

  it("rotate with an overlap, in which both are good", async () => {
    const clock = virtualClock();
    const directory = createDirectory({ clock });
    const { secret: first, entry } = await directory.keys.create();
    const { secret: second } = await directory.keys.rotate(entry.id, { overlapMs: 60_000 });
    const good = async () => {
      const keys = { first, second };
      const found = [];
      for (const [name, key] of Object.entries(keys)) {
        if ((await codeOf(() => directory.authenticateKey(key))) === "none") found.push(name);
      }
      return found;
    };
    expect(await good()).toEqual(["first", "second"]);
    await clock.advance(59_999);
    expect(await good()).toEqual(["first", "second"]);
    await clock.advance(1);
    expect(await good()).toEqual(["second"]);
    const { secret: third } = await directory.keys.rotate(entry.id);
    expect(await good()).toEqual([]);
    expect(await directory.authenticateKey(third)).toEqual({ key: entry.id });
    expect(await codeOf(() => directory.keys.rotate(entry.id, { overlapMs: -1 }))).toBe("invalid_request");
    expect(await codeOf(() => directory.keys.rotate(entry.id, { overlapMs: 1e12 }))).toBe("invalid_request");
  });

  it("are revoked for ever", async () => {
    const directory = createDirectory();
    const { secret, entry } = await directory.keys.create();
    expect(await codeOf(() => directory.authenticateKey(secret))).toBe("none");
    const revoked = await directory.keys.revoke(entry.id);
    expect(await directory.keys.revoke(entry.id)).toEqual(revoked);
    await directory.keys.update(entry.id, { blocked: false });
    expect(await codeOf(() => directory.authenticateKey(secret))).toBe("invalid_api_key");
    expect(await codeOf(() => directory.resolve({ key: entry.id }))).toBe("invalid_api_key");
    expect(await codeOf(() => directory.keys.rotate(entry.id))).toBe("conflict");
    expect(await codeOf(() => directory.keys.update(entry.id, { revokedAt: undefined } as object))).toBe(
      "invalid_request",
    );
  });
});

describe("entries", () => {
  it("are created, read, changed, listed and deleted", async () => {
    const clock = virtualClock();
    const { teams, organizations } = createDirectory({ clock });
    await organizations.create({ id: "acme" });
    const made = await teams.create({ id: "search", organization: "acme", rpm: 5, tags: ["a"] });
    expect(made).toMatchObject({ id: "search", version: 1, createdAt: clock.wallNow(), updatedAt: clock.wallNow() });
    await clock.advance(5);
    const changed = await teams.update("search", { rpm: undefined, tpm: 7 }, 1);
    expect(changed).toEqual({
      id: "search",
      organization: "acme",
      tpm: 7,
      tags: ["a"],
      version: 2,
      createdAt: made.createdAt,
      updatedAt: made.createdAt + 5,
    });
    expect(await teams.get("search")).toEqual(changed);
    expect((await teams.create({})).id).toMatch(/^team-[A-Za-z0-9]{24}$/);
    await teams.delete("search");
    expect(await teams.get("search")).toBeUndefined();
  });

  it("are refused with the field at fault", async () => {
    const directory = createDirectory({ teams: { free: {} }, users: { ada: {} } });
    const refused = async (call: Promise<unknown>) => {
      const { code, param } = (await call.catch((error: unknown) => error)) as RouterError;
      return [code, param];
    };
    expect(await refused(directory.keys.create({ rpm: -1 }))).toEqual(["invalid_request", "rpm"]);
    expect(await refused(directory.keys.create({ id: "a b" }))).toEqual(["invalid_request", "id"]);
    expect(await refused(directory.keys.create({ user: "nobody" }))).toEqual(["invalid_request", "user"]);
    expect(await refused(directory.keys.create({ user: "ada", team: "free" }))).toEqual(["invalid_request", "team"]);
    expect(await refused(directory.keys.create({ secret: "x" } as object))).toEqual(["invalid_request", "secret"]);
    expect(await refused(directory.users.create({ teams: ["free", "gone"] }))).toEqual(["invalid_request", "teams[1]"]);
    expect(await refused(directory.users.create(null as never))).toEqual(["invalid_request", "fields"]);
    expect(await refused(directory.users.update("gone", {}))).toEqual(["not_found", "id"]);
    expect(await refused(directory.users.list({ limit: 0 }))).toEqual(["invalid_request", "limit"]);
    expect(await refused(directory.users.list({ limitt: 1 } as object))).toEqual(["invalid_request", "limitt"]);
    expect(await refused(directory.users.create({ id: "ada" }))).toEqual(["conflict", null]);
    expect(await refused(directory.users.update("ada", { rpm: 1 }))).toEqual(["conflict", null]);
    expect(await refused(directory.teams.delete("free"))).toEqual(["conflict", null]);
    expect(await refused(directory.keys.update("x", {}, 0.5))).toEqual(["invalid_request", "version"]);
  });

  it("are changed by one of two who start from the same version", async () => {
    const { users } = createDirectory();
    await users.create({ id: "ada" });
    const results = await Promise.allSettled([users.update("ada", { rpm: 1 }, 1), users.update("ada", { tpm: 1 }, 1)]);
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    // Without a version both changes are made.
    await Promise.all([users.update("ada", { maxParallel: 1 }), users.update("ada", { budgetUsd: 1 })]);
    expect(await users.get("ada")).toMatchObject({ maxParallel: 1, budgetUsd: 1, version: 4 });
  });

  it("stay while others belong to them, and in their organization", async () => {
    const directory = createDirectory();
    const { organizations, teams, users, keys } = directory;
    await organizations.create({ id: "acme" });
    await organizations.create({ id: "other" });
    await teams.create({ id: "search", organization: "acme" });
    await users.create({ id: "ada", organization: "acme", teams: ["search"] });
    const { entry } = await keys.create({ user: "ada", team: "search" });
    expect(entry.organization).toBe("acme");
    expect(await codeOf(() => organizations.delete("acme"))).toBe("conflict");
    expect(await codeOf(() => teams.delete("search"))).toBe("conflict");
    expect(await codeOf(() => users.delete("ada"))).toBe("conflict");
    expect(await codeOf(() => teams.update("search", { organization: "other" }))).toBe("conflict");
    expect(await codeOf(() => users.update("ada", { organization: undefined }))).toBe("conflict");
    // Who leaves a team leaves its keys behind.
    await users.update("ada", { teams: [] });
    expect(await codeOf(() => directory.resolve({ key: entry.id }))).toBe("invalid_api_key");
    await keys.delete(entry.id);
    await users.delete("ada");
    await teams.delete("search");
    await organizations.delete("acme");
  });

  it("move with the user or team that a key is given to", async () => {
    const { organizations, teams, keys } = createDirectory();
    for (const id of ["acme", "other"]) {
      await organizations.create({ id });
      await teams.create({ id: `team-of-${id}`, organization: id });
    }
    const { entry } = await keys.create({ team: "team-of-acme" });
    expect(await keys.update(entry.id, { team: "team-of-other" })).toMatchObject({ organization: "other" });
  });

  it("are listed in pages, declared ones among the others", async () => {
    const store = createMemoryDirectoryStore();
    const before = createDirectory({ store });
    for (let index = 0; index < 25; index++)
      await before.users.create({ id: `user-${String(index).padStart(2, "0")}` });
    // Declared later: what is stored under the same id is hidden.
    const users = { "user-03": { name: "declared" }, "user-035": {}, a: {}, z: {} };
    const directory = createDirectory({ store, users });
    for (const limit of [1, 2, 7, 100]) {
      const found = [];
      let after: string | undefined;
      do {
        const page = await directory.users.list({ limit, after });
        expect(page.entries.length).toBeLessThanOrEqual(limit);
        found.push(...page.entries);
        after = page.next;
      } while (after !== undefined);
      const ids = found.map(({ id }) => id);
      expect(ids).toHaveLength(28);
      expect(ids).toEqual([...new Set(ids)].sort());
      expect(found.find(({ id }) => id === "user-03")?.name).toBe("declared");
    }
  });
});

describe("a shared store", () => {
  const opened = async () => {
    const clock = virtualClock();
    const { store, state } = sharedStore();
    const [here, there] = [createDirectory({ store, clock }), createDirectory({ store, clock })];
    const { secret, entry } = await there.keys.create({ models: ["chat"] });
    return { clock, state, here, there, secret, id: entry.id, store };
  };

  it.each([0, 3_600_000, -3_600_000])(
    "S13: a key revoked elsewhere is refused within 5 s, with a clock step of %i ms",
    async (stepMs) => {
      const { clock, here, there, secret, id } = await opened();
      await here.authenticateKey(secret);
      await clock.advance(3_900);
      await here.authenticateKey(secret);
      await there.keys.revoke(id);
      clock.stepWall(stepMs);
      let refusedAfterMs: number | undefined;
      for (let ms = 0; ms <= 6_000 && refusedAfterMs === undefined; ms += 100) {
        // Asked all the time, so that everything is as warm as it can be.
        if ((await codeOf(() => here.authenticateKey(secret))) !== "none") refusedAfterMs = ms;
        await clock.advance(100);
      }
      expect(refusedAfterMs).toBeLessThanOrEqual(5_000);
      await clock.advance(5_000);
      expect(await codeOf(() => here.resolve({ key: id }))).toBe("invalid_api_key");
    },
  );

  it("S13: a permission changed elsewhere counts within 5 s", async () => {
    const { clock, here, there, id } = await opened();
    expect((await here.resolve({ key: id })).mayUse("chat")).toBe(true);
    await there.keys.update(id, { models: [] });
    await clock.advance(4_999);
    expect((await here.resolve({ key: id })).mayUse("chat")).toBe(false);
  });

  it("S7: a key made elsewhere is known within 5 s, although it was asked for before", async () => {
    const { clock, here, there, store } = await opened();
    const { entry } = await there.keys.create();
    const secret = `sk-sy-${"y".repeat(43)}`;
    expect(await codeOf(() => here.authenticateKey(secret))).toBe("invalid_api_key");
    await store.put("key", { ...entry, version: 2, digest: sha256Hex(secret) }, 1);
    await clock.advance(4_999);
    expect(await codeOf(() => here.authenticateKey(secret))).toBe("none");
  });

  it("is asked once for the same key at the same time, and answers at once while it is fresh", async () => {
    const { clock, here, state, secret } = await opened();
    state.reads = 0;
    await Promise.all(Array.from({ length: 50 }, async () => here.authenticateKey(secret)));
    expect(state.reads).toBe(2); // by its digest, and by its id
    expect(here.authenticateKey(secret)).not.toBeInstanceOf(Promise);
    await clock.advance(3_000);
    // Read again in the background; nobody waits.
    expect(here.authenticateKey(secret)).not.toBeInstanceOf(Promise);
    await clock.advance(1_500);
    expect(here.authenticateKey(secret)).not.toBeInstanceOf(Promise);
  });

  it("R14: that is down is covered up for as long as permissions may be old, and then refuses with 503", async () => {
    const { clock, here, state, secret } = await opened();
    await here.authenticateKey(secret);
    state.mode = "down";
    let firstRefusalMs: number | undefined;
    for (let ms = 0; ms <= 6_000; ms += 250) {
      const code = await codeOf(() => here.authenticateKey(secret));
      if (code !== "none") firstRefusalMs ??= ms;
      expect(code).toBe(firstRefusalMs === undefined ? "none" : "accounting_unavailable");
      await clock.advance(250);
    }
    expect(firstRefusalMs).toBeGreaterThanOrEqual(4_000);
    expect(firstRefusalMs).toBeLessThanOrEqual(5_000);
    // Nobody knows whether this one exists.
    expect(await codeOf(() => here.authenticateKey(`sk-sy-${"n".repeat(43)}`))).toBe("accounting_unavailable");
    // Nobody waits for a store that keeps failing, and it is asked once a second.
    state.reads = 0;
    for (let count = 0; count < 100; count++) {
      expect(await codeOf(() => here.authenticateKey(secret))).toBe("accounting_unavailable");
    }
    expect(state.reads).toBeLessThanOrEqual(1);
    state.mode = "up";
    await clock.advance(1_000);
    expect(await codeOf(() => here.authenticateKey(secret))).toBe("none");
    expect(await codeOf(() => here.authenticateKey(`sk-sy-${"n".repeat(43)}`))).toBe("invalid_api_key");
  });

  it("S6: whose errors quote secrets does not spread them", async () => {
    const { here, state } = await opened();
    state.mode = "down";
    for (const call of [() => here.authenticateKey(SECRET), () => here.keys.create(), () => here.users.list()]) {
      const error = await (async () => call())().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "accounting_unavailable", status: 503 });
      expect(inspect(error, { depth: 9 })).not.toContain(SECRET);
    }
  });

  it("R7: that hangs lets nobody wait longer than `storeTimeoutMs`, and its late answer is kept", async () => {
    const { clock, here, state, secret } = await opened();
    state.mode = "hangs";
    const answer = codeOf(() => here.authenticateKey(secret));
    await clock.advance(50);
    expect(await answer).toBe("accounting_unavailable");
    state.mode = "up";
    state.release();
    await clock.advance(1);
    expect(await codeOf(() => here.authenticateKey(secret))).toBe("none");
  });

  it("that hangs for ever is asked again, and for a bounded number of keys", async () => {
    const { clock, here, state, secret } = await opened();
    state.mode = "hangs";
    const flood = Array.from({ length: 1_500 }, (_, index) =>
      codeOf(() => here.authenticateKey(`sk-sy-${String(index).padStart(43, "k")}`)),
    );
    expect(state.reads).toBeLessThanOrEqual(1_010);
    await clock.advance(50);
    expect(new Set(await Promise.all(flood))).toEqual(new Set(["accounting_unavailable"]));
    state.mode = "up";
    await clock.advance(5_000);
    expect(await codeOf(() => here.authenticateKey(secret))).toBe("none");
  });

  it("read while it is changed here does not bring back what was before", async () => {
    const { here, state, id } = await opened();
    state.mode = "hangs";
    const reading = (async () => here.resolve({ key: id }))();
    state.mode = "up";
    const { release } = state;
    await here.keys.update(id, { models: [] });
    release();
    await reading;
    expect((await here.resolve({ key: id })).mayUse("chat")).toBe(false);
  });
});
