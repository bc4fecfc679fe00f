import type { Deployment } from "./deployment.js";

/** A deployment that has no id yet. */
export type UnnamedDeployment = Omit<Deployment, "id">;

interface Holder {
  readonly deployment: Deployment;
  /** Where it was given the id, in words. */
  readonly place: string;
  readonly groups: Set<string>;
}

/**
 * Gives deployments their ids. Groups that list the same deployment share it: one object, so that the credential and
 * what is learned exist once; only `weight` and `tier` are a group's own.
 */
export class DeploymentIds {
  readonly #byId = new Map<string, Holder>();
  /** Deployments of the same configuration with default ids, in the order of their numbers. */
  readonly #alike = new Map<string, { readonly deployments: Deployment[]; readonly countOf: Map<string, number> }>();
  /** The last number given out for each default id. */
  readonly #numbers = new Map<string, number>();

  /**
   * An id that the options give. To be called for all of them before the first default is asked for.
   *
   * @param place - Where the options give it, for the message to whoever gives it again.
   * @returns what keeps the deployment from having the id, as text.
   */
  claim(id: string, group: string, unnamed: UnnamedDeployment, place: string): Deployment | string {
    const holder = this.#byId.get(id);
    if (!holder) {
      const deployment = Object.freeze({ ...unnamed, id });
      this.#byId.set(id, { deployment, place, groups: new Set([group]) });
      return deployment;
    }
    if (holder.groups.has(group)) return "is given twice in the group";
    if (holder.deployment.fingerprint !== unnamed.fingerprint) {
      return `is also the id of ${holder.place}, which is configured differently`;
    }
    holder.groups.add(group);
    return placed(holder.deployment, unnamed);
  }

  /**
   * `provider/model@host`, numbered where that repeats. The second of a configuration in one group is the second of the
   * same configuration in another.
   */
  nameByDefault(group: string, unnamed: UnnamedDeployment): Deployment {
    const base = `${unnamed.provider.name}/${unnamed.model}@${unnamed.upstream.host}`;
    const key = `${base} ${unnamed.fingerprint}`;
    let alike = this.#alike.get(key);
    if (!alike) this.#alike.set(key, (alike = { deployments: [], countOf: new Map() }));
    const count = alike.countOf.get(group) ?? 0;
    alike.countOf.set(group, count + 1);
    const shared = alike.deployments[count];
    if (shared) return placed(shared, unnamed);
    const deployment = Object.freeze({ ...unnamed, id: this.#freeId(base) });
    alike.deployments.push(deployment);
    return deployment;
  }

  #freeId(base: string): string {
    let number = this.#numbers.get(base) ?? 0;
    let id: string;
    do {
      number++;
      id = number === 1 ? base : `${base}#${number}`;
    } while (this.#byId.has(id));
    this.#numbers.set(base, number);
    return id;
  }
}

/** A shared deployment as one group places it. */
function placed(shared: Deployment, { weight, tier }: UnnamedDeployment): Deployment {
  return shared.weight === weight && shared.tier === tier ? shared : Object.freeze({ ...shared, weight, tier });
}
