import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const SRC = resolve(import.meta.dirname, "../../src");

/** Folder → layer. Imports point to lower layers only, and never sideways. */
const LAYERS: Record<string, number> = {
  protocol: 0,
  errors: 0,
  internal: 0,
  transport: 1,
  tokens: 1,
  stores: 1,
  providers: 2,
  deployments: 3,
  limits: 4,
  health: 4,
  access: 4,
  ledger: 4,
  routing: 5,
  plugins: 6,
  router: 7,
  auth: 7,
  http: 8,
  telemetry: 8,
  testing: 8,
  "ai-sdk": 8,
  redis: 8,
  postgres: 8,
  litellm: 8,
};

/** `router.fetch` serves HTTP in process; loaded on first use, so that the main entry does not carry the handler. */
const LAZY_UPWARD = new Set(["router/router.ts → http/handler.ts"]);

interface Import {
  readonly from: string;
  readonly to: string;
  readonly isLazy: boolean;
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => join(SRC, path));

function importsOf(file: string): { specifier: string; isLazy: boolean }[] {
  const text = readFileSync(file, "utf8");
  const found: { specifier: string; isLazy: boolean }[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s(?:[^;]*?\sfrom\s)?["']([^"']+)["']/gms)) {
    found.push({ specifier: match[1] ?? "", isLazy: false });
  }
  for (const match of text.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g)) {
    found.push({ specifier: match[1] ?? "", isLazy: true });
  }
  return found;
}

const inner: Import[] = files.flatMap((file) =>
  importsOf(file)
    .filter(({ specifier }) => specifier.startsWith("."))
    .map(({ specifier, isLazy }) => ({
      from: relative(SRC, file),
      to: relative(SRC, join(dirname(file), specifier)).replace(/\.js$/, ".ts"),
      isLazy,
    })),
);

const folderOf = (path: string) => (path.includes("/") ? (path.split("/")[0] ?? "") : "");

describe("the layers of src/", () => {
  it("know every folder", () => {
    const folders = new Set(files.map((file) => folderOf(relative(SRC, file))).filter(Boolean));
    expect([...folders].filter((folder) => !(folder in LAYERS))).toEqual([]);
    expect(inner.length).toBeGreaterThan(100);
  });

  it("import downwards only, and never from a folder of the same layer", () => {
    const wrong = inner.filter(({ from, to, isLazy }) => {
      const [source, target] = [folderOf(from), folderOf(to)];
      if (source === "" || source === target) return false;
      if (isLazy && LAZY_UPWARD.has(`${from} → ${to}`)) return false;
      return (LAYERS[source] ?? -1) <= (LAYERS[target] ?? 99);
    });
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  it("keep dialects apart: what they share is in providers/shared/", () => {
    const dialectOf = (path: string) => /^providers\/([^/]+)\//.exec(path)?.[1];
    const crossing = inner.flatMap(({ from, to }) => {
      const [source, target] = [dialectOf(from), dialectOf(to)];
      return source && target && source !== target && target !== "shared" ? [`${source} → ${target}`] : [];
    });
    // Ollama's servers also speak OpenAI's dialect.
    expect([...new Set(crossing)]).toEqual(["ollama → openai"]);
  });

  it("have no import cycles between files", () => {
    const graph = new Map<string, string[]>();
    for (const { from, to, isLazy } of inner) if (!isLazy) graph.set(from, [...(graph.get(from) ?? []), to]);
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, path: string[]) => {
      if (done.has(file)) return;
      const at = path.indexOf(file);
      if (at !== -1) {
        cycles.push([...path.slice(at), file].join(" → "));
        return;
      }
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of graph.keys()) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it("leave undici to transport/ and js-tiktoken to tokens/", () => {
    const outer = files.flatMap((file) =>
      importsOf(file)
        .filter(({ specifier }) => !specifier.startsWith("."))
        .map(({ specifier }) => ({ from: relative(SRC, file), specifier })),
    );
    const misplaced = outer.filter(
      ({ from, specifier }) =>
        (specifier === "undici" && folderOf(from) !== "transport") ||
        (specifier === "js-tiktoken" && folderOf(from) !== "tokens"),
    );
    expect(misplaced).toEqual([]);
    expect(outer.some(({ specifier }) => specifier === "undici")).toBe(true);
  });

  it("leave time and chance to internal/", () => {
    const pattern = /\b(?:Date\.now|performance\.now|Math\.random|setTimeout|setInterval|setImmediate)\s*\(/;
    const users = files
      .filter((file) => folderOf(relative(SRC, file)) !== "internal")
      .filter((file) => pattern.test(readFileSync(file, "utf8")))
      .map((file) => relative(SRC, file));
    expect(users).toEqual([]);
  });
});
