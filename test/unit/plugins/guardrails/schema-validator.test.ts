import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileSchema, SchemaProblem } from "../../../../src/plugins/guardrails/schema-validator.js";

const problems = (schema: unknown, value: unknown, patterns: "skip" | "refuse" = "skip") =>
  compileSchema(schema, { patterns })(value, JSON.stringify(value).length);

describe("compileSchema", () => {
  it.each([
    [{ type: "string" }, "a", 1],
    [{ type: ["integer", "null"] }, 3, 3.5],
    [{ enum: [1, "a", { b: [1, 2] }] }, { b: [1, 2] }, { b: [2, 1] }],
    [{ const: { a: 1, b: 2 } }, { b: 2, a: 1 }, { a: 1 }],
    [{ type: "object", required: ["a"] }, { a: null }, {}],
    [{ properties: { a: { type: "number" } }, additionalProperties: false }, { a: 1 }, { a: 1, b: 1 }],
    [{ additionalProperties: { type: "number" } }, { x: 1 }, { x: "1" }],
    [{ items: { type: "number" }, minItems: 1, maxItems: 2 }, [1], []],
    [{ prefixItems: [{ type: "number" }], items: false }, [1], [1, 2]],
    [
      { uniqueItems: true },
      [{ a: 1, b: 2 }, { a: 1 }],
      [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
    ],
    [{ minLength: 2, maxLength: 2 }, "😀😀", "😀"],
    [{ minimum: 1, exclusiveMaximum: 3, multipleOf: 0.5 }, 2.5, 3],
    [{ minProperties: 1, maxProperties: 1 }, { a: 1 }, {}],
    [{ anyOf: [{ type: "string" }, { type: "null" }] }, null, 1],
    [{ oneOf: [{ type: "number" }, { type: "integer" }] }, 1.5, 1],
    [{ allOf: [{ minimum: 1 }, { maximum: 2 }] }, 1, 3],
    [{ not: { type: "string" } }, 1, "a"],
    [true, "anything", undefined],
    [{ $ref: "#/$defs/a~1b", $defs: { "a/b": { type: "null" } } }, null, 0],
    [{ required: ["__proto__"] }, JSON.parse('{"__proto__":1}'), {}],
    [
      { properties: { next: { anyOf: [{ $ref: "#" }, { type: "null" }] } }, required: ["next"] },
      { next: { next: null } },
      { next: {} },
    ],
  ])("%j takes %j and not %j", (schema, good, bad) => {
    expect(problems(schema, good)).toEqual([]);
    if (bad !== undefined) expect(problems(schema, bad)).not.toEqual([]);
  });

  it("says where the faults are, and how many there may be", () => {
    const schema = { properties: { a: { type: "string" }, b: { items: { minimum: 1 } } }, required: ["c"] };
    expect(problems(schema, { a: 1, b: [0] })).toEqual([
      '/ lacks the field "c"',
      "/a must be string",
      "/b/0 breaks minimum 1",
    ]);
    expect(problems({ items: false }, Array(100).fill(1))).toHaveLength(10);
  });

  it.each([
    ["no schema", { type: "text" }],
    ["a wrong keyword", { minLength: "1" }],
    ["properties that are none", { properties: [] }],
    ["what it does not know", { contains: {} }],
    ["an address", { $ref: "https://example.com/schema.json" }],
    ["a reference to nothing", { $ref: "#/$defs/a" }],
    ["a reference to something that is no schema", { $ref: "#/title", title: "x" }],
    ["too deep", JSON.parse(`${'{"not":'.repeat(70)}{}${"}".repeat(70)}`)],
    ["too long", { enum: ["x".repeat(300_000)] }],
    ["too many subschemas", { anyOf: Array.from({ length: 10_001 }, () => ({})) }],
    ["no JSON", () => 1],
    ["a pattern", { pattern: "a" }],
    ["patterns of names", { patternProperties: { "^a": {} } }],
  ])("refuses %s", (_, schema) => {
    expect(() => compileSchema(schema, { patterns: "refuse" })).toThrow(SchemaProblem);
  });

  it("S26: patterns of callers are never compiled; what they might allow passes", () => {
    const evil = { type: "string", pattern: "^(a+)+$" };
    expect(problems(evil, `${"a".repeat(50_000)}!`)).toEqual([]);
    const named = { patternProperties: { "(": { type: "string" } }, additionalProperties: false };
    expect(problems(named, { x: 1 })).toEqual([]);
  });

  it("F10: a recursive schema with alternatives takes no exponential time", () => {
    const branch = { properties: { x: { $ref: "#/$defs/a" } }, required: ["x"] };
    const schema = { $ref: "#/$defs/a", $defs: { a: { oneOf: [branch, { ...branch, minProperties: 1 }] } } };
    const value = JSON.parse(`${'{"x":'.repeat(40)}1${"}".repeat(40)}`);
    expect(() => problems(schema, value)).toThrow(RangeError);
    expect(() => problems({ allOf: [{ $ref: "#" }] }, 1)).toThrow(RangeError);
  });

  it("agrees with Ajv on random schemas and values", () => {
    const leaf = fc.oneof(
      fc.record({ type: fc.constantFrom("string", "number", "integer", "boolean", "null", "object", "array") }),
      fc.record({ enum: fc.uniqueArray(fc.constantFrom<unknown>(1, "a", null, true, "b"), { minLength: 1 }) }),
      fc.record({ const: fc.constantFrom<unknown>(1, "a", { a: 1 }, [1]) }),
      fc.record({ minLength: fc.nat(3), minimum: fc.nat(2), maxItems: fc.nat(2) }, { requiredKeys: [] }),
      fc.boolean(),
    );
    const { schema } = fc.letrec<{ schema: unknown }>((tie) => ({
      schema: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.record({ items: tie("schema"), uniqueItems: fc.boolean() }),
        fc.record(
          {
            properties: fc.dictionary(fc.constantFrom("a", "b"), tie("schema")),
            required: fc.uniqueArray(fc.constantFrom("a", "b"), { maxLength: 2 }),
            additionalProperties: tie("schema"),
          },
          { requiredKeys: [] },
        ),
        fc.record({ anyOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }) }),
        fc.record({ oneOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }) }),
        fc.record({ allOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }) }),
        fc.record({ not: tie("schema") }),
      ),
    }));
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom<unknown>(0, 1, 2, 1.5, "", "a", "😀", "abc", true, false, null),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom("a", "b", "c"), tie("value")),
      ),
    }));
    const ajv = new Ajv2020({ strict: false });
    fc.assert(
      fc.property(schema, value, (of, candidate) => {
        const expected = ajv.validate(of as object, candidate); // a schema, as made above
        expect(problems(of, candidate).length === 0).toBe(expected);
      }),
      { numRuns: 1_000 },
    );
  }, 60_000);
});
