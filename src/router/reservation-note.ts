import { bookableEntry } from "../ledger/bookable-entry.js";
import type { LedgerEntry } from "../ledger/ledger.js";
import type { ExpiredReservation } from "../stores/store.js";
import { ledgerTags } from "./booking.js";
import type { RequestState } from "./request.js";

/** Characters that every store keeps with a reservation, and with an adjustment of it. */
const MAX_NOTE = 2_048;
const MAX_OUTCOME_NOTE = 8_192;

/** What {@link noteOf} and {@link outcomeNoteOf} wrote: another process reads it, perhaps of another version. */
export interface ReservationNote {
  readonly operation?: LedgerEntry["operation"];
  readonly model?: string;
  readonly group?: string;
  readonly key?: string;
  readonly user?: string;
  readonly team?: string;
  readonly organization?: string;
  readonly tags?: readonly string[];
  /** A hard budget was among what the request reserved. */
  readonly isBudgeted?: boolean;
  /** What its attempts used: it has ended, and waited for the ledger. */
  readonly entries?: readonly LedgerEntry[];
}

/** Whose a reservation was, for whoever books it when this process has died. */
export function noteOf(request: RequestState): string {
  const { operation, model, group, principal, isBudgeted } = request;
  const tags = ledgerTags(request);
  const note = JSON.stringify({ operation, model, group: group.name, ...principal, tags, isBudgeted });
  if (note.length <= MAX_NOTE) return note;
  // Names may be longer than a note; ids of a directory never are.
  const shortened = Object.entries({ model, group: group.name, ...principal }).map(([name, value]) => [
    name,
    value?.slice(0, 128),
  ]);
  return JSON.stringify({ operation, isBudgeted, ...Object.fromEntries(shortened) }).slice(0, MAX_NOTE);
}

/**
 * What a request used that has ended, for whoever books it when this process has died before it could; and whose it was,
 * for those of another version who cannot read that.
 *
 * @param entries - At least one.
 * @returns `undefined`: it is too long; what was said before, and the amounts that the reservation holds, have to do.
 */
export function outcomeNoteOf(entries: readonly LedgerEntry[], isBudgeted: boolean): string | undefined {
  const [{ operation, model, group, key, user, team, organization, tags }] = entries as [LedgerEntry];
  const whose = { operation, model, group, key, user, team, organization, tags, isBudgeted };
  const note = JSON.stringify({ ...whose, entries });
  return note.length <= MAX_OUTCOME_NOTE ? note : undefined;
}

/** What cannot be read is left out; entries are those of this very request, and can be booked. */
export function readNote({ id, note }: Pick<ExpiredReservation, "id" | "note">): ReservationNote {
  let parsed: unknown;
  try {
    parsed = JSON.parse(note);
  } catch {
    return {};
  }
  if (typeof parsed !== "object" || parsed === null) return {};
  const { entries, ...whose } = parsed as ReservationNote;
  const bookable = entries && bookableOf(entries, requestOf(id));
  return bookable ? { ...whose, entries: bookable } : whose;
}

/** All of them, or nothing: half of what was used is not what was used. */
function bookableOf(entries: readonly LedgerEntry[], requestId: string): readonly LedgerEntry[] | undefined {
  try {
    const bookable = entries.map(bookableEntry);
    const areOwn = bookable.every((entry) => entry.requestId === requestId && entry.kind === "usage");
    return areOwn && bookable.length > 0 ? bookable : undefined;
  } catch {
    return undefined;
  }
}

/** Between a request and the number of its question; ids of requests have none. */
const SEPARATOR = "/";

/**
 * Each question of a request has an id of its own: a store that did not answer the one before may still come to it, and
 * what is given back for that must not end the reservation that a later question made.
 *
 * @param question - From 0.
 */
export function reservationId(requestId: string, question: number): string {
  return question === 0 ? requestId : `${requestId}${SEPARATOR}${question}`;
}

/** Whose a reservation is: for the ledger. */
export function requestOf(reservation: string): string {
  const end = reservation.indexOf(SEPARATOR);
  return end === -1 ? reservation : reservation.slice(0, end);
}
