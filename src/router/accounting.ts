import type { Ledger, LedgerEntry } from "../ledger/ledger.js";
import { LedgerWriter } from "../ledger/ledger-writer.js";
import { Accounts } from "../limits/accounts.js";
import type { BookedReservation } from "../limits/store-session.js";
import type { Operation } from "../protocol/operations.js";
import { createMemoryStore } from "../stores/memory-store.js";
import type { ExpiredReservation, SharedCooldown } from "../stores/store.js";
import type { Settings } from "./settings.js";

/** Corrections that one look finds at most. */
const MAX_CORRECTIONS = 100;

export interface Accounting {
  readonly accounts: Accounts;
  readonly ledger: LedgerWriter | undefined;
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
function requestOf(reservation: string): string {
  const end = reservation.indexOf(SEPARATOR);
  return end === -1 ? reservation : reservation.slice(0, end);
}

/** @param warn - Tells the operator. */
export function openAccounting(
  settings: Settings,
  warn: (message: string) => void,
  onCooldowns: (cooldowns: readonly SharedCooldown[]) => void,
): Accounting {
  const { clock, random, ledger, storeTimeoutMs } = settings;
  const localStore = createMemoryStore({ clock });
  const store = settings.store ?? localStore;
  const budgetStore = settings.budgetStore ?? store;
  const isApart = budgetStore !== store;
  const writer =
    ledger &&
    new LedgerWriter({
      clock,
      ledger,
      onTransition: (isFailing) =>
        warn(
          isFailing
            ? `The ledger "${ledger.name}" does not answer: its entries are kept until it does.`
            : `The ledger "${ledger.name}" answers again.`,
        ),
      onRefused: ({ requestId }, error) => warn(`The ledger refuses the entry of ${requestId}: ${error.message}`),
    });
  const accounts = new Accounts({
    clock,
    random,
    store,
    budgetStore,
    localStore,
    storeTimeoutMs,
    onWarning: warn,
    onExpired: (expired) => (ledger ? bookExpired(ledger, expired, clock.wallNow(), isApart) : acknowledge(expired)),
    onCooldowns,
    onCorrected: (id) => {
      if (ledger) correct(ledger, clock.wallNow()).catch(() => warn(`The ledger missed the correction of ${id}.`));
    },
  });
  return { accounts, ledger: writer };
}

/** Without a ledger the charge itself is all there is. */
async function acknowledge(expired: readonly ExpiredReservation[]): Promise<BookedReservation[]> {
  return expired.map(({ id, partition, tokens, costNanoUsd }) => ({
    ...{ id, partition, isKnown: false, tokens, costNanoUsd },
  }));
}

/**
 * What dead processes had reserved: a request whose usage is booked is settled with that, for it had ended; of any other
 * nobody knows what it used, so the charge stands and is booked as abandoned (R1, R27). Whatever process does this, and
 * how often, comes to the same.
 *
 * @param areBudgetsApart - Hard budgets are kept in a store of their own: no request's reservation says what it may cost.
 */
async function bookExpired(
  ledger: Ledger,
  expired: readonly ExpiredReservation[],
  wallNow: number,
  areBudgetsApart: boolean,
): Promise<BookedReservation[]> {
  await correct(ledger, wallNow);
  const booked = await ledger.entriesOf(expired.map(({ id }) => requestOf(id)));
  const abandoned: LedgerEntry[] = [];
  const ended = expired.map((reservation): BookedReservation => {
    const request = requestOf(reservation.id);
    const { id, partition, tokens, costNanoUsd, note } = reservation;
    const usage = booked.filter(({ requestId, kind }) => requestId === request && kind === "usage");
    if (usage.length > 0) return { id, partition, isKnown: true, ...sumOf(usage) };
    // Deployments' shares and allotments are no requests of their own.
    if (note !== "") abandoned.push(abandonedEntry(reservation, wallNow, areBudgetsApart));
    return { id, partition, isKnown: false, tokens, costNanoUsd };
  });
  if (abandoned.length > 0) await ledger.append(abandoned);
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

/** The request's end came after all, when its reservation had been booked as abandoned: the one takes the other back. */
async function correct(ledger: Ledger, wallNow: number): Promise<void> {
  const wrong = await ledger.uncorrected(MAX_CORRECTIONS);
  if (wrong.length === 0) return;
  await ledger.append(
    wrong.map((entry) => ({
      ...entry,
      kind: "correction",
      at: Math.round(wallNow),
      promptTokens: -entry.promptTokens,
      cachedTokens: -entry.cachedTokens,
      cacheWriteTokens: -entry.cacheWriteTokens,
      completionTokens: -entry.completionTokens,
      reasoningTokens: -entry.reasoningTokens,
      costNanoUsd: entry.costNanoUsd === null ? null : -entry.costNanoUsd,
    })),
  );
}

/** What {@link noteOf} wrote. */
interface Note {
  readonly operation?: Operation;
  readonly model?: string;
  readonly group?: string;
  readonly key?: string;
  readonly user?: string;
  readonly team?: string;
  readonly organization?: string;
  readonly tags?: readonly string[];
  /** A hard budget was among what the request reserved. */
  readonly isBudgeted?: boolean;
}

/** Written by a process of ours, perhaps of another version: what cannot be read is left out. */
function readNote(note: string): Note {
  try {
    const parsed: unknown = JSON.parse(note);
    return typeof parsed === "object" && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

function abandonedEntry(
  { id, tokens, costNanoUsd, note }: ExpiredReservation,
  wallNow: number,
  areBudgetsApart: boolean,
): LedgerEntry {
  const {
    operation = "chat.completions",
    model = "",
    group = "",
    key,
    user,
    team,
    organization,
    tags = [],
    isBudgeted = false,
  } = readNote(note);
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
