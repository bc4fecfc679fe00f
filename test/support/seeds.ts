import { expect } from "vitest";

/**
 * Runs something for as many seeds, from `SWITCHYARD_FIRST_SEED` (1) on: what fails names its seed, and nothing may
 * escape from any of them (R8).
 */
export async function forEachSeed(count: number, run: (seed: number) => Promise<void>): Promise<void> {
  const escaped: unknown[] = [];
  const trap = (reason: unknown) => escaped.push(reason);
  process.on("unhandledRejection", trap);
  const first = Number(process.env.SWITCHYARD_FIRST_SEED ?? 1);
  try {
    for (let seed = first; seed < first + count; seed++) {
      try {
        await run(seed);
      } catch (error) {
        throw new Error(`seed ${seed} (SWITCHYARD_FIRST_SEED): ${(error as Error).message}`, { cause: error });
      }
      expect(escaped, `R8, seed ${seed}`).toEqual([]);
    }
  } finally {
    process.off("unhandledRejection", trap);
  }
}
