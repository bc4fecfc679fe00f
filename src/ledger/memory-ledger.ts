import { bookableEntry } from "./bookable-entry.js";
import type {
  Ledger,
  LedgerDimension,
  LedgerEntry,
  LedgerFilter,
  LedgerQuery,
  LedgerReport,
  LedgerRow,
  LedgerTotals,
} from "./ledger.js";
import { checkedCount, checkedFilter, checkedQuery, checkedRequestIds, FILTER_FIELDS } from "./query.js";
import { compareText } from "./text-order.js";

export interface MemoryLedgerOptions {
  /** Entries kept, 1–10000000; about 1 kB each. @default 100000 */
  readonly maxEntries?: number | undefined;
}

export interface MemoryLedgerView {
  /** Entries kept at this moment. */
  readonly entries: number;
  readonly maxEntries: number;
  /** What has been dropped to make room: with the totals of a report over everything, all that was ever booked. */
  readonly dropped: { readonly entries: number; readonly costNanoUsd: bigint };
}

/** A {@link Ledger} that answers at once. */
export interface MemoryLedger extends Ledger {
  append(entries: readonly LedgerEntry[]): void;
  entriesOf(requestIds: readonly string[]): readonly LedgerEntry[];
  uncorrected(most: number): readonly LedgerEntry[];
  view(): MemoryLedgerView;
}

/**
 * A ledger of one process, gone with it: for development, and for those who read it in time. When it is full, the entries
 * booked first are dropped, from reports as well, and counted in `view().dropped`; what is booked again after that counts
 * as new.
 *
 * @throws {RouterError} `invalid_request`: `maxEntries` is out of bounds.
 */
export function createMemoryLedger(options: MemoryLedgerOptions = {}): MemoryLedger {
  return new EntriesInMemory(checkedCount(options.maxEntries ?? 100_000, "maxEntries", 10_000_000));
}

class EntriesInMemory implements MemoryLedger {
  readonly name = "memory";
  readonly #maxEntries: number;
  /** In the order in which they were booked: a set gives up its oldest without moving the others. */
  readonly #entries = new Set<LedgerEntry>();
  /** Each list in the order in which it was booked. */
  readonly #byRequest = new Map<string, LedgerEntry[]>();
  #droppedEntries = 0;
  #droppedNanoUsd = 0n;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
  }

  append(entries: readonly LedgerEntry[]): void {
    // All are checked before the first is booked.
    for (const entry of entries.map(bookableEntry)) this.#book(entry);
  }

  #book(entry: LedgerEntry): void {
    const booked = this.#byRequest.get(entry.requestId);
    if (booked?.some(({ attempt, kind }) => attempt === entry.attempt && kind === entry.kind)) return;
    if (this.#entries.size >= this.#maxEntries) this.#dropOldest();
    // Asked again: the entry dropped may have been the last of its request.
    const ofRequest = this.#byRequest.get(entry.requestId);
    if (ofRequest === undefined) this.#byRequest.set(entry.requestId, [entry]);
    else ofRequest.push(entry);
    this.#entries.add(entry);
  }

  #dropOldest(): void {
    const [oldest] = this.#entries;
    if (oldest === undefined) return;
    this.#entries.delete(oldest);
    const ofRequest = this.#byRequest.get(oldest.requestId) ?? [];
    ofRequest.splice(ofRequest.indexOf(oldest), 1);
    if (ofRequest.length === 0) this.#byRequest.delete(oldest.requestId);
    this.#droppedEntries++;
    this.#droppedNanoUsd += BigInt(oldest.costNanoUsd ?? 0);
  }

  async report(query?: LedgerQuery): Promise<LedgerReport> {
    const { filter, by, limit } = checkedQuery(query);
    const totals = new Sum();
    const rows = new Map<string, { readonly values: readonly (string | null)[]; readonly sum: Sum }>();
    for (const entry of this.#entries) {
      if (!isSelected(entry, filter)) continue;
      totals.add(entry);
      if (by.length === 0) continue;
      for (const values of combinations(entry, by)) {
        const name = JSON.stringify(values);
        const row = rows.get(name) ?? { values, sum: new Sum() };
        if (row.sum.isEmpty) rows.set(name, row);
        row.sum.add(entry);
      }
    }
    const sorted = [...rows.values()].sort((one, other) => compareValues(one.values, other.values));
    return {
      rows: sorted.slice(0, limit).map(({ values, sum }): LedgerRow => {
        const named = Object.fromEntries(by.map((dimension, index) => [dimension, values[index] ?? null]));
        return { by: named, ...sum.totals() };
      }),
      totals: totals.totals(),
      isTruncated: sorted.length > limit,
    };
  }

  entries(filter?: LedgerFilter): AsyncIterable<LedgerEntry> {
    const checked = checkedFilter(filter);
    const booked = this.#entries;
    return (async function* selected() {
      // References only; what is booked while the caller reads does not disturb the order.
      yield* [...booked].filter((entry) => isSelected(entry, checked)).sort(compareEntries);
    })();
  }

  entriesOf(requestIds: readonly string[]): readonly LedgerEntry[] {
    return checkedRequestIds(requestIds)
      .flatMap((id) => this.#byRequest.get(id) ?? [])
      .sort(compareEntries);
  }

  uncorrected(most: number): readonly LedgerEntry[] {
    checkedCount(most, "most", 1_000);
    const found: LedgerEntry[] = [];
    for (const entry of this.#entries) {
      if (found.length === most) break;
      if (entry.kind === "abandoned" && this.#isRefuted(entry)) found.push(entry);
    }
    return found;
  }

  /** The real usage came, before or after, and nobody has taken it back. */
  #isRefuted(abandoned: LedgerEntry): boolean {
    const ofRequest = this.#byRequest.get(abandoned.requestId) ?? [];
    const isCorrected = ofRequest.some(({ kind, attempt }) => kind === "correction" && attempt === abandoned.attempt);
    return !isCorrected && ofRequest.some(({ kind }) => kind === "usage");
  }

  view(): MemoryLedgerView {
    return {
      entries: this.#entries.size,
      maxEntries: this.#maxEntries,
      dropped: { entries: this.#droppedEntries, costNanoUsd: this.#droppedNanoUsd },
    };
  }
}

/** Totals in the making. Counts are bigints until the end, for the sum of many safe integers need not be one. */
class Sum {
  readonly #requests = new Set<string>();
  #attempts = 0;
  #unpriced = 0;
  #cost = 0n;
  #estimated = 0n;
  #prompt = 0n;
  #cached = 0n;
  #cacheWrite = 0n;
  #completion = 0n;
  #reasoning = 0n;

  get isEmpty(): boolean {
    return this.#requests.size === 0;
  }

  add(entry: LedgerEntry): void {
    this.#requests.add(entry.requestId);
    if (entry.kind !== "correction") {
      this.#attempts++;
      if (entry.costNanoUsd === null) this.#unpriced++;
    }
    const cost = BigInt(entry.costNanoUsd ?? 0);
    this.#cost += cost;
    if (entry.isEstimated) this.#estimated += cost;
    this.#prompt += BigInt(entry.promptTokens);
    this.#cached += BigInt(entry.cachedTokens);
    this.#cacheWrite += BigInt(entry.cacheWriteTokens);
    this.#completion += BigInt(entry.completionTokens);
    this.#reasoning += BigInt(entry.reasoningTokens);
  }

  totals(): LedgerTotals {
    return {
      requests: this.#requests.size,
      attempts: this.#attempts,
      promptTokens: Number(this.#prompt),
      cachedTokens: Number(this.#cached),
      cacheWriteTokens: Number(this.#cacheWrite),
      completionTokens: Number(this.#completion),
      reasoningTokens: Number(this.#reasoning),
      costNanoUsd: this.#cost,
      estimatedNanoUsd: this.#estimated,
      unpricedAttempts: this.#unpriced,
    };
  }
}

function isSelected(entry: LedgerEntry, filter: LedgerFilter): boolean {
  if (filter.from !== undefined && entry.at < filter.from) return false;
  if (filter.to !== undefined && entry.at >= filter.to) return false;
  if (filter.tag !== undefined && !entry.tags.includes(filter.tag)) return false;
  return FILTER_FIELDS.every((name) => filter[name] === undefined || entry[name] === filter[name]);
}

/** The values under which an entry counts: one combination, or one for each of its tags. */
function combinations(entry: LedgerEntry, by: readonly LedgerDimension[]): (string | null)[][] {
  const tags = by.includes("tag") && entry.tags.length > 0 ? entry.tags : [null];
  return tags.map((tag) => by.map((dimension) => (dimension === "tag" ? tag : dimensionValue(entry, dimension))));
}

function dimensionValue(entry: LedgerEntry, dimension: Exclude<LedgerDimension, "tag">): string | null {
  if (dimension === "day") return new Date(entry.at).toISOString().slice(0, 10);
  if (dimension === "hour") return `${new Date(entry.at).toISOString().slice(0, 13)}:00Z`;
  return entry[dimension] ?? null;
}

/** Without a value comes last. */
function compareValues(one: readonly (string | null)[], other: readonly (string | null)[]): number {
  for (let index = 0; index < one.length; index++) {
    const [left, right] = [one[index] ?? null, other[index] ?? null];
    if (left === right) continue;
    if (left === null || right === null) return left === null ? 1 : -1;
    return compareText(left, right);
  }
  return 0;
}

const KIND_ORDER = { abandoned: 0, correction: 1, usage: 2 } as const;

/** By time, request and attempt; then by kind, alphabetically, so that the order is total. */
function compareEntries(one: LedgerEntry, other: LedgerEntry): number {
  return (
    one.at - other.at ||
    compareText(one.requestId, other.requestId) ||
    one.attempt - other.attempt ||
    KIND_ORDER[one.kind] - KIND_ORDER[other.kind]
  );
}
