import { sha256Hex } from "../../internal/digest.js";
import type { Random } from "../../internal/random.js";
import type { ExperimentSettings } from "./options.js";

/** Which variant of which experiment a request got. */
export interface ExperimentAssignment {
  readonly name: string;
  /** The name of the group that serves: that of the group itself for those who are compared with. */
  readonly variant: string;
}

/** Hexadecimal digits of a digest that a number holds exactly: 52 bits. */
const DIGITS = 13;
const RANGE = 16 ** DIGITS;

/**
 * The variant of whoever has this key: the same in every process and after every restart, whatever the order in which
 * variants are configured.
 *
 * Weighted rendezvous hashing: each variant waits for the key an exponential time of its share, and the shortest wins. A
 * share that changes by Δ moves Δ of the keys where there is one variant beside the group itself, and at most 2 Δ where
 * there are more: keys of variants that did not change hardly ever move between these.
 *
 * @see Schindelhauer, Schomaker, "Weighted Distributed Hash Tables", https://doi.org/10.1145/1073970.1074008
 */
export function variantOf({ name, arms }: ExperimentSettings, key: string): string {
  let least = Number.POSITIVE_INFINITY;
  let variant = arms[0]?.variant ?? "";
  for (const arm of arms) {
    if (arm.share <= 0) continue;
    const digest = sha256Hex(JSON.stringify([name, arm.variant, key]));
    const uniform = (Number.parseInt(digest.slice(0, DIGITS), 16) + 0.5) / RANGE;
    const wait = -Math.log(uniform) / arm.share;
    if (wait >= least) continue;
    least = wait;
    variant = arm.variant;
  }
  return variant;
}

/** A variant for nobody in particular: by chance, in the same shares. */
export function randomVariant({ arms }: ExperimentSettings, random: Random): string {
  let rest = random.next();
  for (const arm of arms) {
    rest -= arm.share;
    if (rest < 0) return arm.variant;
  }
  // Only what rounding leaves.
  return arms[0]?.variant ?? "";
}
