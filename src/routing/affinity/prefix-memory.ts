import { ConversationHints } from "./conversation-hints.js";
import type { AffinitySettings } from "./options.js";
import { type DeploymentPrefixes, PrefixIndex } from "./prefix-index.js";

/** What is known of a deployment's configuration. */
interface Known {
  readonly prefixes: DeploymentPrefixes;
  readonly fingerprint: string;
}

/** What the deployments of a router have read and whom they served: outlives reloads, and never grows beyond its bounds. */
export class PrefixMemory {
  readonly index = new PrefixIndex();
  readonly hints = new ConversationHints();
  readonly #known = new Map<string, Known>();

  /**
   * Deployments that stay as they are keep what is remembered of them; of others, new or gone, nothing is.
   *
   * @param deployments - All that some group may ask about, with the settings of the first that does.
   */
  configure(
    deployments: ReadonlyMap<string, { readonly fingerprint: string; readonly settings: AffinitySettings }>,
  ): void {
    for (const [id, { prefixes, fingerprint }] of this.#known) {
      if (deployments.get(id)?.fingerprint === fingerprint) continue;
      this.index.drop(prefixes);
      this.#known.delete(id);
    }
    for (const [id, { fingerprint, settings }] of deployments) {
      let known = this.#known.get(id);
      if (known === undefined) this.#known.set(id, (known = { prefixes: this.index.open(), fingerprint }));
      known.prefixes.maxChunks = settings.maxChunks;
      known.prefixes.ttlMs = settings.ttlMs;
    }
    this.hints.retain((id) => deployments.has(id));
  }

  of(id: string): DeploymentPrefixes | undefined {
    return this.#known.get(id)?.prefixes;
  }

  /** The deployment was ejected, or refuses connections: its cache has probably gone with its process. */
  forget(id: string, now: number): void {
    this.of(id)?.clear();
    this.hints.forget(id, now);
  }
}
