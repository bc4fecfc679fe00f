import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { frozenCopy, NotPlainError, plainCopy } from "../../../src/plugins/plain-copy.js";

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  return Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen);
}

/** Nested arrays, `depth` levels of them. */
function nested(depth: number): unknown {
  let value: unknown = "core";
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

describe("frozenCopy", () => {
  it("copies any JSON, freezes all of the copy, and leaves the original alone", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const before = structuredClone(value);
        const copy = frozenCopy(value);
        expect(copy).toEqual(value);
        expect(JSON.stringify(copy)).toBe(JSON.stringify(value));
        expect(isDeeplyFrozen(copy)).toBe(true);
        expect(value).toEqual(before);
        if (typeof value === "object" && value !== null) expect(Object.isFrozen(value)).toBe(false);
      }),
    );
  });

  it("sees what JSON.stringify sees", () => {
    const value = {
      at: new Date(0),
      left: undefined,
      call: () => 1,
      symbol: Symbol("s"),
      list: [undefined, () => 1, 2],
      "": 0,
    };
    expect(JSON.stringify(frozenCopy(value))).toBe(JSON.stringify(value));
  });

  it("S29: keeps a field called __proto__ a field", () => {
    const value = JSON.parse('{"__proto__":{"isAdmin":true},"a":1}');
    const copy = frozenCopy(value);
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
    expect(copy.isAdmin).toBeUndefined();
    expect(JSON.stringify(copy)).toBe('{"__proto__":{"isAdmin":true},"a":1}');
  });

  it("S37: takes what is nested 100 levels deep, and refuses cycles and what is nested without end", () => {
    expect(frozenCopy(nested(100))).toEqual(nested(100));
    expect(() => frozenCopy(nested(100_000))).toThrow(NotPlainError);
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(() => frozenCopy(cycle)).toThrow(NotPlainError);
  });
});

describe("plainCopy", () => {
  it("makes a copy that can be changed, if asked to", () => {
    const value = { list: [{ a: 1 }] };
    const copy = plainCopy(value, false);
    copy.list[0]!.a = 2; // it is there
    expect(value.list[0]?.a).toBe(1);
    expect(isDeeplyFrozen(plainCopy(value, true))).toBe(true);
  });

  it("leaves out fields that are undefined, and takes objects without a prototype", () => {
    expect(Object.keys(plainCopy({ a: undefined, b: 1 }, false))).toEqual(["b"]);
    expect(plainCopy(Object.assign(Object.create(null), { a: 1 }), false)).toEqual({ a: 1 });
  });

  it.each([
    ["a function", () => 1, "function"],
    ["a symbol", Symbol("s"), "symbol"],
    ["a bigint", 1n, "bigint"],
    ["an endless number", Number.POSITIVE_INFINITY, "finite"],
    ["no number", Number.NaN, "finite"],
    ["a map", new Map([["a", 1]]), "class"],
    ["bytes", new Uint8Array(2), "class"],
    ["a promise", Promise.resolve(), "class"],
  ])("refuses %s, wherever it is", (_, value, named) => {
    expect(() => plainCopy(value, true)).toThrow(named);
    expect(() => plainCopy({ deep: [{ value }] }, true)).toThrow(named);
  });

  it("refuses holes in arrays", () => {
    expect(() => plainCopy([undefined], true)).toThrow("undefined");
  });
});
