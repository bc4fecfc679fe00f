import { describe, expect, it } from "vitest";
import { DroppedFields } from "../../../../src/providers/shared/encoded-body.js";
import { ParameterRules, type ParameterTable } from "../../../../src/providers/shared/parameters.js";
import { type Json, upstreamErrorOf } from "../../../support/wire-upstreams.js";

const table: ParameterTable = { a: "forwarded", b: "translated", c: "dropped", n: "refused" };

function rules(body: Json, unknownFields: "forward" | "drop" | "reject" = "forward") {
  const report = new DroppedFields();
  const forwarded = new ParameterRules(table, unknownFields).forwarded(body, report);
  return { forwarded, dropped: report.fields };
}

describe("the table of a dialect's parameters", () => {
  it("decides what goes out, and what is reported", () => {
    expect(rules({ a: 1, b: 2, c: 3, n: 1 })).toEqual({ forwarded: { a: 1 }, dropped: ["c"] });
    expect(rules({ a: null, c: null, n: null })).toEqual({ forwarded: {}, dropped: undefined });
  });

  it("refuses by name what cannot be expressed", () => {
    expect(upstreamErrorOf(() => rules({ n: 2 }))).toMatchObject({
      errorClass: "invalid_request",
      lacksFeature: true,
      param: "n",
    });
  });

  it("S25: leaves unknown fields to the deployment's policy, but never passes those of other servers", () => {
    const body = { other: 1, min_p: 0.1, toString: 1 };
    expect(rules(body)).toEqual({ forwarded: { other: 1, toString: 1 }, dropped: ["min_p"] });
    expect(rules(body, "drop")).toEqual({ forwarded: {}, dropped: ["other", "min_p", "toString"] });
    expect(upstreamErrorOf(() => rules(body, "reject"))).toMatchObject({ param: "other", lacksFeature: true });
  });

  it("S29: passes no field that would change a prototype", () => {
    const { forwarded } = rules(JSON.parse('{"__proto__":{"x":1},"a":1}') as Json);
    expect(forwarded).toEqual({ a: 1 });
    expect(Object.getPrototypeOf(forwarded)).toBe(Object.prototype);
  });

  it("reports each field once", () => {
    const report = new DroppedFields();
    for (const field of ["a", "b", "a"]) report.add(field);
    expect(report.fields).toEqual(["a", "b"]);
  });
});
