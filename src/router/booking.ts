import type { LedgerEntry, LedgerFlag } from "../ledger/ledger.js";
import type { SettledUsage } from "../limits/lease.js";
import type { RequestState } from "./request.js";
import type { AttemptRecord } from "./routing-record.js";
import type { Runtime } from "./runtime.js";

/** What an attempt used, as the ledger books it. */
export function bookingOf(
  { clock }: Runtime,
  request: RequestState,
  upstreamModel: string,
  record: AttemptRecord,
  usage: SettledUsage,
  flags: readonly LedgerFlag[],
): LedgerEntry {
  const { principal, reserved } = request;
  const isOverReservation = request.isBudgeted && (usage.costNanoUsd ?? 0) > (reserved?.upperNanoUsd ?? 0);
  return {
    requestId: request.id,
    attempt: record.number,
    kind: "usage",
    at: Math.round(clock.wallNow()),
    durationMs: Math.round(record.durationMs),
    ttftMs: record.ttftMs === undefined ? undefined : Math.round(record.ttftMs),
    operation: request.operation,
    model: request.model,
    group: record.group,
    deployment: record.deployment,
    provider: record.provider,
    upstreamModel,
    key: principal?.key,
    user: principal?.user,
    team: principal?.team,
    organization: principal?.organization,
    tags: request.guarded?.tags ?? request.tags,
    outcome: record.outcome,
    promptTokens: usage.promptTokens,
    cachedTokens: usage.cachedTokens,
    cacheWriteTokens: usage.cacheWriteTokens,
    completionTokens: usage.completionTokens,
    reasoningTokens: usage.reasoningTokens,
    costNanoUsd: usage.costNanoUsd,
    isEstimated: usage.isEstimated,
    flags: isOverReservation ? [...flags, "over-reservation"] : flags,
  };
}
