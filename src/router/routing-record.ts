import type { ErrorCode } from "../errors/catalog.js";
import type { Outcome } from "../errors/classify.js";
import type { ErrorClass } from "../errors/upstream-error.js";
import type { RequestOutcome, SettledUsage } from "../plugins/plugin.js";
import type { Exclusion } from "../routing/eligibility.js";

/** One upstream call of a request. */
export interface AttemptRecord {
  /** 1 for the first of the request. */
  readonly number: number;
  readonly group: string;
  readonly deployment: string;
  readonly provider: string;
  readonly outcome: Outcome;
  readonly errorClass: ErrorClass | undefined;
  readonly code: ErrorCode | undefined;
  /** HTTP status of the upstream, where it answered. */
  readonly status: number | undefined;
  readonly message: string | undefined;
  readonly durationMs: number;
  readonly ttftMs: number | undefined;
}

/** Why a deployment of a group was not taken. */
export interface ExcludedDeployment {
  readonly group: string;
  readonly deployment: string;
  readonly reason: Exclusion;
}

/** What the router did for one request. For a stream it is complete when `done` resolves. */
export interface RoutingRecord {
  readonly requestId: string;
  /** The name that the caller asked for. */
  readonly model: string;
  /** The group that served, or was tried last. */
  readonly group: string;
  /** The deployment that served; `undefined` when a plugin answered. */
  readonly deployment: string | undefined;
  readonly provider: string | undefined;
  readonly attempts: readonly AttemptRecord[];
  /** Deployments that were eligible when the choice was made. Of very large groups: those that were compared. */
  readonly considered: readonly string[];
  readonly excluded: readonly ExcludedDeployment[];
  /** Request fields that the serving provider does not know and that were left out. */
  readonly dropped: readonly string[];
  /** From the request's start to the first content; `undefined` before it, and for whole replies. */
  readonly ttftMs: number | undefined;
  /** `undefined` while a stream runs. */
  readonly durationMs: number | undefined;
  readonly usage: SettledUsage | undefined;
  /** `null`: unpriced, or not known yet. */
  readonly costUsd: number | null;
  /** `undefined` while a stream runs. */
  readonly outcome: RequestOutcome | undefined;
  /** Resolves with the whole record when the request has ended, however it ends. Never rejects. */
  readonly done: Promise<RoutingRecord>;
}
