import { describe, expect, it } from "vitest";
import { z } from "zod";
import { ProviderOptionError } from "../../../../src/providers/provider.js";
import { parseOwnOptions } from "../../../../src/providers/shared/own-options.js";

const schema = z.strictObject({
  a: z.int("an integer").default(1),
  b: z.array(z.strictObject({ c: z.string("a text") }, "a list of { c }"), "a list of { c }").optional(),
});

function problem(own: Record<string, unknown>): { path: string; message: string } {
  try {
    parseOwnOptions(schema, own);
  } catch (error) {
    if (error instanceof ProviderOptionError) return { path: error.path, message: error.message };
    throw error;
  }
  throw new Error("nothing was wrong");
}

describe("a provider's own options", () => {
  it("have their defaults", () => {
    expect(parseOwnOptions(schema, {})).toEqual({ a: 1 });
  });

  it("are refused all together, each with what is expected and what came", () => {
    expect(problem({ a: "x".repeat(99), b: 5 })).toEqual({
      path: "a",
      message: `Expected \`a\` to be an integer; got "${"x".repeat(64)}". Expected \`b\` to be a list of { c }; got 5.`,
    });
    expect(problem({ b: [{ c: null }] })).toEqual({
      path: "b",
      message: "Expected `b.0.c` to be a text; got an array.",
    });
    expect(problem({ a: {} }).message).toBe("Expected `a` to be an integer; got a value of type object.");
  });

  it("are refused by name where nobody knows them", () => {
    expect(problem({ d: 1 })).toEqual({ path: "d", message: "Unknown option: `d`." });
    expect(problem({ b: [{ c: "x", d: 1 }] })).toEqual({ path: "b", message: "Unknown option in `b.0`: `d`." });
  });
});
