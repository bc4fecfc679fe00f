import { describe, expect, it } from "vitest";
import { pluginsSchema } from "../../../src/plugins/options.js";

function problems(plugins: unknown): string[] {
  const issues = pluginsSchema.safeParse(plugins).error?.issues ?? [];
  return issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

describe("pluginsSchema", () => {
  it("takes plugins as they are, with whatever they keep to themselves", () => {
    const plain = {
      name: "a",
      innermost: true,
      failure: "open",
      timeoutMs: 10,
      seen: new Map(),
      failures: 0,
      reset() {},
    };
    class Counted {
      name = "@scope/counted:1.0";
      closed = false;
      onSettled() {}
      restart() {}
      get rate(): number {
        throw new Error("not yet");
      }
    }
    const instance = new Counted();
    const alike = { name: "b", names: "x", failures: 0, close() {}, closed() {}, timeoutMs: 1, timeout: 2 };
    const parsed = pluginsSchema.parse([plain, instance, alike]);
    expect(parsed[0]).toBe(plain);
    expect(parsed[1]).toBe(instance);
  });

  it("reports every problem with its place", () => {
    expect(
      problems([
        { onSettled: 7, timeoutMs: 0, failure: "maybe", innermost: "yes" },
        "logger",
        { name: "", close: "no" },
        { name: "c", timeoutMs: Number.NaN },
        { name: "d", timeoutMs: 600_001 },
      ]),
    ).toEqual([
      "0.name: is required",
      "0.innermost: expected a boolean",
      '0.failure: expected "closed" or "open"',
      "0.timeoutMs: expected milliseconds above 0",
      "0.onSettled: expected a function",
      "1: expected a plugin object",
      "2.name: expected a name of 1 to 64 letters, digits, and _ @ / . : -",
      "2.close: expected a function",
      "3.timeoutMs: expected a number of milliseconds",
      "4.timeoutMs: expected at most 600000 milliseconds",
    ]);
    expect(problems("logger")).toEqual([": expected an array of plugins"]);
  });

  it("wants a name of its own for each plugin", () => {
    expect(problems([{ name: "a" }, { name: "b" }, { name: "a" }])).toEqual([
      "2.name: is the name of plugins[0], too: give each plugin its own",
    ]);
  });

  it.each([
    ["onSetled", "onSettled"],
    ["onsettled", "onSettled"],
    ["beforRequest", "beforeRequest"],
    ["transformSteam", "transformStream"],
    ["resreve", "reserve"],
    ["closed", "close"],
  ])("refuses a function called %s, which would never be called", (name, meant) => {
    expect(problems([{ name: "a", [name]: () => {} }])).toEqual([`0.${name}: is no hook; did you mean "${meant}"?`]);
    class Misspelt {
      name = "a";
    }
    Object.defineProperty(Misspelt.prototype, name, { value: () => {} });
    expect(problems([new Misspelt()])).toHaveLength(1);
  });

  it("refuses a function that looks like a hook but is near to none", () => {
    expect(problems([{ name: "a", onBudgetExceeded: () => {} }])[0]).toMatch(/is no hook; hooks are start, onRequest/);
  });

  it.each([
    ["timeout", 500, "timeoutMs"],
    ["timeoutMS", 500, "timeoutMs"],
    ["failur", "open", "failure"],
    ["inermost", true, "innermost"],
  ])("refuses the option %s, which would be ignored", (name, value, meant) => {
    expect(problems([{ name: "a", [name]: value }])).toEqual([
      `0.${name}: is no option of plugins; did you mean "${meant}"?`,
    ]);
  });
});
