import { defineConfig } from "vitest/config";
import base from "./vitest.config.js";

/** Accounts of many processes on real Redis and PostgreSQL, killed and cut off: `npm run test:servers`. */
export default defineConfig({
  resolve: base.resolve ?? {},
  test: {
    include: ["test/integration/{kill,accounting-servers,limit-bounds}.test.ts"],
    setupFiles: ["test/support/seed.ts"],
    testTimeout: 15_000,
    hookTimeout: 15_000,
    maxWorkers: 1,
    // Real time on a shared machine: a pause of the machine is told from a defect by whether it happens again.
    retry: 2,
  },
});
