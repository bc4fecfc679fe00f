import type { Claim } from "./claim.js";
import type { ClaimDenied, Limits, LimitsView, Reservation } from "./limits.js";

/** Limits of one process, in its memory. A key takes memory only while a request holds it. */
export class LocalLimits implements Limits {
  /** Requests at this moment by key; never 0. */
  readonly #inUse = new Map<string, number>();
  #openReservations = 0;

  /** Synchronous, so nothing can come between the check and the taking. */
  reserve(claims: readonly Claim[]): Reservation | ClaimDenied {
    for (let index = 0; index < claims.length; index++) {
      const { kind, key, limit } = claims[index] as Claim; // in range
      if ((this.#inUse.get(key) ?? 0) >= limit) return { isReserved: false, index, kind, key, limit };
    }
    const keys = distinctKeys(claims);
    for (const key of keys) this.#inUse.set(key, (this.#inUse.get(key) ?? 0) + 1);
    this.#openReservations++;
    let isEnded = false;
    const end = () => {
      if (isEnded) return;
      isEnded = true;
      this.#giveBack(keys);
    };
    return { isReserved: true, settle: end, release: end };
  }

  view(): LimitsView {
    return { openReservations: this.#openReservations, parallel: new Map(this.#inUse) };
  }

  #giveBack(keys: readonly string[]): void {
    this.#openReservations--;
    for (const key of keys) {
      const left = (this.#inUse.get(key) ?? 0) - 1;
      if (left > 0) this.#inUse.set(key, left);
      else this.#inUse.delete(key);
    }
  }
}

/** A request that names a key twice is still one request. */
function distinctKeys(claims: readonly Claim[]): string[] {
  const keys: string[] = [];
  for (const { key } of claims) if (!keys.includes(key)) keys.push(key);
  return keys;
}
