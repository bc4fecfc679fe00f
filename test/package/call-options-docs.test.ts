import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { callOptionsSchema } from "../../src/router/call-options.js";

const page = (name: string) => readFileSync(resolve(import.meta.dirname, "../..", name), "utf8");

describe("docs/call-options.md", () => {
  it("lists every option of a call, and nothing else", () => {
    const table = [...page("docs/call-options.md").matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(table.sort()).toEqual(Object.keys(callOptionsSchema.shape).sort());
  });

  it("gives the defaults that the docstrings give", () => {
    const source = page("src/router/call.ts");
    const rows = new Map(
      [...page("docs/call-options.md").matchAll(/^\| `(\w+)` \|.*?\| (.*?) \|/gm)].map(([row, name]) => [name, row]),
    );
    const documented = [...source.matchAll(/@default (.+?) \*\/\s+readonly (\w+)\?/g)];
    expect(documented.length).toBeGreaterThan(2);
    for (const [, value = "", name = ""] of documented) {
      const row = rows.get(name);
      if (row) expect(row.replaceAll("`", "")).toContain(`| ${value.replaceAll("`", "")} |`);
    }
  });

  it.each(["README.md", "docs/http.md", "docs/getting-started.md"])("is linked from %s", (name) => {
    expect(page(name)).toContain("call-options.md");
  });
});
