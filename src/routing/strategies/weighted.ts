import type { BuiltInStrategy } from "./built-in-strategy.js";
import { takeTurns } from "./turns.js";

/** Exact shares by weight; ignores load. Ties are random. @see takeTurns for the sources */
export function weighted(): BuiltInStrategy {
  return takeTurns("weighted", true);
}
