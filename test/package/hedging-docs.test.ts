import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { defaultHedge } from "../../src/routing/hedging/options.js";

const root = resolve(import.meta.dirname, "../..");
const { isEnabled: _, ...defaults } = defaultHedge;

describe("the options of `hedge`", () => {
  it("are those of docs/hedging.md, with the same defaults", () => {
    const page = readFileSync(resolve(root, "docs/hedging.md"), "utf8");
    const rows = [...page.matchAll(/^\| `(\w+)` \| [^|]+ \| `([\d.]+)` \| [^|]+ \|$/gm)];
    expect(Object.fromEntries(rows.map(([, name, shown]) => [name, Number(shown)]))).toEqual(defaults);
  });

  it("are those of their docstrings, and of docs/configuration.md", () => {
    const source = readFileSync(resolve(root, "src/routing/hedging/options.ts"), "utf8");
    const [, body = ""] = source.match(/export interface HedgeOptions \{\n([\s\S]*?)\n\}/) ?? [];
    const fields = [...body.matchAll(/@default ([\d.]+) \*\/\s*readonly (\w+)\?:/g)];
    expect(Object.fromEntries(fields.map(([, shown, name = ""]) => [name, Number(shown)]))).toEqual(defaults);
    const configuration = readFileSync(resolve(root, "docs/configuration.md"), "utf8");
    expect(configuration).toContain(`\`{ ${Object.keys(defaults).join(", ")} }\``);
  });
});
