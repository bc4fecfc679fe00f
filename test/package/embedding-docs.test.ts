import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { knownProviders } from "../../src/providers/registry.js";
import { anAttempt } from "../support/attempt-context.js";
import { anAddress } from "../support/openai-providers.js";

const page = readFileSync(join(import.meta.dirname, "../../docs/embeddings.md"), "utf8");
const numbers = new Intl.NumberFormat("en-US");

/** One model for each row of the page. */
const models: Readonly<Record<string, string>> = {
  "`bedrock`: Cohere": "cohere.embed-english-v3",
  "`bedrock`: Titan, Nova": "amazon.titan-embed-text-v2:0",
};
const rows = [...page.matchAll(/^\| (`.*?) \| ([\d,]+) \| ([\d,–]+) \|$/gm)].map(([, name = "", inputs, tokens]) => ({
  name,
  providers: [...(name.split(":")[0] ?? "").matchAll(/`(.*?)`/g)].map(([, provider = ""]) => provider),
  inputs,
  tokens,
}));

function limitsOf(provider: string, model = "m") {
  const baseUrl = provider === "bedrock" || provider === "gemini" ? undefined : anAddress("openai-compatible");
  const own = { region: "eu-west-1", hasApiKey: true, unknownFields: "forward", own: {} } as const;
  const upstream = knownProviders.get(provider)?.connect({ model, baseUrl, ...own });
  if (upstream?.kind !== "wire") return undefined;
  return upstream.embeddingLimits?.(anAttempt({ operation: "embeddings", model }));
}

describe("the page about embeddings", () => {
  it.each(rows)("tells what one call of $name carries", ({ name, providers, inputs, tokens }) => {
    expect(providers).not.toEqual([]);
    for (const provider of providers) {
      const limits = limitsOf(provider, models[name]);
      expect(limits && numbers.format(limits.inputs)).toBe(inputs);
      expect(limits?.tokens === undefined ? "–" : numbers.format(limits.tokens)).toBe(tokens);
    }
  });

  it("names every provider that has a limit", () => {
    const named = new Set(rows.flatMap(({ providers }) => providers));
    const limited = [...knownProviders.keys()].filter((name) => {
      // Bedrock's and the simulated one's models decide.
      if (name === "bedrock" || name === "simulated") return name === "bedrock";
      return limitsOf(name) !== undefined;
    });
    expect(limited.sort()).toEqual([...named].sort());
  });
});
