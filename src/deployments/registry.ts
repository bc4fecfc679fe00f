import type { Deployment } from "./deployment.js";

/** What a group tells the registry about its name. */
export interface NamedGroup {
  readonly name: string;
  /** Set for wildcard groups: the parts of the name before and after its `*`. */
  readonly wildcard: Wildcard | undefined;
  readonly deployments: readonly Pick<Deployment, "model">[];
}

/** `openai/*` is the prefix `openai/` and an empty suffix. */
export interface Wildcard {
  readonly prefix: string;
  readonly suffix: string;
}

/** Where a name leads. */
export interface ResolvedName<G extends NamedGroup> {
  readonly group: G;
  /** What the `*` of a wildcard group stands for; `undefined` in other groups. */
  readonly captured: string | undefined;
}

/** Model ids that callers may place on the wire (S5). */
const MODEL_ID = /^[A-Za-z0-9._:@/-]{1,256}$/;
const DOT_SEGMENT = /(?:^|\/)\.{1,2}(?:\/|$)/;
const MAX_MODEL_ID_LENGTH = 256;

/** May `id`, given by a caller, be sent to an upstream as a model's name? */
export function isModelId(id: string): boolean {
  return MODEL_ID.test(id) && !DOT_SEGMENT.test(id);
}

/** The parts around the `*` of a wildcard name; `undefined` without one. */
export function wildcardOf(name: string): Wildcard | undefined {
  const star = name.indexOf("*");
  return star === -1 ? undefined : { prefix: name.slice(0, star), suffix: name.slice(star + 1) };
}

/**
 * The model name that goes on the wire: the deployment's own, with what the caller's name captured in place of its
 * `*`.
 */
export function wireModel(deployment: Pick<Deployment, "model">, captured: string | undefined): string {
  // A replacer function, because `$&` and the like in a replacement string have a meaning.
  return captured === undefined ? deployment.model : deployment.model.replace("*", () => captured);
}

/**
 * The names that callers may use: groups, aliases, and what wildcard groups take, in this order. Built once per
 * configuration and never changed; a look-up keeps nothing, so that no caller can fill it (S27).
 *
 * @typeParam G - The group, as its owner knows it.
 */
export class Registry<G extends NamedGroup> {
  /** Exact names and aliases. A `Map`, so that `__proto__` is a name like any other (S29). */
  readonly #exact = new Map<string, ResolvedName<G>>();
  readonly #wildcardsByName = new Map<string, G>();
  readonly #wildcards: readonly { readonly group: G; readonly wildcard: Wildcard; readonly longest: number }[];

  /**
   * @param aliases - Alias → the name of a group, or a name that a wildcard group takes. Targets that lead nowhere are
   * left out; the options are checked before.
   */
  constructor(groups: Iterable<G>, aliases: ReadonlyMap<string, string>) {
    const wildcards: { group: G; wildcard: Wildcard; longest: number }[] = [];
    for (const group of groups) {
      if (group.wildcard) {
        // The longest name that still fits when the deployment adds its own prefix.
        const added = Math.max(
          0,
          ...group.deployments.map(({ model }) => (model.includes("*") ? model.length - 1 : 0)),
        );
        wildcards.push({ group, wildcard: group.wildcard, longest: MAX_MODEL_ID_LENGTH - added });
        this.#wildcardsByName.set(group.name, group);
      } else {
        this.#exact.set(group.name, { group, captured: undefined });
      }
    }
    this.#wildcards = wildcards.sort(
      (a, b) =>
        b.wildcard.prefix.length - a.wildcard.prefix.length || b.wildcard.suffix.length - a.wildcard.suffix.length,
    );
    // Resolved against groups and wildcards only: an alias of an alias would make the order of entries matter.
    const targets = [...aliases].map(([alias, target]) => [alias, this.resolve(target)] as const);
    for (const [alias, target] of targets) if (target) this.#exact.set(alias, target);
  }

  /** Wildcard groups in the order in which they are asked: the longest prefix first, then the longest suffix. */
  get wildcards(): readonly G[] {
    return this.#wildcards.map(({ group }) => group);
  }

  /** The configured names: groups and aliases. */
  get names(): readonly string[] {
    return [...this.#exact.keys(), ...this.#wildcardsByName.keys()];
  }

  /**
   * The group that serves a name.
   *
   * @returns `undefined`: no group takes the name, or it is not fit to be sent upstream (`model_not_found`).
   */
  resolve(name: string): ResolvedName<G> | undefined {
    const exact = this.#exact.get(name);
    if (exact) return exact;
    for (const { group, wildcard, longest } of this.#wildcards) {
      const { prefix, suffix } = wildcard;
      if (name.length <= prefix.length + suffix.length || !name.startsWith(prefix) || !name.endsWith(suffix)) continue;
      const captured = name.slice(prefix.length, name.length - suffix.length);
      return captured.length <= longest && isModelId(captured) ? { group, captured } : undefined;
    }
    return undefined;
  }

  /**
   * The group that a fallback leads to: any name that callers may use, or the name of a wildcard group, which then
   * takes over what the first group captured.
   */
  resolveFallback(name: string, from: ResolvedName<G>): ResolvedName<G> | undefined {
    const group = from.captured === undefined ? undefined : this.#wildcardsByName.get(name);
    return group ? { group, captured: from.captured } : this.resolve(name);
  }
}
