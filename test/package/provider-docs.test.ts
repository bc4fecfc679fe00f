import { existsSync, readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { legacyParameters } from "../../src/providers/legacy-completions.js";
import type { DialectParameters, ParameterTable } from "../../src/providers/parameters.js";
import { knownProviders } from "../../src/providers/registry.js";

const ROOT = resolve(import.meta.dirname, "../..");
const page = readFileSync(resolve(ROOT, "docs/providers.md"), "utf8");

/** The dialects that state what they do with each parameter. */
const dialects = readdirSync(resolve(ROOT, "src/providers"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && existsSync(resolve(entry.parentPath, entry.name, "parameters.ts")))
  .map(({ name }) => name);

async function parametersOf(dialect: string): Promise<DialectParameters> {
  const url = pathToFileURL(resolve(ROOT, `src/providers/${dialect}/parameters.ts`)).href;
  const module: { parameters: DialectParameters } = await import(url);
  return module.parameters;
}

/** A section of the page, from its heading to the next of the same or a higher level. */
function section(heading: string): string {
  const level = heading.indexOf(" ");
  const [, below] = page.split(`\n${heading}\n`);
  if (below === undefined) throw new Error(`docs/providers.md has no section ${heading}`);
  return below.split(new RegExp(`\\n#{1,${level}} `))[0] ?? "";
}

/** The rows of a section's first table that begin with a name and a treatment, in order. */
function treatmentsIn(text: string): [string, string][] {
  return [...text.matchAll(/^\| `(\w+)` \| (\w+) \|/gm)].map(([, name = "", treatment = ""]) => [name, treatment]);
}

const HEADINGS = { "chat.completions": "Chat", completions: "Completion", embeddings: "Embedding" } as const;

describe("docs/providers.md", () => {
  it("has a section for each dialect", () => {
    expect(dialects).toEqual(expect.arrayContaining(["anthropic", "bedrock", "gemini", "ollama"]));
    for (const dialect of dialects) expect(section(`## ${dialect}`)).not.toBe("");
  });

  it.each(dialects.filter((dialect) => page.includes(`\n## ${dialect}\n`)))(
    "says of %s's parameters what the code does with them",
    async (dialect) => {
      const tables: [string, ParameterTable][] = Object.entries(await parametersOf(dialect));
      expect(tables.length).toBeGreaterThan(0);
      for (const [operation, table] of tables) {
        const heading = HEADINGS[operation as keyof typeof HEADINGS]; // the tables are named after operations
        expect(treatmentsIn(section(`### ${heading} parameters of ${dialect}`))).toEqual(Object.entries(table));
      }
    },
  );

  it.each(dialects.filter((dialect) => page.includes(`\n## ${dialect}\n`)))("names %s's own options", (dialect) => {
    const [options = ""] = section(`## ${dialect}`).split("\n### ");
    const named = [...options.matchAll(/^\| `(\w+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$/gm)].map(([, name]) => name);
    expect(named.toSorted()).toEqual([...(knownProviders.get(dialect)?.ownOptions ?? [])].toSorted());
  });

  it("says what legacy completions through chat cannot do", () => {
    expect(treatmentsIn(section("## Legacy completions"))).toEqual(Object.entries(legacyParameters));
  });
});
