import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { Operation } from "../../src/protocol/operations.js";
import { openaiCompatible } from "../../src/providers/openai/facts/openai.js";
import { parametersOf } from "../../src/providers/openai/parameters.js";
import { knownProviders } from "../../src/providers/registry.js";
import { foreignExtensions } from "../../src/providers/shared/foreign-extensions.js";
import { legacyParameters } from "../../src/providers/shared/legacy-completions.js";
import type { DialectParameters } from "../../src/providers/shared/parameters.js";
import { openaiDialects, translatingDialects } from "../support/parameter-tables.js";

const ROOT = resolve(import.meta.dirname, "../..");
const page = readFileSync(resolve(ROOT, "docs/providers.md"), "utf8");

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

const HEADINGS: Readonly<Record<Operation, string>> = {
  "chat.completions": "Chat",
  completions: "Completion",
  embeddings: "Embedding",
};
const operationsOf = (tables: DialectParameters) => Object.keys(tables) as Operation[]; // tables are named after operations

/** What is said once for all providers of OpenAI's format. */
const common = parametersOf(openaiCompatible);
/** As the headings have them. */
const titleOf = (name: string) => (name === "ollama-openai" ? "ollama's OpenAI dialect" : name);
/** Simulated models have a page of their own. */
const providers = [...knownProviders.values()].filter(({ name }) => name !== "simulated");

describe("docs/providers.md", () => {
  it.each(providers)(
    "has a page of $name, with a configuration, its own options and its quirks",
    ({ name, ownOptions, defaultBaseUrl }) => {
      const [intro = ""] = section(`## ${name}`).split("\n### ");
      expect(intro).toContain(`provider: "${name}"`);
      expect(intro).toContain("upported:");
      if (defaultBaseUrl !== undefined) expect(intro).toContain(`\`baseUrl\` is \`${defaultBaseUrl}\``);
      expect(section(`### Quirks of ${name}`)).toContain("- **");
      const named = [...intro.matchAll(/^\| `(\w+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$/gm)].map(([, option]) => option);
      expect(named.toSorted()).toEqual([...(ownOptions ?? [])].toSorted());
    },
  );

  it.each(translatingDialects)("says of $name's parameters what the code does with them", ({ name, tables }) => {
    expect(operationsOf(tables).length).toBeGreaterThan(0);
    for (const operation of operationsOf(tables)) {
      const rows = treatmentsIn(section(`### ${HEADINGS[operation]} parameters of ${name}`));
      expect(rows).toEqual(Object.entries(tables[operation] ?? {}));
    }
  });

  it("says what becomes of the parameters of OpenAI's format where nothing else is said", () => {
    for (const operation of operationsOf(common)) {
      const rows = treatmentsIn(section(`### ${HEADINGS[operation]} parameters of OpenAI's format`));
      expect(rows).toEqual(Object.entries(common[operation] ?? {}));
    }
  });

  it.each(openaiDialects)("says of $name's parameters where they differ from that", ({ name, tables }) => {
    for (const operation of operationsOf(tables)) {
      const differing = Object.entries(tables[operation] ?? {}).filter(
        ([field, treatment]) => common[operation]?.[field] !== treatment && !foreignExtensions.includes(field),
      );
      const heading = `### ${HEADINGS[operation]} parameters of ${titleOf(name)}`;
      expect(page.includes(`\n${heading}\n`)).toBe(differing.length > 0);
      if (differing.length > 0) expect(treatmentsIn(section(heading))).toEqual(differing);
    }
  });

  it("lists the fields of other servers, and who drops them", () => {
    const text = section("## Fields of other servers");
    expect([...text.matchAll(/`(\w+)`/g)].map(([, name]) => name)).toEqual(["openai", "azure", ...foreignExtensions]);
    const dropping = openaiDialects.filter(({ tables }) =>
      foreignExtensions.every((field) => tables["chat.completions"]?.[field] === "dropped"),
    );
    expect(dropping.map(({ name }) => name).toSorted()).toEqual(["azure", "openai"]);
  });

  it("says what legacy completions through chat cannot do", () => {
    expect(treatmentsIn(section("## Legacy completions"))).toEqual(Object.entries(legacyParameters));
  });
});
