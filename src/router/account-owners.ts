import { LRUCache } from "lru-cache";
import type { Clock } from "../internal/clock.js";

/** Ids of answers that are remembered, all tenants together. */
const MAX_IDS = 10_000;
/** Providers keep audio for about an hour. */
const KEPT_MS = 3_600_000;
/** Longer ones are nobody's. */
const MAX_ID_LENGTH = 256;

/**
 * At which account the audio of earlier answers exists, by tenant: another tenant's id is as good as unknown (S40). Of this
 * process alone: a caller whose next turn another one may get says it (`require.deployment`).
 */
export class AccountOwners {
  readonly #accounts: LRUCache<string, string>;

  constructor(clock: Clock) {
    // The cache takes a start at 0 for none.
    const perf = { now: () => clock.now() + 1 };
    this.#accounts = new LRUCache({ max: MAX_IDS, ttl: KEPT_MS, ttlResolution: 0, perf });
  }

  note(tenant: string, id: string, account: string): void {
    if (id !== "" && id.length <= MAX_ID_LENGTH) this.#accounts.set(keyOf(tenant, id), account);
  }

  accountOf(tenant: string, id: string): string | undefined {
    return this.#accounts.get(keyOf(tenant, id));
  }

  get size(): number {
    return this.#accounts.size;
  }
}

const keyOf = (tenant: string, id: string) => JSON.stringify([tenant, id]);
