import { describe, expect, it } from "vitest";
import { cacheOptionsOf } from "../../../../src/http/cache-control.js";
import { InvalidOptionsError } from "../../../../src/index.js";
import { deferred } from "../../../../src/internal/deferred.js";
import { cache } from "../../../../src/plugins/cache/cache.js";
import { type CacheStore, MemoryCacheStore } from "../../../../src/plugins/cache/cache-store.js";
import { SemanticIndex, unitVector } from "../../../../src/plugins/cache/semantic-index.js";
import { StoreAccess } from "../../../../src/plugins/cache/store-access.js";
import { virtualClock } from "../../../../src/testing/virtual-clock.js";

describe("the options of a cache", () => {
  it("are checked when it is made", () => {
    const problems = (options: object) => {
      try {
        cache(options);
        return [];
      } catch (error) {
        return (error as InvalidOptionsError).issues.map(({ path }) => path);
      }
    };
    expect(problems({})).toEqual([]);
    expect(problems({ ttl: 5 })).toEqual(["cache.ttl"]);
    expect(problems({ ttlMs: 0, maxBytes: 1.5, store: "redis", match: [] })).toHaveLength(4);
    expect(problems({ store: { get: 1 } })).toEqual(["cache.store"]);
    expect(problems({ ignoreFields: ["messages"] })).toEqual(["cache.ignoreFields.0"]);
    expect(problems({ semantic: { threshold: 0.9 } })).toEqual(["cache.semantic.model"]);
    expect(problems({ semantic: { model: "e", threshold: 0 } })).toEqual(["cache.semantic.threshold"]);
    expect(() => cache({ name: "a b" })).toThrow(InvalidOptionsError);
  });
});

describe("a memory of answers", () => {
  it("S27: keeps within its bytes, counts what its texts take, and drops what was used least recently", () => {
    const store = new MemoryCacheStore(3_000);
    for (const name of ["a", "b", "c"]) store.set(name, "x".repeat(600));
    expect(store.get("a")).toBeDefined();
    store.set("d", "é".repeat(300));
    expect(["a", "b", "c", "d"].map((name) => store.get(name) !== undefined)).toEqual([true, false, true, true]);
    store.set("e", "x".repeat(5_000));
    expect(store.get("e")).toBeUndefined();
    store.clear();
    expect(store.get("a")).toBeUndefined();
  });
});

describe("access to a store", () => {
  function opened(store: CacheStore) {
    const clock = virtualClock();
    const failures: unknown[] = [];
    const access = new StoreAccess({ store, clock, timeoutMs: 50, onFailure: (error) => failures.push(error) });
    return { clock, access, failures };
  }

  it("knows nothing of what comes late, and asks again a second after five failures", async () => {
    let answer = deferred<string>();
    let asked = 0;
    const { clock, access, failures } = opened({
      get: () => {
        asked += 1;
        return answer.promise;
      },
      set: () => {},
    });
    for (let count = 0; count < 5; count++) {
      const read = access.get("k", 10);
      await clock.advance(50);
      expect(await read).toBeUndefined();
    }
    expect(access.get("k", 10)).toBeUndefined();
    expect([asked, failures.length]).toEqual([5, 1]);
    answer.resolve("late");
    await clock.advance(1_000);
    answer = deferred();
    const probe = access.get("k", 10);
    answer.resolve("there");
    expect(await probe).toBe("there");
    expect(await access.get("k", 10)).toBe("there");
  });

  it("S27: holds no more writes than it may, while the store takes none", async () => {
    const gate = deferred<void>();
    let written = 0;
    const { access } = opened({
      get: () => undefined,
      set: () => {
        written += 1;
        return gate.promise;
      },
    });
    const megabyte = 1024 * 1024;
    for (let count = 0; count < 100; count++) access.set("k", "x", 1, megabyte);
    expect(written).toBe(31);
    gate.resolve();
    await gate.promise;
    await Promise.resolve();
    access.set("k", "x", 1, megabyte);
    expect(written).toBe(32);
  });

  it("takes texts within their bound, and nothing else", async () => {
    let value: unknown = "x".repeat(10);
    const { access } = opened({ get: () => value as string, set: () => {} }); // a store of somebody else's
    expect(access.get("k", 10)).toBe(value);
    expect(access.get("k", 9)).toBeUndefined();
    for (value of [5, null, {}, []]) expect(access.get("k", 10)).toBeUndefined();
  });
});

describe("an index of questions", () => {
  const vector = (...numbers: number[]) => unitVector(numbers) as Float32Array; // of good numbers
  const question = (name: string, of: Float32Array, likeness = "l") => ({
    likeness,
    vector: of,
    key: { key: name, check: name },
  });

  it("finds the nearest that is near enough, among those of the same likeness and length", () => {
    const index = new SemanticIndex(0.9, 1_000_000);
    index.add(question("a", vector(1, 0)));
    index.add(question("b", vector(1, 0.2)));
    index.add(question("other", vector(1, 0.1), "m"));
    expect(index.find("l", vector(1, 0.15))?.key.key).toBe("b");
    expect(index.find("l", vector(1, 0.01))?.key.key).toBe("a");
    expect(index.find("m", vector(1, 0))?.key.key).toBe("other");
    expect(index.find("l", vector(0, 1))).toBeUndefined();
    expect(index.find("l", vector(-1, 0))).toBeUndefined();
    expect(index.find("l", vector(1, 0, 0))).toBeUndefined();
    expect(index.find("n", vector(1, 0))).toBeUndefined();
    index.remove(question("a", vector(1, 0)));
    expect(index.find("l", vector(1, 0.01))?.key.key).toBe("b");
  });

  it("S27: stays within its bytes, and within what one look-up may compare", () => {
    const small = new SemanticIndex(0.9, 5_500);
    const at = (degrees: number) => vector(Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180));
    for (let count = 0; count < 100; count++) small.add(question(`q${count}`, at(count)));
    expect(small.size).toBe(10);
    expect(small.find("l", at(99))?.key.key).toBe("q99");
    expect(small.find("l", at(0))).toBeUndefined();
    const large = new SemanticIndex(0.9, 1_000_000_000);
    for (let count = 0; count < 1_500; count++) large.add(question(`q${count}`, vector(1, count)));
    expect(large.size).toBe(1_000);
    large.add(question("q1499", vector(1, 5)));
    expect(large.size).toBe(1_000);
    large.clear();
    expect([large.size, large.find("l", vector(1, 5))]).toEqual([0, undefined]);
  });

  it("takes nothing that has no direction", () => {
    const bad = [undefined, [], [0, 0], [Number.NaN], [Infinity], ["1"], "AAAA", [1e200], new Array(20_000).fill(1)];
    for (const numbers of bad) expect(unitVector(numbers)).toBeUndefined();
    expect(unitVector([3, 4])).toEqual(Float32Array.from([0.6, 0.8]));
  });
});

describe("the cache-control of a request", () => {
  it.each([
    [undefined, undefined],
    ["", { noCache: false, noStore: false }],
    ["no-cache", { noCache: true, noStore: false }],
    ["No-Store , max-age=60", { noCache: false, noStore: true, maxAgeMs: 60_000 }],
    ["max-age=60, max-age=5, only-if-cached", { noCache: false, noStore: false, maxAgeMs: 5_000 }],
    ["max-age=-1, max-age=x, max-age=99999999999", { noCache: false, noStore: false }],
  ])("%j means %j", (header, options) => {
    expect(cacheOptionsOf(header)).toEqual(options);
  });
});
