import { describe, expect, it } from "vitest";
import { budget, cache, InvalidOptionsError, judge, type Plugin, Router, rateLimit } from "../../../src/index.js";
import { parseOptions } from "../../../src/router/options.js";

const demo = [{ provider: "simulated" as const, model: "demo" }];
const models = { chat: demo, "openai/*": [{ provider: "simulated" as const, model: "*" }] };
const prompt = "Nothing rude.";

const judging = (group: string) => judge({ group, prompt });
const semantic = (model: string) => cache({ semantic: { model } });
const refusals = (...plugins: Plugin[]) => {
  try {
    parseOptions({ models, aliases: { best: "chat" }, plugins });
  } catch (error) {
    if (error instanceof InvalidOptionsError) return error.issues.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
};

describe("models that plugins name", () => {
  it("are refused where a plugin would call one that is not there", () => {
    expect(refusals(judging("chatt"))).toEqual(['plugins[0].judge.group: unknown model "chatt"; did you mean "chat"?']);
    expect(refusals(judging("chat"), semantic("embed"))).toEqual([
      expect.stringContaining('plugins[1].cache.semantic.model: unknown model "embed"'),
    ]);
  });

  it.each(["chat", "best", "openai/gpt-4o"])("may be groups, aliases, and what a wildcard takes: %s", (name) => {
    expect(refusals(judging(name), semantic(name))).toEqual([]);
  });

  it("are looked at by a reload, too, also of a plugin that stays", () => {
    const plugins = [judging("chat")];
    const router = new Router({ models, plugins });
    expect(() => router.reload({ models: { other: demo }, plugins })).toThrow(InvalidOptionsError);
    expect(router.status().groups.map(({ name }) => name)).toContain("chat");
  });

  it("are a warning where a limit is for one that no request can name", () => {
    const warningsFor = (...plugins: Plugin[]) => parseOptions({ models, plugins }).warnings;
    expect(warningsFor(rateLimit({ by: "model", rpm: 1, match: ["chat", "nope"] }))).toEqual([
      '`rateLimit.match` of the plugin "rateLimit" names "nope", and there is no such model.',
    ]);
    expect(warningsFor(budget({ by: "model", limitUsd: 1, match: "nope" }), cache({ match: "nope" }))).toHaveLength(2);
    expect(warningsFor(rateLimit({ by: "model", rpm: 1, match: "nope*" }))).toEqual([]);
    expect(warningsFor(rateLimit({ by: "user", rpm: 1, match: "nope" }))).toEqual([]);
  });
});

describe("a group that hedges with one deployment", () => {
  it("is a warning, unless the defaults say so for all", () => {
    const warnings = (options: object) =>
      parseOptions({ models: { chat: { deployments: demo, ...options } } }).warnings;
    expect(warnings({ hedge: true })).toEqual([expect.stringContaining("only one deployment")]);
    expect(warnings({ hedge: false })).toEqual([]);
    expect(parseOptions({ models: { chat: demo }, defaults: { hedge: true } }).warnings).toEqual([]);
  });
});
