import { describe, expect, it } from "vitest";
import { isModelId, type NamedGroup, Registry, wildcardOf, wireModel } from "../../../src/deployments/registry.js";

function aGroup(name: string, ...models: string[]): NamedGroup {
  return { name, wildcard: wildcardOf(name), deployments: models.map((model) => ({ model })) };
}

/** What a name leads to, as `group` or `group(captured)`. */
function lookUp(registry: Registry<NamedGroup>, name: string): string | undefined {
  const resolved = registry.resolve(name);
  if (!resolved) return undefined;
  return resolved.captured === undefined ? resolved.group.name : `${resolved.group.name}(${resolved.captured})`;
}

describe("Registry", () => {
  const registry = new Registry(
    [
      aGroup("chat", "llama"),
      aGroup("openai/*", "*"),
      aGroup("openai/o*", "o*"),
      aGroup("openai/gpt-4", "gpt-4-0613"),
      aGroup("*-turbo", "*"),
    ],
    new Map([
      ["gpt-4", "chat"],
      ["mini", "openai/gpt-4o-mini"],
    ]),
  );

  it.each([
    ["chat", "chat"],
    ["gpt-4", "chat"],
    ["openai/gpt-4", "openai/gpt-4"],
    ["openai/gpt-4o", "openai/*(gpt-4o)"],
    ["openai/o3", "openai/o*(3)"],
    ["mini", "openai/*(gpt-4o-mini)"],
    ["qwen-turbo", "*-turbo(qwen)"],
  ])("finds %s: exact names before aliases before the wildcard with the longest prefix", (name, expected) => {
    expect(lookUp(registry, name)).toBe(expected);
  });

  it.each(["", "unknown", "CHAT", "openai/", "-turbo", "openai/*", "__proto__", "constructor"])(
    "knows no %j",
    (name) => {
      expect(lookUp(registry, name)).toBeUndefined();
    },
  );

  it("lists wildcard groups with the longest prefix first, then the longest suffix", () => {
    const { wildcards } = new Registry(
      ["*", "a/*", "*-x", "a/b*", "a/*-x"].map((name) => aGroup(name, "*")),
      new Map(),
    );
    expect(wildcards.map(({ name }) => name)).toEqual(["a/b*", "a/*-x", "a/*", "*-x", "*"]);
  });

  it("takes any name where a group is called `*`", () => {
    const all = new Registry([aGroup("*", "*"), aGroup("chat", "llama")], new Map());
    expect(lookUp(all, "anthropic/claude")).toBe("*(anthropic/claude)");
    expect(lookUp(all, "chat")).toBe("chat");
  });

  it("S29: treats names of the prototype as names like any other", () => {
    const odd = new Registry(
      [aGroup("__proto__", "a"), aGroup("constructor", "b")],
      new Map([["toString", "__proto__"]]),
    );
    expect(lookUp(odd, "__proto__")).toBe("__proto__");
    expect(lookUp(odd, "constructor")).toBe("constructor");
    expect(lookUp(odd, "toString")).toBe("__proto__");
    expect(lookUp(odd, "hasOwnProperty")).toBeUndefined();
  });

  it("resolves aliases against groups only, whatever their order", () => {
    const aliases = new Registry(
      [aGroup("chat", "llama")],
      new Map([
        ["a", "b"],
        ["b", "chat"],
      ]),
    );
    expect(lookUp(aliases, "a")).toBeUndefined();
    expect(lookUp(aliases, "b")).toBe("chat");
  });

  it.each([
    ["blanks", "gpt 4"],
    ["line ends", "gpt\n4"],
    ["query characters", "gpt?x=1"],
    ["escapes", "gpt%2f4"],
    ["a star", "g*t"],
    ["letters beyond ASCII", "gpt-ä"],
    ["dot segments", "../admin"],
    ["inner dot segments", "a/./b"],
    ["only dots", ".."],
    ["more than 256 characters", "x".repeat(257)],
  ])("S5: refuses a model id from a caller with %s", (_what, id) => {
    expect(isModelId(id)).toBe(false);
    expect(lookUp(registry, `openai/${id}`)).toBeUndefined();
  });

  it.each(["o3", "gpt-4.1", "org/model:free", "model@2024-01-01", "a..b", "x".repeat(256)])(
    "S5: passes the model id %j",
    (id) => {
      expect(isModelId(id)).toBe(true);
    },
  );

  it("S5: a name that would be too long behind the deployment's prefix is unknown", () => {
    const prefixed = new Registry([aGroup("hf/*", "meta-llama/*")], new Map());
    const longest = "x".repeat(256 - "meta-llama/".length);
    expect(lookUp(prefixed, `hf/${longest}`)).toBe(`hf/*(${longest})`);
    expect(lookUp(prefixed, `hf/${longest}x`)).toBeUndefined();
  });

  it("S27: keeps nothing of the names that callers try", () => {
    const before = JSON.stringify(registry.names);
    for (let i = 0; i < 1_000; i++) registry.resolve(`openai/model-${i}`);
    expect(JSON.stringify(registry.names)).toBe(before);
    // Two look-ups make two results: nothing is cached.
    expect(registry.resolve("openai/gpt-4o")).not.toBe(registry.resolve("openai/gpt-4o"));
  });

  describe("fallbacks", () => {
    const groups = new Registry(
      [aGroup("chat", "llama"), aGroup("openai/*", "*"), aGroup("azure/*", "*")],
      new Map([["main", "chat"]]),
    );
    const fromAzure = groups.resolve("azure/gpt-4o");
    const fromChat = groups.resolve("chat");
    if (!fromAzure || !fromChat) throw new Error("both names are configured");

    it("hand what a wildcard captured to another wildcard group", () => {
      const target = groups.resolveFallback("openai/*", fromAzure);
      expect([target?.group.name, target?.captured]).toEqual(["openai/*", "gpt-4o"]);
    });

    it("take a wildcard group by its name only from another one", () => {
      expect(groups.resolveFallback("openai/*", fromChat)).toBeUndefined();
    });

    it("take any name that callers may use", () => {
      expect(groups.resolveFallback("chat", fromAzure)?.group.name).toBe("chat");
      expect(groups.resolveFallback("main", fromAzure)?.group.name).toBe("chat");
      expect(groups.resolveFallback("openai/o3", fromChat)?.captured).toBe("o3");
      expect(groups.resolveFallback("nobody", fromChat)).toBeUndefined();
    });
  });
});

describe("wireModel", () => {
  it.each([
    ["gpt-4o", undefined, "gpt-4o"],
    ["gpt-4o", "o3", "gpt-4o"],
    ["*", "o3", "o3"],
    ["meta-llama/*", "Llama-3", "meta-llama/Llama-3"],
    ["*:free", "a/b", "a/b:free"],
  ])("makes of %j and what the caller's name captured, %j, %j", (model, captured, expected) => {
    expect(wireModel({ model }, captured)).toBe(expected);
  });
});
