import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const TEST = resolve(import.meta.dirname, "..");

const LAST = { S: 46, R: 27 };
/** Numbers that nobody gave. */
const UNUSED = new Set(["S43", "S45"]);

const titles = readdirSync(TEST, { recursive: true, encoding: "utf8" })
  .filter((path) => /\.(?:test|test-d)\.ts$/.test(path))
  .flatMap((path) => [
    ...readFileSync(join(TEST, path), "utf8").matchAll(/\b(?:it|test|describe)\b[^\n]*?[("'`]([^\n]*)/g),
  ])
  .map(([, title]) => title ?? "");

/** The wire conventions have numbers of their own: `repair R4`, `wire S3`. */
const named = new Set(
  titles.flatMap((title) =>
    [...title.matchAll(/(?<!repair |wire )\b([SR]\d{1,2})\b/g)].map(([, number]) => number ?? ""),
  ),
);
const all = (["S", "R"] as const).flatMap((letter) =>
  Array.from({ length: LAST[letter] }, (_, index) => `${letter}${index + 1}`).filter((number) => !UNUSED.has(number)),
);

describe("the numbered requirements", () => {
  it("T8: each is in the title of a test", () => {
    expect(all.filter((number) => !named.has(number))).toEqual([]);
  });
});
