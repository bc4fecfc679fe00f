import type { LimitState, MaybePromise } from "../stores/store.js";
import { type Asked, type LimitStateOf, statesOf } from "./asked-limits.js";
import { StoreUnavailable } from "./store-calls.js";

/** What a request really used. */
export interface AccountUse {
  /** An upstream was asked. */
  readonly isAttempted: boolean;
  readonly tokens: number;
  readonly costNanoUsd: number;
  readonly deployment?: string | undefined;
}

/** One of the places in which a request has reserved something. */
export interface HeldPart {
  /** Makes it larger, or does not. */
  extend(tokens: number, costNanoUsd: number): MaybePromise<boolean>;
  /**
   * In stores that outlive this process: holds what was used, and no more, until the end. Without it the part is this
   * process's own, and ends instead.
   */
  readonly adjust?: ((use: AccountUse, note: string | undefined) => void) | undefined;
  end(use: AccountUse, isAdjusted: boolean): void;
}

/** Accounts that were neither ended nor adjusted. */
export interface OpenAccounts {
  count: number;
}

interface Spare {
  tokens: number;
  costNanoUsd: number;
}

const UNUSED: AccountUse = { isAttempted: false, tokens: 0, costNanoUsd: 0 };

/** What a request holds, wherever: grows as the request reserves, and is ended once; later endings do nothing. */
export class RequestAccount {
  readonly isReserved = true;
  /** The deployment that served the request's conversation last. */
  hint: string | undefined;
  readonly #open: OpenAccounts;
  readonly #parts: HeldPart[] = [];
  /** What a part gave for an extension that another part refused: it serves the next one. By part. */
  #spares: Spare[] | undefined;
  readonly #told: { readonly asked: readonly Asked[]; readonly states: readonly LimitState[] }[] = [];
  #state: "reserving" | "held" | "adjusted" | "ended" = "reserving";

  constructor(open: OpenAccounts) {
    this.#open = open;
  }

  /** What was left of each limit after the reservation, as far as the stores could say. */
  get states(): readonly LimitStateOf[] {
    return this.#told.flatMap(({ asked, states }) => statesOf(asked, states));
  }

  /** Reserved more. */
  add(part: HeldPart): void {
    this.#parts.push(part);
  }

  noteStates(asked: readonly Asked[], states: readonly LimitState[]): void {
    this.#told.push({ asked, states });
  }

  /** Everything that was asked for is reserved. */
  complete(): this {
    this.#state = "held";
    this.#open.count++;
    return this;
  }

  /** Something was refused: what was reserved before is given back. */
  release(): void {
    for (const part of this.#parts) part.end(UNUSED, false);
  }

  /** Makes the reservation larger; `false`: there is no room, and nothing has changed. */
  async extend(tokens: number, costNanoUsd: number): Promise<boolean> {
    this.#spares ??= this.#parts.map(() => ({ tokens: 0, costNanoUsd: 0 }));
    const spareAgain: (() => void)[] = [];
    const keep = (spare: Spare, kept: Spare) =>
      spareAgain.push(() => {
        spare.tokens += kept.tokens;
        spare.costNanoUsd += kept.costNanoUsd;
      });
    let isExtended = false;
    try {
      for (const [index, part] of this.#parts.entries()) {
        if (!this.#isHeld) return false;
        const spare = this.#spares[index] as Spare; // one for each part
        // Taken before anything is waited for: extensions may overlap.
        const used = {
          tokens: Math.min(spare.tokens, tokens),
          costNanoUsd: Math.min(spare.costNanoUsd, costNanoUsd),
        };
        spare.tokens -= used.tokens;
        spare.costNanoUsd -= used.costNanoUsd;
        keep(spare, used);
        const more = { tokens: tokens - used.tokens, costNanoUsd: costNanoUsd - used.costNanoUsd };
        if (more.tokens === 0 && more.costNanoUsd === 0) continue;
        if (!(await part.extend(more.tokens, more.costNanoUsd))) return false;
        keep(spare, more);
      }
      isExtended = this.#isHeld;
      return isExtended;
    } catch (error) {
      // Without the store nobody knows whether there is room.
      if (error instanceof StoreUnavailable) return false;
      throw error;
    } finally {
      if (!isExtended) for (const undo of spareAgain) undo();
    }
  }

  get #isHeld(): boolean {
    return this.#state === "held";
  }

  /**
   * What was used is known, and {@link end} has to wait for something that may take long: holds that and no more until
   * then, in stores where another process would come to it if this one died. What this process counts itself is ended.
   *
   * @param note - What is said of it from now on, where a note was given.
   */
  adjust(use: AccountUse, note?: string): void {
    if (this.#state !== "held") return;
    this.#state = "adjusted";
    this.#open.count--;
    const bounded = boundedUse(use);
    for (const part of this.#parts) {
      if (part.adjust) part.adjust(bounded, note);
      else part.end(bounded, false);
    }
  }

  end(use: AccountUse): void {
    if (this.#state === "ended") return;
    const isAdjusted = this.#state === "adjusted";
    this.#state = "ended";
    if (!isAdjusted) this.#open.count--;
    const bounded = boundedUse(use);
    for (const part of this.#parts) if (!isAdjusted || part.adjust) part.end(bounded, isAdjusted);
  }
}

/** Sums of what upstreams make up may be beyond what a store takes. */
function boundedUse(use: AccountUse): AccountUse {
  if (use.costNanoUsd <= Number.MAX_SAFE_INTEGER) return use;
  return { ...use, costNanoUsd: Number.MAX_SAFE_INTEGER };
}
