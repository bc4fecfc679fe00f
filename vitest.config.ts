import { configDefaults, defineConfig } from "vitest/config";

const src = (path: string) => new URL(`./src/${path}`, import.meta.url).pathname;

export default defineConfig({
  resolve: {
    alias: [
      { find: "llm-switchyard/ai-sdk", replacement: src("ai-sdk/index.ts") },
      { find: "llm-switchyard/auth", replacement: src("auth/index.ts") },
      { find: "llm-switchyard/http", replacement: src("http/index.ts") },
      { find: "llm-switchyard/postgres", replacement: src("postgres/index.ts") },
      { find: "llm-switchyard/redis", replacement: src("redis/index.ts") },
      { find: "llm-switchyard/telemetry", replacement: src("telemetry/index.ts") },
      { find: "llm-switchyard/testing", replacement: src("testing/index.ts") },
      { find: "llm-switchyard", replacement: src("index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    // Many processes over real servers, minutes of them: `npm run test:servers`.
    exclude: [...configDefaults.exclude, "test/integration/{kill,accounting-servers,limit-bounds}.test.ts"],
    setupFiles: ["test/support/seed.ts"],
    testTimeout: 15_000,
    hookTimeout: 15_000,
    // Virtual clocks everywhere; two cores are enough for the few socket suites.
    maxWorkers: 2,
    typecheck: { enabled: true, include: ["test/**/*.test-d.ts"], tsconfig: "./tsconfig.json" },
  },
});
