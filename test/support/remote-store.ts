import type { Clock } from "../../src/internal/clock.js";
import { createMemoryStore, type MemoryStore } from "../../src/stores/memory-store.js";
import type { Store } from "../../src/stores/store.js";

/**
 * What happens to one call of a store: it is done and answered; done, and the answer is lost; never done, and refused at
 * once; never done, and never answered; done twice (a driver sends it again); done and answered later; done later, after
 * calls that were made after it.
 */
export type StoreFault = "none" | "lost" | "refused" | "hanging" | "twice" | "late-answer" | "late";

export type StoreOperation = Exclude<keyof Store, "name" | "isShared" | "isSharded" | "close">;

export interface RemoteStoreOptions {
  readonly clock: Clock;
  /** What it stands for; several may stand for the same one. */
  readonly memory?: MemoryStore | undefined;
  readonly name?: string | undefined;
  readonly isSharded?: boolean | undefined;
  readonly latencyMs?: number | undefined;
  /** How late what is late comes. @default 10000 */
  readonly lateMs?: number | undefined;
}

/** A store in memory that answers as one over a network does, or as a broken one does. */
export interface RemoteStore extends Store {
  readonly memory: MemoryStore;
  /** Calls so far. */
  readonly calls: Record<StoreOperation, number>;
  /** Decides what happens to each call. */
  fault: (operation: StoreOperation) => StoreFault;
}

export function remoteStore(options: RemoteStoreOptions): RemoteStore {
  const { clock, name = "remote", isSharded = false, latencyMs = 0, lateMs = 10_000 } = options;
  const memory = options.memory ?? createMemoryStore({ clock });
  const calls: Record<StoreOperation, number> = {
    admit: 0,
    reserveDeployment: 0,
    adjust: 0,
    settle: 0,
    extend: 0,
    heartbeat: 0,
    sweep: 0,
    cooldown: 0,
    cooldowns: 0,
    budgets: 0,
  };
  const later = (ms: number) => new Promise<void>((resolve) => clock.schedule(ms, resolve));
  const call = async <T>(operation: StoreOperation, run: () => T): Promise<T> => {
    calls[operation]++;
    const fault = store.fault(operation);
    if (latencyMs > 0) await later(latencyMs);
    switch (fault) {
      case "none":
        return run();
      case "lost":
        run();
        throw new Error("The connection was reset.");
      case "refused":
        throw new Error("The connection was refused.");
      case "hanging":
        return new Promise<never>(() => {});
      case "twice":
        run();
        return run();
      case "late-answer": {
        const answer = run();
        await later(lateMs);
        return answer;
      }
      case "late":
        await later(lateMs);
        return run();
    }
  };
  const store: RemoteStore = {
    name,
    isShared: true,
    isSharded,
    memory,
    calls,
    fault: () => "none",
    admit: (request) => call("admit", () => memory.admit(request)),
    reserveDeployment: (request) => call("reserveDeployment", () => memory.reserveDeployment(request)),
    adjust: (adjustments) => call("adjust", () => memory.adjust(adjustments)),
    settle: (settlements) => call("settle", () => memory.settle(settlements)),
    extend: (extension) => call("extend", () => memory.extend(extension)),
    heartbeat: (owner) => call("heartbeat", () => memory.heartbeat(owner)),
    sweep: (most) => call("sweep", () => memory.sweep(most)),
    cooldown: (cooldown) => call("cooldown", () => memory.cooldown(cooldown)),
    cooldowns: () => call("cooldowns", () => memory.cooldowns()),
    budgets: (partition, accounts) => call("budgets", () => memory.budgets(partition, accounts)),
  };
  return store;
}
