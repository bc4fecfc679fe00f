import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprint, identityOf } from "../../../src/internal/fingerprint.js";

describe("fingerprint", () => {
  it("is equal for equal data, whatever the order of its keys and whoever made it", () => {
    expect(fingerprint({ a: 1, b: [{ c: "x", d: null }] })).toBe(fingerprint({ b: [{ d: null, c: "x" }], a: 1 }));
    expect(fingerprint(Object.assign(Object.create(null), { a: 1 }))).toBe(fingerprint({ a: 1 }));
  });

  it("differs where data differs", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (left, right) => {
        if (!isDeepStrictEqual(asJson(left), asJson(right))) expect(fingerprint(left)).not.toBe(fingerprint(right));
      }),
    );
    const alike = [
      "1",
      1,
      [1],
      ["1"],
      { 1: 1 },
      '{"1":1}',
      "[1]",
      null,
      "null",
      true,
      "true",
      undefined,
      "undefined",
      [],
      {},
      "",
    ];
    expect(new Set(alike.map(fingerprint)).size).toBe(alike.length);
  });

  it("tells functions and class instances by identity", () => {
    const [one, other] = [() => 1, () => 1];
    expect(fingerprint({ key: one })).toBe(fingerprint({ key: one }));
    expect(fingerprint({ key: one })).not.toBe(fingerprint({ key: other }));
    const date = new Date(0);
    expect(fingerprint(date)).toBe(fingerprint(date));
    expect(fingerprint(date)).not.toBe(fingerprint(new Date(0)));
    expect(identityOf(one)).toBe(identityOf(one));
    expect(fingerprint(identityOf(one))).not.toBe(fingerprint(one));
  });

  it("S18: has a fixed form that repeats nothing of the data", () => {
    expect(fingerprint({ apiKey: "sk-secret" })).toMatch(/^[\w-]{16}$/);
  });
});

/** JSON has no -0. */
const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
