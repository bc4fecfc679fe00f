import type { BuiltInStrategy } from "./built-in-strategy.js";
import { takeTurns } from "./turns.js";

/** Each in turn, in random order within a round; ignores load and weights. @see takeTurns for the sources */
export function roundRobin(): BuiltInStrategy {
  return takeTurns("round-robin", false);
}
