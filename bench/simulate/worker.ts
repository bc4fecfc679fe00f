/** A process that runs simulations one after the other, as it is told. */
import { runs } from "./runs.js";

/** @property run - A key of `runs`. */
export interface Task {
  readonly run: string;
  readonly seed: number;
  readonly scale: number;
}

process.on("message", async ({ run, seed, scale }: Task) => {
  const onProgress = (share: number) => process.send?.({ kind: "progress", share });
  try {
    // Whoever gives tasks names runs that exist.
    const numbers = await runs[run]!({ seed, scale, onProgress });
    process.send?.({ kind: "done", numbers });
  } catch (error) {
    process.send?.({ kind: "failed", message: error instanceof Error ? error.stack : String(error) });
  }
});
