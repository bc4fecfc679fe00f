import { routerError } from "../errors/router-error.js";
import type { LedgerEntry } from "./ledger.js";

/** The longest name that an entry keeps, in UTF-16 units: indexes take no longer ones. */
export const MAX_TEXT_LENGTH = 512;
/** The most tags that an entry keeps. */
export const MAX_TAGS = 64;
/** 31 December 9999, the last day with an ISO date of four digits. */
const MAX_TIME_MS = 253_402_300_799_999;

const COUNTS = ["promptTokens", "cachedTokens", "cacheWriteTokens", "completionTokens", "reasoningTokens"] as const;

/**
 * The entry as every ledger books it: its own, frozen, and storable everywhere. Names are made well-formed, without NUL,
 * and no longer than 512: an entry must not be lost for an odd name. What identifies it or counts is refused instead.
 *
 * @throws {RouterError} `invalid_request`.
 */
export function bookableEntry(entry: LedgerEntry): LedgerEntry {
  const { requestId, attempt, kind, at, costNanoUsd } = entry;
  if (typeof requestId !== "string" || requestId === "" || requestId.length > MAX_TEXT_LENGTH) {
    throw refused("requestId", `a text of 1 to ${MAX_TEXT_LENGTH} characters`);
  }
  if (storable(requestId) !== requestId) throw refused("requestId", "well-formed text without NUL");
  if (!isCount(attempt) || attempt > 1_000_000) throw refused("attempt", "an integer from 0 to 1000000");
  if (kind !== "usage" && kind !== "abandoned" && kind !== "correction") {
    throw refused("kind", "`usage`, `abandoned` or `correction`");
  }
  if (!isCount(at) || at > MAX_TIME_MS) throw refused("at", "Unix milliseconds, an integer");
  for (const name of COUNTS) {
    if (!isAmount(entry[name], kind)) throw refused(name, "a safe integer, negative only in a correction");
  }
  if (costNanoUsd !== null && !isAmount(costNanoUsd, kind)) {
    throw refused("costNanoUsd", "a safe integer, negative only in a correction, or null");
  }
  return Object.freeze({
    requestId,
    attempt,
    kind,
    at,
    durationMs: duration(entry.durationMs),
    ttftMs: entry.ttftMs === undefined ? undefined : duration(entry.ttftMs),
    operation: entry.operation,
    model: storable(entry.model),
    group: storable(entry.group),
    deployment: storable(entry.deployment),
    provider: storable(entry.provider),
    upstreamModel: storable(entry.upstreamModel),
    key: optional(entry.key),
    user: optional(entry.user),
    team: optional(entry.team),
    organization: optional(entry.organization),
    tags: Object.freeze([...new Set(entry.tags.map(storable))].slice(0, MAX_TAGS)),
    outcome: entry.outcome,
    promptTokens: entry.promptTokens,
    cachedTokens: entry.cachedTokens,
    cacheWriteTokens: entry.cacheWriteTokens,
    completionTokens: entry.completionTokens,
    reasoningTokens: entry.reasoningTokens,
    costNanoUsd,
    isEstimated: entry.isEstimated,
    flags: Object.freeze([...entry.flags]),
  });
}

/** Text that every store takes and gives back unchanged: databases know neither NUL nor half a surrogate pair. */
export function storable(text: string): string {
  const cut = text.length > MAX_TEXT_LENGTH ? text.slice(0, MAX_TEXT_LENGTH) : text;
  return ODD.test(cut) ? cut.replace(EVERY_ODD, "\ufffd") : cut;
}

const ODD = /\0|\p{Surrogate}/u;
const EVERY_ODD = /\0|\p{Surrogate}/gu;

const optional = (text: string | undefined) => (text === undefined ? undefined : storable(text));
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isAmount = (value: unknown, kind: LedgerEntry["kind"]) =>
  kind === "correction" ? Number.isSafeInteger(value) : isCount(value);
/** Whole milliseconds: clocks give fractions. */
const duration = (value: number) => (value > 0 ? Math.min(Math.round(value), Number.MAX_SAFE_INTEGER) : 0);

function refused(field: string, expected: string) {
  return routerError("invalid_request", {
    message: `Expected \`${field}\` of a ledger entry to be ${expected}.`,
    param: field,
  });
}
