import type { Measurement } from "../measure.js";

/** A goal of the performance page with what was measured for it. */
export interface Goal {
  readonly id: string;
  readonly what: string;
  readonly measured: number;
  readonly bound: { readonly atLeast: number } | { readonly atMost: number };
  readonly unit: "×" | "µs" | "ms" | "nano-USD" | "slots" | "requests/s";
}

/** By the name of the program. */
export type ServerName = "redis-server" | "postgres";

/** One thing that is measured: who takes part, how, and what is promised. */
export interface Scenario {
  readonly id: string;
  readonly title: string;
  /** The goals that it serves: `--only` takes these names. */
  readonly serves: readonly string[];
  /** Part of `--quick`. */
  readonly isQuick: boolean;
  /** Names of variants; the first is the floor. */
  readonly variants: readonly string[];
  /** Variants that only a full run measures. */
  readonly slowVariants: readonly string[];
  /** What one subject process does: an operation of its variant, or serve while the load generator calls it. */
  readonly runs:
    | { readonly kind: "operation"; readonly name: "completion" | "stream" | "decision" }
    | { readonly kind: "server"; readonly isStreaming: boolean }
    /** One decision of a store after the other. */
    | { readonly kind: "store" }
    /** Requests that come on a schedule, whatever becomes of those before. */
    | { readonly kind: "open-loop"; readonly perSecond: number };
  /** Servers that are started for it; without one of them it is skipped. @default none */
  readonly needs?: readonly ServerName[] | undefined;
  /** What is counted, and how many of it one operation makes. */
  readonly unit: { readonly name: string; readonly perOperation: number };
  goals(results: ReadonlyMap<string, Measurement>): Goal[];
}

/** The goals of those whose measurements are there. */
export function goalsOf<Names extends string>(
  results: ReadonlyMap<string, Measurement>,
  names: readonly Names[],
  goals: (measurements: Readonly<Record<Names, Measurement>>) => Goal[],
): Goal[] {
  if (!names.every((name) => results.has(name))) return [];
  return goals(Object.fromEntries(results) as Record<Names, Measurement>); // each name was just found
}
