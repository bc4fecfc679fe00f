import type { Principal } from "../plugins/plugin.js";
import { OTHER } from "./metric-family.js";

/** Levels of a principal that may be labels; not keys, which might be credentials. */
export type PrincipalLabel = "user" | "team" | "organization";

/** Names of callers as label values: so many and no more (S20). */
export class PrincipalLabels {
  readonly #labels: readonly { readonly level: PrincipalLabel; readonly known: Set<string> }[];
  readonly #maxValues: number;

  constructor(labels: readonly PrincipalLabel[], maxValues: number) {
    this.#labels = labels.map((level) => ({ level, known: new Set() }));
    this.#maxValues = maxValues;
  }

  get count(): number {
    return this.#labels.length;
  }

  of(principal: Principal | undefined): readonly string[] {
    return this.#labels.map((_, index) => this.valueAt(index, principal));
  }

  /** The value of one of the labels, 0 being the first. */
  valueAt(index: number, principal: Principal | undefined): string {
    const label = this.#labels[index];
    const value = label && principal?.[label.level];
    if (!label || value === undefined) return "";
    if (label.known.has(value)) return value;
    // A line break would make two label values of one in the keys of series.
    if (label.known.size >= this.#maxValues || value.includes("\n")) return OTHER;
    label.known.add(value);
    return value;
  }
}
