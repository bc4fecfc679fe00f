import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { knownProviders } from "../../src/providers/registry.js";

const page = readFileSync(resolve(import.meta.dirname, "../../docs/mid-stream.md"), "utf8");
const [, section = ""] = page.split("\n## Who can continue\n");
const rows = [...section.matchAll(/^\| `([\w-]+)` \| ([^|]+) \|/gm)].map(
  ([, name = "", who = ""]) => [name, who] as const,
);

describe("docs/mid-stream.md", () => {
  it("lists the providers that continue an assistant message, and no others", () => {
    const stating = [...knownProviders.values()].filter((provider) => {
      const own = provider.name === "azure" ? { apiVersion: "v1" } : {};
      const model = "claude-sonnet-4-5";
      const settings = {
        model,
        baseUrl: "http://127.0.0.1:1",
        unknownFields: "forward" as const,
        region: "eu-central-1",
        own,
      };
      return provider.connect(settings).takesPrefill?.(model);
    });
    expect(rows.map(([name]) => name).toSorted()).toEqual(stating.map(({ name }) => name).toSorted());
  });

  it("says up to which version Claude does", () => {
    const takesPrefill = (model: string) =>
      knownProviders
        .get("anthropic")
        ?.connect({ model, baseUrl: undefined, unknownFields: "forward", own: {} })
        .takesPrefill?.(model);
    const version = rows.find(([name]) => name === "anthropic")?.[1].match(/up to 4\.(\d)/)?.[1];
    expect(takesPrefill(`claude-sonnet-4-${version}`)).toBe(true);
    expect(takesPrefill(`claude-sonnet-4-${Number(version) + 1}`)).toBe(false);
  });
});
