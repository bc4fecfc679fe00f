import type { BuiltInStrategy } from "./built-in-strategy.js";
import { takeTurns } from "./turns.js";

/** Exact shares by weight; ignores load. Ties are random. @see takeTurns for the sources, and routing §3 */
export function weighted(): BuiltInStrategy {
  return takeTurns("weighted", true);
}
