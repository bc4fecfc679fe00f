import type { SharedCooldown } from "../stores/store.js";
import type { StoreBackend } from "./store-backend.js";
import { StoreUnavailable } from "./store-calls.js";

export interface CooldownReaderOptions {
  readonly onWarning: (message: string) => void;
  /** Deployments that this or another process left alone, as the store has them. */
  readonly onCooldowns: (cooldowns: readonly SharedCooldown[]) => void;
}

/** Tells the other processes that share a store which deployments are left alone, and hears of it from them. */
export class CooldownReader {
  readonly #backend: StoreBackend;
  readonly #options: CooldownReaderOptions;
  #epoch: number | undefined;

  constructor(backend: StoreBackend, options: CooldownReaderOptions) {
    this.#backend = backend;
    this.#options = options;
  }

  /** As every decision of the store tells it: another one than before means that there is news. */
  noteEpoch(epoch: number): void {
    if (!this.#backend.store.isShared || epoch === this.#epoch) return;
    this.#epoch = epoch;
    void this.read();
  }

  async read(): Promise<void> {
    const { store, calls } = this.#backend;
    if (!store.isShared) return;
    try {
      this.#options.onCooldowns(await calls.call(() => store.cooldowns()));
    } catch (error) {
      // What this process knows itself has to do until the store answers.
      this.#tell(error, "reading cooldowns");
    }
  }

  async publish(cooldown: SharedCooldown): Promise<void> {
    const { store, calls } = this.#backend;
    if (!store.isShared) return;
    try {
      const { cooldownEpoch } = await calls.call(() => store.cooldown(cooldown));
      // Our own news are no news.
      this.#epoch = cooldownEpoch;
    } catch (error) {
      // The others find out for themselves.
      this.#tell(error, "publishing a cooldown");
    }
  }

  /** Nobody waits for it, so nobody else would hear of a mistake (R8). */
  #tell(error: unknown, what: string): void {
    if (error instanceof StoreUnavailable) return;
    this.#options.onWarning(`The store "${this.#backend.store.name}" refused ${what}: ${String(error)}`);
  }
}
