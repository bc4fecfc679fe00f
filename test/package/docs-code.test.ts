import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const pages = [
  "README.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

interface Block {
  readonly page: string;
  readonly line: number;
  readonly code: string;
}

const blocks: Block[] = pages.flatMap((page) => {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => ({
    page,
    line: text.slice(0, match.index).split("\n").length + 1,
    code: match[1] ?? "",
  }));
});

/** Compiles all blocks at once, each as a module of its own beside the sources. */
function problemsOf(all: readonly Block[]): string[] {
  const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const files = new Map(
    // `export {}`: a block without imports is a module, too.
    all.map((block, index) => [
      join(ROOT, "examples", `docs-block-${index}.mts`),
      { block, code: `${block.code}\nexport {};\n` },
    ]),
  );
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists.call(host, path);
  host.readFile = (path) => files.get(path)?.code ?? readFile.call(host, path);
  host.getSourceFile = (path, ...rest) => {
    const code = files.get(path)?.code;
    return code === undefined ? getSourceFile.call(host, path, ...rest) : ts.createSourceFile(path, code, rest[0]);
  };
  // Readers copy parts of a block: names that it does not use are no mistake.
  const lenient = { ...options, noUnusedLocals: false, noUnusedParameters: false };
  const program = ts.createProgram([...files.keys()], lenient, host);
  return [...files].flatMap(([path, { block }]) => {
    const source = program.getSourceFile(path);
    if (!source) throw new Error(`${path} was not compiled`);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ start = 0, messageText }) =>
        `${relative(ROOT, join(ROOT, block.page))}:${block.line + source.getLineAndCharacterOfPosition(start).line}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`,
    );
  });
}

describe("the code in README.md and docs/", () => {
  it("is there", () => expect(blocks.length).toBeGreaterThan(10));

  it("compiles", { timeout: 240_000 }, () => expect(problemsOf(blocks)).toEqual([]));

  it("README's first program is the example that is run", () => {
    const example = readFileSync(join(ROOT, "examples/quick-start.ts"), "utf8").replace(/^\/\*\*.*\*\/\n/, "");
    expect(blocks.find(({ page }) => page === "README.md")?.code).toBe(example);
  });
});
