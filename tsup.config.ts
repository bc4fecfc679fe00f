import { readFile } from "node:fs/promises";
import { defineConfig, type Options } from "tsup";

type BuildPlugin = NonNullable<Options["esbuildPlugins"]>[number];

/**
 * zod is part of the package: of its 140 files, most of them words of other languages, what is used is a tenth, and looking for
 * them and reading them was a third of the time that importing the library takes. Only what is named through a
 * namespace import is left out by esbuild.
 */
const zodInParts: BuildPlugin = {
  name: "zod-in-parts",
  setup(build) {
    build.onLoad({ filter: /[\\/](?:src|bench)[\\/].*\.ts$/ }, async ({ path }) => {
      if (path.includes("node_modules")) return undefined;
      const source = await readFile(path, "utf8");
      return { contents: source.replace('import { z } from "zod";', 'import * as z from "zod";'), loader: "ts" };
    });
  },
};

export default defineConfig({
  entry: {
    index: "src/index.ts",
    http: "src/http/index.ts",
    auth: "src/auth/index.ts",
    telemetry: "src/telemetry/index.ts",
    testing: "src/testing/index.ts",
    simulate: "src/testing/simulate-cli.ts",
    "ai-sdk": "src/ai-sdk/index.ts",
    redis: "src/redis/index.ts",
    postgres: "src/postgres/index.ts",
  },
  format: "esm",
  target: "node20",
  platform: "node",
  splitting: true,
  sourcemap: false,
  clean: true,
  noExternal: [/^zod(?:$|\/)/],
  esbuildPlugins: [zodInParts],
  // TypeScript 6 warns about an option that the declaration build sets itself.
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
});
