import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { deploymentSchema, type ProviderName } from "../../src/deployments/options.js";
import { defaultCooldown } from "../../src/health/options.js";
import { knownProviders } from "../../src/providers/registry.js";
import { inputLimitsSchema } from "../../src/router/input-limits.js";
import { groupDefaultsSchema, groupSchema, onStoreFailureSchema, routerSchema } from "../../src/router/options.js";
import { noFallbacks } from "../../src/routing/options.js";
import { strategyNames } from "../../src/routing/strategies/index.js";
import { priceSchema } from "../../src/tokens/options.js";
import { timeoutsSchema } from "../../src/transport/options.js";

const root = resolve(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(resolve(root, path), "utf8");
const page = read("docs/configuration.md");

/** What an option is when it is not given: a default, nothing, or an error. */
type Absent = { default: unknown } | "optional" | "required";
type Options = Record<string, Absent>;

function optionsOf(schema: z.ZodObject): Options {
  return Object.fromEntries(Object.entries(schema.shape).map(([name, field]) => [name, absentOf(field)]));
}
function absentOf(field: unknown): Absent {
  if (field instanceof z.ZodDefault || field instanceof z.ZodPrefault) return { default: field.def.defaultValue };
  return field instanceof z.ZodType && field.safeParse(undefined).success ? "optional" : "required";
}
const withDefaults = (defaults: object): Options =>
  Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, { default: value }]));
const { isEnabled: _isEnabled, ...cooldown } = defaultCooldown;

const schemas: Record<string, Options> = {
  "## Router": optionsOf(routerSchema),
  "### Store failures": optionsOf(onStoreFailureSchema),
  "## Groups": optionsOf(groupSchema),
  "## Fallbacks": withDefaults(noFallbacks),
  "## Deployments": optionsOf(deploymentSchema),
  "### Price": optionsOf(priceSchema),
  "## Timeouts": optionsOf(timeoutsSchema),
  "## Cooldown": withDefaults(cooldown),
  "## Input limits": optionsOf(inputLimitsSchema),
};

/** The rows of the first table below a heading. */
function tableBelow(heading: string): Options {
  const [, below = ""] = page.split(`\n${heading}\n`);
  const [section = ""] = below.split(/\n#{2,3} /);
  const rows = [...section.matchAll(/^\| `(\w+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$/gm)];
  return Object.fromEntries(rows.map(([, name = "", shown = ""]) => [name, statedDefault(shown)]));
}
function statedDefault(shown: string): Absent {
  if (shown === "required") return "required";
  return shown === "–" ? "optional" : { default: JSON.parse(shown.replaceAll("`", "")) };
}

/** The fields of an interface with what their docstrings say about defaults. */
function docstringsOf(path: string, name: string): Record<string, unknown> {
  const [, body = ""] = read(path).match(new RegExp(`export interface ${name}\\b[^{]*\\{\\n([\\s\\S]*?)\\n\\}`)) ?? [];
  const fields = [...body.matchAll(/\/\*\*([\s\S]*?)\*\/\s*(?:\/\/.*\s*)?readonly (\w+)\??:/g)];
  return Object.fromEntries(fields.map(([, text = "", field = ""]) => [field, text.match(/@default (.+?)\s*$/)?.[1]]));
}

describe("docs/configuration.md", () => {
  it.each(Object.keys(schemas))("has under %s the options that the schema has, with the same defaults", (heading) => {
    const documented = tableBelow(heading);
    expect(documented).toEqual(schemas[heading]);
    expect(Object.keys(documented)).toEqual(Object.keys(schemas[heading] ?? {}));
  });

  it("names every strategy, and every own option of a provider but those of `simulated`", () => {
    for (const name of strategyNames) expect(tableRow("strategy")).toContain(`\`${name}\``);
    for (const { name, ownOptions } of knownProviders.values()) {
      if (name === "simulated") continue;
      for (const option of ownOptions ?? []) expect(page).toContain(`\`${option}\``);
    }
  });

  it("links only to headings of its own", () => {
    const anchors = [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
      heading.toLowerCase().replaceAll(" ", "-"),
    );
    for (const [, target] of page.matchAll(/\]\(#([^)]+)\)/g)) expect(anchors).toContain(target);
  });
});

describe("types of options", () => {
  it("name the providers that there are", () => {
    const names: Record<ProviderName, true> = {
      openai: true,
      "openai-compatible": true,
      azure: true,
      vllm: true,
      sglang: true,
      llamacpp: true,
      ollama: true,
      localai: true,
      gpustack: true,
      tgi: true,
      huggingface: true,
      mistral: true,
      groq: true,
      openrouter: true,
      deepseek: true,
      together: true,
      anthropic: true,
      gemini: true,
      bedrock: true,
      simulated: true,
    };
    expect(Object.keys(names).sort()).toEqual([...knownProviders.keys()].sort());
  });

  it.each([
    ["azure", "src/router/router-options.ts", "AzureDeploymentOptions"],
    ["anthropic", "src/providers/anthropic/options.ts", "AnthropicOptions"],
    ["gemini", "src/providers/gemini/options.ts", "GeminiOptions"],
    ["bedrock", "src/providers/bedrock/options.ts", "BedrockOptions"],
    ["ollama", "src/providers/ollama/options.ts", "OllamaOptions"],
    ["simulated", "src/providers/simulated/options.ts", "SimulatedOptions"],
  ])("know the own options of %s", (provider, path, name) => {
    const { ownOptions = [] } = knownProviders.get(provider) ?? {};
    expect(Object.keys(docstringsOf(path, name)).sort()).toEqual([...ownOptions].sort());
  });

  it("know every provider that has own options", () => {
    const withOwn = [...knownProviders.values()].filter(({ ownOptions }) => ownOptions?.length).map(({ name }) => name);
    expect(withOwn.sort()).toEqual(["anthropic", "azure", "bedrock", "gemini", "ollama", "simulated"]);
  });
});

describe("docstrings of options", () => {
  it.each([
    ["RouterOptions", "src/router/router-options.ts", optionsOf(routerSchema)],
    ["GroupDefaults", "src/router/router-options.ts", optionsOf(groupDefaultsSchema)],
    ["InputLimitOptions", "src/router/router-options.ts", optionsOf(inputLimitsSchema)],
    ["DeploymentOptions", "src/deployments/options.ts", optionsOf(deploymentSchema)],
    ["TimeoutOptions", "src/transport/options.ts", optionsOf(timeoutsSchema)],
    ["CooldownOptions", "src/health/options.ts", withDefaults(cooldown)],
    ["FallbackOptions", "src/routing/options.ts", withDefaults(noFallbacks)],
  ])("%s state the defaults of the schema", (name, path, options) => {
    const stated = docstringsOf(path, name);
    expect(Object.keys(stated).sort()).toEqual(Object.keys(options).sort());
    for (const [option, absent] of Object.entries(options)) {
      const text = stated[option];
      // That an object of options is empty where it is not given goes without saying.
      const isUnstated = text === undefined && (typeof absent === "string" || isEmptyObject(absent.default));
      const expected = isUnstated ? undefined : typeof absent === "string" ? absent : JSON.stringify(absent.default);
      expect(text, `@default of ${name}.${option}`).toBe(expected);
    }
  });
});

function tableRow(option: string): string {
  return page.match(new RegExp(`^\\| \`${option}\` .*$`, "m"))?.[0] ?? "";
}
function isEmptyObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;
}
