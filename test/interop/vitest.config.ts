import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

/** `npm run test:interop`: against engines and clients that others wrote. Not part of `npm test`. */
export default defineConfig({
  root: resolve(import.meta.dirname, "../.."),
  test: {
    // Another ending than the rest of the tests, which do not find these.
    include: ["test/interop/**/*.interop.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    fileParallelism: false,
    reporters: ["verbose"],
  },
});
