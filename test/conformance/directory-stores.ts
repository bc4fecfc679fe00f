import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { DirectoryStore } from "../../src/access/directory-store.js";
import type { Organization, Team, User, VirtualKey } from "../../src/access/entries.js";

export interface DirectoryStoresUnderTest {
  /** An empty one. */
  open(): Promise<DirectoryStore>;
  close?(): Promise<void>;
}

const base = { createdAt: 1_800_000_000_000, updatedAt: 1_800_000_000_000, version: 1 };
const digestOf = (letter: string) => letter.repeat(64);
const anOrganization = (id: string, rest: Partial<Organization> = {}): Organization => ({ ...base, id, ...rest });
const aTeam = (id: string, rest: Partial<Team> = {}): Team => ({ ...base, id, ...rest });
const aUser = (id: string, rest: Partial<User> = {}): User => ({ ...base, id, ...rest });
const aKey = (id: string, letter: string, rest: Partial<VirtualKey> = {}): VirtualKey => ({
  ...base,
  id,
  digest: digestOf(letter),
  ...rest,
});

/** What every directory store does, whatever it keeps its entries in. */
export function describeDirectoryStore(name: string, makeStores: () => Promise<DirectoryStoresUnderTest>): void {
  describe(`the directory store of ${name}`, () => {
    let stores: DirectoryStoresUnderTest;
    let store: DirectoryStore;
    beforeAll(async () => {
      stores = await makeStores();
    }, 60_000);
    beforeEach(async () => {
      store = await stores.open();
    });
    afterAll(() => stores?.close?.());

    it("gives back entries as they were stored, each under its level", async () => {
      const key = aKey("one", "a", {
        name: "Schlüssel \0 \ud800 😀",
        models: ["chat", "!openai/*"],
        modelLimits: { "openai/*": { rpm: 3, budgetUsd: 0.1 } },
        budgetUsd: 9_000_000,
        blocked: false,
        metadata: { z: "last", a: "first" },
        user: "one",
        previousDigest: digestOf("b"),
        previousExpiresAt: 1_900_000_000_000,
      });
      expect(await store.put("key", key, undefined)).toBe(true);
      expect(await store.put("user", aUser("one", { teams: ["t"] }), undefined)).toBe(true);
      expect(await store.get("key", "one")).toEqual(key);
      expect(Object.keys((await store.get("key", "one"))?.metadata ?? {})).toEqual(["z", "a"]);
      expect(await store.get("user", "one")).toEqual(aUser("one", { teams: ["t"] }));
      expect(await store.get("team", "one")).toBeUndefined();
      for (const stranger of ["", "\0", "' or true --", "x".repeat(10_000)]) {
        expect(await store.get("key", stranger)).toBeUndefined();
      }
    });

    it("stores a change only in the place of the version it was made to", async () => {
      expect(await store.put("team", aTeam("t", { version: 2 }), 1)).toBe(false);
      expect(await store.put("team", aTeam("t"), undefined)).toBe(true);
      expect(await store.put("team", aTeam("t", { name: "again" }), undefined)).toBe(false);
      expect(await store.put("team", aTeam("t", { version: 2, name: "two" }), 1)).toBe(true);
      expect(await store.put("team", aTeam("t", { version: 2, name: "late" }), 1)).toBe(false);
      expect(await store.get("team", "t")).toMatchObject({ version: 2, name: "two" });
    });

    it("lets one of many simultaneous changes through", async () => {
      await store.put("team", aTeam("t"), undefined);
      const changes = Array.from({ length: 8 }, (_, index) =>
        store.put("team", aTeam("t", { version: 2, name: `change ${index}` }), 1),
      );
      expect((await Promise.all(changes)).filter(Boolean)).toHaveLength(1);
      const creations = Array.from({ length: 8 }, (_, index) => store.put("key", aKey(`k${index}`, "a"), undefined));
      expect((await Promise.all(creations)).filter(Boolean)).toHaveLength(1);
      expect((await store.list("key", {})).entries).toHaveLength(1);
    });

    it("removes an entry of the version named, and nothing else", async () => {
      await store.put("organization", anOrganization("o"), undefined);
      await store.put("team", aTeam("o"), undefined);
      expect(await store.remove("organization", "o", 2)).toBe(false);
      expect(await store.remove("organization", "stranger", 1)).toBe(false);
      expect(await store.remove("organization", "\0", 1)).toBe(false);
      expect(await store.remove("organization", "o", 1)).toBe(true);
      expect(await store.remove("organization", "o", 1)).toBe(false);
      expect(await store.get("organization", "o")).toBeUndefined();
      expect(await store.get("team", "o")).toBeDefined();
    });

    it("finds a key by its digest and the one before, and by neither once they are gone", async () => {
      await store.put("key", aKey("k", "a"), undefined);
      await store.put("key", aKey("other", "z"), undefined);
      expect(await store.findKey(digestOf("a"))).toMatchObject({ id: "k", version: 1 });
      const rotated = aKey("k", "b", { version: 2, previousDigest: digestOf("a"), previousExpiresAt: 1 });
      expect(await store.put("key", rotated, 1)).toBe(true);
      expect(await store.findKey(digestOf("a"))).toEqual(rotated);
      expect(await store.findKey(digestOf("b"))).toEqual(rotated);
      expect(await store.put("key", aKey("k", "c", { version: 3 }), 2)).toBe(true);
      expect(await store.findKey(digestOf("a"))).toBeUndefined();
      expect(await store.findKey(digestOf("b"))).toBeUndefined();
      expect(await store.findKey(digestOf("c"))).toMatchObject({ id: "k", version: 3 });
      expect(await store.remove("key", "k", 3)).toBe(true);
      expect(await store.findKey(digestOf("c"))).toBeUndefined();
      expect(await store.findKey("\0")).toBeUndefined();
      expect(await store.findKey(digestOf("z"))).toMatchObject({ id: "other" });
    });

    it("has no two keys with a digest in common", async () => {
      await store.put("key", aKey("k", "b", { previousDigest: digestOf("a") }), undefined);
      expect(await store.put("key", aKey("l", "b"), undefined)).toBe(false);
      expect(await store.put("key", aKey("l", "a"), undefined)).toBe(false);
      expect(await store.put("key", aKey("l", "c", { previousDigest: digestOf("a") }), undefined)).toBe(false);
      expect(await store.get("key", "l")).toBeUndefined();
      expect(await store.put("key", aKey("l", "c"), undefined)).toBe(true);
      expect(await store.put("key", aKey("l", "a", { version: 2 }), 1)).toBe(false);
      expect(await store.get("key", "l")).toEqual(aKey("l", "c"));
      expect(await store.findKey(digestOf("c"))).toMatchObject({ id: "l" });
      expect(await store.findKey(digestOf("a"))).toMatchObject({ id: "k" });
    });

    it("lists in the order of ids, page by page, whatever comes and goes meanwhile", async () => {
      const ids = ["B", "a", "b-1", "b.1", "b:1", "b@1", "b_1", "z"];
      for (const id of [...ids].reverse()) await store.put("user", aUser(id), undefined);
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await store.list("user", { limit: 3, after });
        seen.push(...page.entries.map(({ id }) => id));
        after = page.next;
        if (seen.length === 3) await store.remove("user", "B", 1);
      } while (after !== undefined);
      expect(seen).toEqual([...ids].sort());
      expect(await store.list("user", { limit: 7 })).toMatchObject({ next: undefined });
      expect(await store.list("user", { after: "z" })).toEqual({ entries: [], next: undefined });
      expect((await store.list("user", { limit: 6 })).next).toBe("b_1");
    });

    it("lists what belongs to an organization, a team or a user", async () => {
      await store.put("team", aTeam("t1", { organization: "o1" }), undefined);
      await store.put("team", aTeam("t2", { organization: "o2" }), undefined);
      await store.put("user", aUser("u1", { organization: "o1", teams: ["t1", "t2"] }), undefined);
      await store.put("user", aUser("u2", { teams: ["t2"] }), undefined);
      await store.put("key", aKey("k1", "a", { user: "u1", team: "t1", organization: "o1" }), undefined);
      await store.put("key", aKey("k2", "b", { user: "u1", team: "t2" }), undefined);
      const ids = async (level: "team" | "user" | "key", filter: Parameters<DirectoryStore["list"]>[1]) =>
        (await store.list(level, filter)).entries.map(({ id }) => id);
      expect(await ids("team", { organization: "o1" })).toEqual(["t1"]);
      expect(await ids("user", { organization: "o1" })).toEqual(["u1"]);
      expect(await ids("user", { team: "t2" })).toEqual(["u1", "u2"]);
      expect(await ids("key", { team: "t2" })).toEqual(["k2"]);
      expect(await ids("key", { user: "u1" })).toEqual(["k1", "k2"]);
      expect(await ids("key", { user: "u1", organization: "o1" })).toEqual(["k1"]);
      expect(await ids("key", { user: "\0" })).toEqual([]);
    });
  });
}
