import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    http: "src/http/index.ts",
    testing: "src/testing/index.ts",
    "ai-sdk": "src/ai-sdk/index.ts",
  },
  format: "esm",
  target: "node20",
  platform: "node",
  splitting: true,
  sourcemap: false,
  clean: true,
  // TypeScript 6 warns about an option that the declaration build sets itself.
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
});
