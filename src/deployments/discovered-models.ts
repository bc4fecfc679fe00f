import type { Model } from "../protocol/models.js";
import { isModelId, wildcardOf } from "./registry.js";

/** More models than anybody chooses among; the rest of a list is left out. */
export const MOST_MODELS = 20_000;

/** A model of an upstream, under the name that a wildcard takes it by. */
export interface DiscoveredModel {
  /** What the `*` stands for. */
  readonly captured: string;
  readonly created: number;
  readonly owner: string;
}

/**
 * The models that a deployment with a `*` has, as its upstream's latest list said: what eligibility asks for each request,
 * and model lists show.
 */
export class DiscoveredModels {
  readonly #prefix: string;
  readonly #suffix: string;
  readonly #otherNameOf: ((id: string) => string | undefined) | undefined;
  #models: readonly DiscoveredModel[] = [];
  #names: ReadonlySet<string> | undefined;

  /** @param pattern - The deployment's `model`, which has a `*`. */
  constructor(pattern: string, otherNameOf?: (id: string) => string | undefined) {
    const { prefix, suffix } = wildcardOf(pattern) ?? { prefix: "", suffix: "" };
    this.#prefix = prefix;
    this.#suffix = suffix;
    this.#otherNameOf = otherNameOf;
  }

  /** In the order of the list; empty before the first. */
  get models(): readonly DiscoveredModel[] {
    return this.#models;
  }

  /** As the upstream names them. */
  get ids(): readonly string[] {
    return this.#models.map(({ captured }) => this.#prefix + captured + this.#suffix);
  }

  /** Does the upstream have the model that `*` stands for? `undefined`: no list has come yet. */
  has(captured: string): boolean | undefined {
    return this.#names?.has(captured);
  }

  /** Takes over a new list in the place of the old one. */
  replace(list: readonly Model[]): void {
    const models = new Map<string, DiscoveredModel>();
    const names = new Set<string>();
    for (const { id, created, owned_by: owner } of list) {
      if (models.size >= MOST_MODELS) break;
      const captured = this.#capturedIn(id);
      if (captured === undefined || models.has(captured)) continue;
      models.set(captured, { captured, created, owner });
      names.add(captured);
      const other = this.#otherNameOf?.(id);
      const otherCaptured = other === undefined ? undefined : this.#capturedIn(other);
      if (otherCaptured !== undefined) names.add(otherCaptured);
    }
    this.#models = [...models.values()];
    this.#names = names;
  }

  /** @returns `undefined`: the wildcard does not stand for the model, or no caller could name it. */
  #capturedIn(id: string): string | undefined {
    const [prefix, suffix] = [this.#prefix, this.#suffix];
    if (id.length <= prefix.length + suffix.length || !id.startsWith(prefix) || !id.endsWith(suffix)) return undefined;
    const captured = id.slice(prefix.length, id.length - suffix.length);
    return isModelId(captured) ? captured : undefined;
  }
}
