/** Runs every example of this folder, as a newcomer would: each must end within two minutes. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const SELF = "run-all.ts";
const examples = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".ts") && name !== SELF);
let failed = 0;
for (const example of examples) {
  console.log(`\n=== ${example}`);
  const { status } = spawnSync(process.execPath, ["--import", "tsx", join(import.meta.dirname, example)], {
    stdio: "inherit",
    timeout: 120_000,
  });
  if (status !== 0) {
    failed += 1;
    console.log(`--- ${example} failed`);
  }
}
console.log(`\n${examples.length - failed} examples ran, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
