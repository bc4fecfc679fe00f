import type { Clock } from "../internal/clock.js";
import type { Ledger, LedgerEntry } from "../ledger/ledger.js";
import type { BookedReservation } from "../limits/store-session.js";
import type { ExpiredReservation } from "../stores/store.js";
import { type ReservationNote, readNote, requestOf } from "./reservation-note.js";

/** Corrections that one look finds at most, and looks in a row: whatever is left is found the next time. */
const MAX_CORRECTIONS = 100;
const MAX_LOOKS = 100;

/** Without a ledger the charge itself is all there is. */
export async function acknowledge(expired: readonly ExpiredReservation[]): Promise<BookedReservation[]> {
  return expired.map(({ id, partition, tokens, costNanoUsd }) => ({
    ...{ id, partition, isKnown: false, tokens, costNanoUsd },
  }));
}

/**
 * What dead processes had reserved. A request that had ended is settled with what it used: as the ledger has it, or as its
 * reservation says, which is then booked. Of any other nobody knows what it used, so the charge stands and is booked as
 * abandoned (R1, R27). Whatever process does this, and how often, comes to the same.
 *
 * @param areBudgetsApart - Hard budgets are kept in a store of their own: no request's reservation says what it may cost.
 */
export async function bookExpired(
  ledger: Ledger,
  expired: readonly ExpiredReservation[],
  wallNow: number,
  areBudgetsApart: boolean,
): Promise<BookedReservation[]> {
  await correct(ledger, wallNow);
  const booked = await ledger.entriesOf(expired.map(({ id }) => requestOf(id)));
  // By request, which may have a reservation in each of two partitions: one of them is enough to know.
  const told = new Map<string, readonly LedgerEntry[]>();
  const notes = expired.map((reservation) => {
    const note = readNote(reservation);
    if (note.entries) told.set(requestOf(reservation.id), note.entries);
    return note;
  });
  const abandoned: LedgerEntry[] = [];
  const ended = expired.map((reservation, index): BookedReservation => {
    const request = requestOf(reservation.id);
    const { id, partition, tokens, costNanoUsd } = reservation;
    const usage =
      told.get(request) ?? booked.filter(({ requestId, kind }) => requestId === request && kind === "usage");
    if (usage.length > 0) return { id, partition, isKnown: true, ...sumOf(usage) };
    // Deployments' shares and allotments are no requests of their own.
    const note = notes[index] ?? {};
    if (reservation.note !== "") abandoned.push(abandonedEntry(reservation, note, wallNow, areBudgetsApart));
    return { id, partition, isKnown: false, tokens, costNanoUsd };
  });
  const entries = [...told.values()].flat().concat(abandoned);
  if (entries.length > 0) {
    // The dead process's own append may still come to them: each is booked once.
    await ledger.append(entries);
    // Whoever was taken for dead may have booked what it used since we looked; or it was supposed before, and is known now.
    await correct(ledger, wallNow);
  }
  return ended;
}

function sumOf(entries: readonly LedgerEntry[]): { tokens: number; costNanoUsd: number } {
  let tokens = 0;
  let costNanoUsd = 0;
  for (const entry of entries) {
    tokens += entry.promptTokens + entry.completionTokens;
    costNanoUsd += entry.costNanoUsd ?? 0;
  }
  return { tokens, costNanoUsd };
}

/** Looks for what is to be corrected: once, however many settlements of a batch ask for it. */
export class Corrections {
  readonly #clock: Clock;
  readonly #ledger: Ledger;
  readonly #warn: (message: string) => void;
  #isAsked = false;

  constructor(clock: Clock, ledger: Ledger, warn: (message: string) => void) {
    this.#clock = clock;
    this.#ledger = ledger;
    this.#warn = warn;
  }

  /** @param id - The reservation that came to an end after others had ended it. */
  lookFor(id: string): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    queueMicrotask(() => {
      this.#isAsked = false;
      correct(this.#ledger, this.#clock.wallNow()).catch(() => {
        this.#warn(`The ledger missed the correction of ${id}, and perhaps of others.`);
      });
    });
  }
}

/** The request's end came after all, when its reservation had been booked as abandoned: the one takes the other back. */
async function correct(ledger: Ledger, wallNow: number): Promise<void> {
  for (let look = 0; look < MAX_LOOKS; look++) {
    const wrong = await ledger.uncorrected(MAX_CORRECTIONS);
    if (wrong.length > 0) await ledger.append(wrong.map((entry) => correctionOf(entry, wallNow)));
    if (wrong.length < MAX_CORRECTIONS) return;
  }
}

function correctionOf(entry: LedgerEntry, wallNow: number): LedgerEntry {
  return {
    ...entry,
    kind: "correction",
    at: Math.round(wallNow),
    promptTokens: -entry.promptTokens,
    cachedTokens: -entry.cachedTokens,
    cacheWriteTokens: -entry.cacheWriteTokens,
    completionTokens: -entry.completionTokens,
    reasoningTokens: -entry.reasoningTokens,
    costNanoUsd: entry.costNanoUsd === null ? null : -entry.costNanoUsd,
  };
}

function abandonedEntry(
  { id, tokens, costNanoUsd }: ExpiredReservation,
  note: ReservationNote,
  wallNow: number,
  areBudgetsApart: boolean,
): LedgerEntry {
  const { operation = "chat.completions", model = "", group = "", tags = [], isBudgeted = false } = note;
  const { key, user, team, organization } = note;
  return {
    requestId: requestOf(id),
    attempt: 0,
    kind: "abandoned",
    at: Math.round(wallNow),
    durationMs: 0,
    ttftMs: undefined,
    operation,
    model,
    group,
    deployment: "",
    provider: "",
    upstreamModel: "",
    key,
    user,
    team,
    organization,
    tags,
    outcome: "cancelled",
    promptTokens: tokens,
    cachedTokens: 0,
    cacheWriteTokens: 0,
    completionTokens: 0,
    reasoningTokens: 0,
    // Nothing but a hard budget reserves a cost: without one, nobody knows it.
    costNanoUsd: costNanoUsd > 0 || (isBudgeted && !areBudgetsApart) ? costNanoUsd : null,
    isEstimated: true,
    flags: [],
  };
}
