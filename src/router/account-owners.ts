import type { Clock } from "../internal/clock.js";
import { AgedMap } from "../stores/aged-map.js";

/** Ids of answers that are remembered, all tenants together. */
const MAX_IDS = 10_000;
/** Providers keep audio for about an hour. */
const KEPT_MS = 3_600_000;
/** Longer ones are nobody's. */
const MAX_ID_LENGTH = 256;

interface Owner {
  readonly account: string;
  readonly untilMs: number;
}

/** What one tenant has, the oldest first: all is kept for the same time. */
interface Holding {
  readonly tenant: string;
  readonly ids: AgedMap<Owner>;
  /** Of the newest one: then all is over. */
  untilMs: number;
}

/**
 * At which account the audio of earlier answers exists, by tenant: another tenant's id is as good as unknown (S40). Of this
 * process alone: a caller whose next turn another one may get says it (`require.deployment`).
 *
 * An id that is forgotten too early costs a refusal where the deployments are of several accounts. So whoever has the most gives
 * way: a tenant that keeps to its equal share loses nothing to the others, nor to an upstream that makes up ids without end (R26).
 */
export class AccountOwners {
  /** In the order of their newest ids. */
  readonly #holdings = new Map<string, Holding>();
  /** By number of ids: to find the largest without looking at all. */
  readonly #ofSize: Set<Holding>[] = [];
  #largest = 0;
  #size = 0;

  constructor(
    private readonly clock: Clock,
    private readonly maxIds = MAX_IDS,
  ) {}

  note(tenant: string, id: string, account: string): void {
    if (id === "" || id.length > MAX_ID_LENGTH) return;
    const now = this.clock.now();
    this.#forgetExpired(now);
    const holding: Holding = this.#holdings.get(tenant) ?? { tenant, ids: new AgedMap(), untilMs: 0 };
    const { ids } = holding;
    const before = ids.size;
    holding.untilMs = now + KEPT_MS;
    ids.set(id, { account, untilMs: holding.untilMs });
    this.#holdings.delete(tenant);
    this.#holdings.set(tenant, holding);
    this.#resized(holding, before);
    if (this.#size > this.maxIds) this.#forgetOne();
  }

  accountOf(tenant: string, id: string): string | undefined {
    const owner = this.#holdings.get(tenant)?.ids.get(id);
    return owner && this.clock.now() < owner.untilMs ? owner.account : undefined;
  }

  get size(): number {
    return this.#size;
  }

  /** Tenants that have nothing left: others must not give way to that. */
  #forgetExpired(now: number): void {
    for (const holding of this.#holdings.values()) {
      if (now < holding.untilMs) return;
      const { tenant, ids } = holding;
      this.#holdings.delete(tenant);
      this.#ofSize[ids.size]?.delete(holding);
      this.#size -= ids.size;
    }
  }

  /** Of those with the most, the one that had as many first; its oldest id. */
  #forgetOne(): void {
    while (!this.#ofSize[this.#largest]?.size) this.#largest -= 1;
    const [holding] = this.#ofSize[this.#largest] ?? [];
    if (!holding) return;
    const { ids, tenant } = holding;
    const before = ids.size;
    ids.deleteOldest();
    if (ids.size === 0) this.#holdings.delete(tenant);
    this.#resized(holding, before);
  }

  #resized(holding: Holding, before: number): void {
    const { size } = holding.ids;
    if (size === before) return;
    this.#size += size - before;
    this.#ofSize[before]?.delete(holding);
    if (size === 0) return;
    this.#ofSize[size] ??= new Set();
    this.#ofSize[size].add(holding);
    this.#largest = Math.max(this.#largest, size);
  }
}
