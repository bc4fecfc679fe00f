import { describe, expect, it } from "vitest";
import { describeVector } from "../support/describe-vector.js";
import { readFixtures } from "../support/vectors.js";

const fixtures = readFixtures();

describe("our own vectors", () => {
  it("are there, so that a clone without the reference is held against something", () => {
    expect(new Set(fixtures.map(({ provider }) => provider)).size).toBeGreaterThan(1);
    expect(fixtures.length).toBeGreaterThan(40);
  });

  for (const fixture of fixtures) describeVector(fixture);
});
