import type { LedgerEntry, LedgerFlag } from "../ledger/ledger.js";
import type { SettledUsage } from "../limits/lease.js";
import { experimentTag } from "./experiment.js";
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
  const held = request.expectedHold ? reserved?.expectedNanoUsd : reserved?.upperNanoUsd;
  const isOverReservation = request.isBudgeted && (usage.costNanoUsd ?? 0) > (held ?? 0);
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
    tags: ledgerTags(request),
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

/** The caller's, and the router's own mark: that one is in the ledger alone, so that no limit by tag counts it. */
export function ledgerTags({ guarded, tags, experiment }: RequestState): readonly string[] {
  const own = guarded?.tags ?? tags;
  return experiment ? [...own, experimentTag(experiment)] : own;
}
