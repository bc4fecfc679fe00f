import type { ErrorCode } from "../../errors/catalog.js";
import type { Outcome } from "../../errors/classify.js";
import type { ErrorClass } from "../../errors/upstream-error.js";
import type { Operation } from "../../protocol/operations.js";
import type { AttemptEvent, CacheStatus, RequestContent, RequestOutcome, SettledEvent } from "../plugin.js";

/** Grows by one when a field changes its meaning or goes; new fields alone leave it as it is. */
export const RECORD_VERSION = 1;

/** Tokens and money. `undefined` in all: nothing was used. */
interface UsageFields {
  readonly promptTokens: number | undefined;
  /** Of these, read from the provider's cache. */
  readonly cachedTokens: number | undefined;
  /** Of these, written to the provider's cache. */
  readonly cacheWriteTokens: number | undefined;
  readonly completionTokens: number | undefined;
  /** Of these, reasoning. */
  readonly reasoningTokens: number | undefined;
  /** Counted here, because the upstream did not report it. */
  readonly isUsageEstimated: boolean | undefined;
  /** An integer. `null`: no price is known. */
  readonly costNanoUsd: number | null | undefined;
  readonly costUsd: number | null | undefined;
}

interface RecordBase extends UsageFields {
  readonly recordVersion: typeof RECORD_VERSION;
  readonly requestId: string;
  /** When it ended, in Unix milliseconds. */
  readonly at: number;
  /** When it began, in Unix milliseconds. */
  readonly startedAt: number;
  readonly operation: Operation;
  /** The name that the caller asked for. */
  readonly model: string;
  /** The group that the name resolved to; empty where it was refused before. */
  readonly group: string;
  readonly user: string | undefined;
  readonly team: string | undefined;
  readonly organization: string | undefined;
  readonly tags: readonly string[] | undefined;
  /** The experiment that the request took part in, and the variant that it got. */
  readonly experiment: string | undefined;
  readonly variant: string | undefined;
  /** The request is a copy for a group's `shadow`, of the request with this id. */
  readonly shadowOf: string | undefined;
  readonly deployment: string | undefined;
  readonly provider: string | undefined;
  readonly durationMs: number;
  /** To the first content of a stream. */
  readonly ttftMs: number | undefined;
}

/** One request, however it ended. */
export interface RequestTelemetry extends RecordBase {
  readonly kind: "request";
  readonly isStreaming: boolean | undefined;
  readonly outcome: RequestOutcome;
  readonly code: ErrorCode | undefined;
  readonly finishReason: string | undefined;
  /** The plugin that answered, instead of a deployment. */
  readonly answeredBy: string | undefined;
  /** What a cache did for it. */
  readonly cache: CacheStatus | undefined;
  readonly attempts: number;
  /** The groups that were tried, in order: more than one after a fallback. */
  readonly groups: readonly string[] | undefined;
  /** Deployments that could not be taken: the first 32. */
  readonly excluded: SettledEvent["excluded"] | undefined;
  /** Request fields that the last upstream does not know. */
  readonly dropped: readonly string[] | undefined;
  /** Of the names that `metadata` lists. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** What `content` lets through. */
  readonly content?: unknown;
}

/** One upstream call. */
export interface AttemptTelemetry extends RecordBase {
  readonly kind: "attempt";
  readonly isStreaming: boolean;
  /** 1 for the first attempt of the request. */
  readonly attempt: number;
  /** It was sent beside another one that took unusually long to begin. */
  readonly isHedge: boolean;
  readonly resumed: boolean;
  /** The group that it was made in. */
  readonly attemptGroup: string;
  readonly upstreamModel: string;
  readonly finishReason: string | undefined;
  readonly host: string;
  readonly outcome: Outcome | undefined;
  readonly errorClass: ErrorClass | undefined;
  readonly code: ErrorCode | undefined;
  /** HTTP status of the upstream, where it was an error. */
  readonly status: number | undefined;
}

export type TelemetryRecord = RequestTelemetry | AttemptTelemetry;

/**
 * Whether prompts and answers leave the process. `true`: as they were sent and given to the caller, after all guards. A
 * function makes of them what leaves instead; `undefined` is nothing.
 */
export type ContentOption = boolean | ((content: RequestContent) => unknown);

export interface RecordFields {
  /** @default false */
  readonly content?: ContentOption | undefined;
  /** Names of the request's metadata to take over. @default none */
  readonly metadata?: readonly string[] | undefined;
}

// Records are written out field by field: put together with `...`, each costs several times as much.

/**
 * The record of a request: listed fields and nothing else (S19). No prompt, no answer, no error's text, and no
 * `principal.key`, which might be a credential; content and metadata only where the options say so.
 *
 * @throws whatever the `content` function throws: there is no record then.
 */
export function requestRecord(event: SettledEvent, fields: RecordFields = {}): RequestTelemetry {
  const { principal, experiment, usage, durationMs, ttftMs } = event;
  const record: RequestTelemetry = {
    recordVersion: RECORD_VERSION,
    kind: "request",
    requestId: event.requestId,
    at: event.at,
    startedAt: Math.round(event.at - durationMs),
    operation: event.operation,
    model: event.model,
    group: event.group,
    user: principal?.user,
    team: principal?.team,
    organization: principal?.organization,
    tags: filled(event.tags),
    experiment: experiment?.name,
    variant: experiment?.variant,
    shadowOf: event.shadowOf,
    isStreaming: event.isStreaming,
    outcome: event.outcome,
    code: event.code,
    finishReason: event.finishReason,
    deployment: event.deployment,
    provider: event.provider,
    answeredBy: event.answeredBy,
    cache: event.cache,
    attempts: event.attempts,
    groups: filled(event.groups),
    excluded: filled(event.excluded),
    dropped: filled(event.dropped),
    durationMs: tenths(durationMs),
    ttftMs: ttftMs === undefined ? undefined : tenths(ttftMs),
    promptTokens: usage?.promptTokens,
    cachedTokens: usage?.cachedTokens,
    cacheWriteTokens: usage?.cacheWriteTokens,
    completionTokens: usage?.completionTokens,
    reasoningTokens: usage?.reasoningTokens,
    isUsageEstimated: usage?.isEstimated,
    costNanoUsd: usage?.costNanoUsd,
    costUsd: usage?.costUsd,
  };
  return withChosen(record, event, fields);
}

/** The same object, with what the options let through. @throws whatever the `content` function throws. */
export function withChosen<T extends Pick<RequestTelemetry, "metadata" | "content">>(
  record: T,
  event: SettledEvent,
  { content, metadata }: RecordFields,
): T {
  // Just made, and nobody else's yet.
  const open: { -readonly [Field in "metadata" | "content"]?: RequestTelemetry[Field] } = record;
  const chosen = chosenMetadata(event.metadata, metadata);
  if (chosen) open.metadata = chosen;
  const shown = shownContent(event.content, content);
  if (shown !== undefined) open.content = shown;
  return record;
}

/** The record of an attempt that has ended. */
export function attemptRecord(event: AttemptEvent): AttemptTelemetry {
  const { principal, experiment, usage, durationMs = 0, ttftMs } = event;
  return {
    recordVersion: RECORD_VERSION,
    kind: "attempt",
    requestId: event.requestId,
    at: event.at,
    startedAt: Math.round(event.at - durationMs),
    operation: event.operation,
    model: event.model,
    group: event.group,
    user: principal?.user,
    team: principal?.team,
    organization: principal?.organization,
    tags: filled(event.tags),
    experiment: experiment?.name,
    variant: experiment?.variant,
    shadowOf: event.shadowOf,
    isStreaming: event.isStreaming,
    attempt: event.attempt,
    isHedge: event.isHedge,
    resumed: event.resumed,
    attemptGroup: event.attemptGroup,
    deployment: event.deployment,
    provider: event.provider,
    upstreamModel: event.upstreamModel,
    finishReason: event.finishReason,
    host: event.host,
    outcome: event.outcome,
    errorClass: event.errorClass,
    code: event.code,
    status: event.status,
    durationMs: tenths(durationMs),
    ttftMs: ttftMs === undefined ? undefined : tenths(ttftMs),
    promptTokens: usage?.promptTokens,
    cachedTokens: usage?.cachedTokens,
    cacheWriteTokens: usage?.cacheWriteTokens,
    completionTokens: usage?.completionTokens,
    reasoningTokens: usage?.reasoningTokens,
    isUsageEstimated: usage?.isEstimated,
    costNanoUsd: usage?.costNanoUsd,
    costUsd: usage?.costUsd,
  };
}

/** What `content` makes of what was asked and answered. */
export function shownContent(content: RequestContent | undefined, option: ContentOption | undefined): unknown {
  if (!content || !option) return undefined;
  return option === true ? { input: content.input, output: content.output } : option(content);
}

/** @returns `undefined` where there is none of the names. */
export function chosenMetadata(
  metadata: Readonly<Record<string, string>>,
  names: readonly string[] | undefined,
): Readonly<Record<string, string>> | undefined {
  if (!names || names.length === 0) return undefined;
  const pairs = names.flatMap((name): [string, string][] => {
    const value = Object.hasOwn(metadata, name) ? metadata[name] : undefined;
    return value === undefined ? [] : [[name, value]];
  });
  return pairs.length > 0 ? Object.fromEntries(pairs) : undefined;
}

/** Fields without anything in them are absent. */
export const filled = <T>(items: readonly T[]) => (items.length > 0 ? items : undefined);

/** Clocks give more digits than anybody wants. */
export const tenths = (milliseconds: number) => Math.round(milliseconds * 10) / 10;
