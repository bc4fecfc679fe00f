import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    http: "src/http/index.ts",
    auth: "src/auth/index.ts",
    telemetry: "src/telemetry/index.ts",
    testing: "src/testing/index.ts",
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
  // TypeScript 6 warns about an option that the declaration build sets itself.
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
});
