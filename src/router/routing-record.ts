import type { ErrorCode } from "../errors/catalog.js";
import type { Outcome } from "../errors/classify.js";
import type { RateLimitStates } from "../errors/router-error.js";
import type { ErrorClass } from "../errors/upstream-error.js";
import type { CacheStatus, RequestOutcome, SettledUsage } from "../plugins/plugin.js";
import type { Exclusion } from "../routing/eligibility.js";
import type { ExperimentAssignment } from "../routing/experiment/assignment.js";
import type { UsageFlag } from "../tokens/usage-check.js";
import type { ExplainedDeployment } from "./explained-deployment.js";

/** One upstream call of a request. */
export interface AttemptRecord {
  /** 1 for the first of the request. */
  readonly number: number;
  /** It was sent beside another one that took unusually long to begin. */
  readonly isHedge: boolean;
  /** It went on with the answer of an attempt whose stream had broken. */
  readonly resumed: boolean;
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
  /** Prompt tokens that the deployment was expected to have in its cache when it was chosen; 0 without affinity. */
  readonly matchedTokens: number;
  /** What was odd about the upstream's token counts, as the ledger has it. */
  readonly usageFlags: readonly UsageFlag[];
}

/** Why a deployment of a group was not taken. */
export interface ExcludedDeployment {
  readonly group: string;
  readonly deployment: string;
  readonly reason: Exclusion;
  /** Only of those passed over as `predicted-too-slow` (`spillMs`): what was predicted of it. */
  readonly predictedTtftMs?: number | undefined;
}

/** The part of a record that is in the headers of a reply: cheap, for it is made for every one. */
export interface RoutingFacts
  extends Pick<
    RoutingRecord,
    "requestId" | "group" | "deployment" | "experiment" | "costUsd" | "rateLimits" | "cache"
  > {
  readonly attempts: { readonly length: number };
}

/** What the router did for one request. For a stream it is complete when `done` resolves. */
export interface RoutingRecord {
  readonly requestId: string;
  /** The name that the caller asked for. */
  readonly model: string;
  /** The group that served, or was tried last. */
  readonly group: string;
  /** The experiment of the named group, and the variant that this request got; `undefined`: there is none. */
  readonly experiment: ExperimentAssignment | undefined;
  /** The deployment that served; `undefined` when a plugin answered. */
  readonly deployment: string | undefined;
  readonly provider: string | undefined;
  readonly attempts: readonly AttemptRecord[];
  /** Deployments that were eligible when the choice was made. Of very large groups: those that were compared. */
  readonly considered: readonly string[];
  readonly excluded: readonly ExcludedDeployment[];
  /**
   * What speaks for and against each deployment of the group, as it was when the latest choice was made; only for calls
   * with `explain: true`.
   */
  readonly candidates: readonly ExplainedDeployment[] | undefined;
  /** Request fields that the serving provider does not know and that were left out. */
  readonly dropped: readonly string[];
  /** How long it waited for a free slot, in milliseconds; 0 where there was one. */
  readonly queuedMs: number;
  /** Its stream broke, and another attempt was made to go on with it (`midStream`). */
  readonly resumed: boolean;
  /** From the request's start to the first content; `undefined` before it, and for whole replies. */
  readonly ttftMs: number | undefined;
  /** `undefined` while a stream runs. */
  readonly durationMs: number | undefined;
  readonly usage: SettledUsage | undefined;
  /** `null`: unpriced, or not known yet. 0 where a cache answered. */
  readonly costUsd: number | null;
  /** What is left of the caller's rate limits after this request was let in: the tightest of each kind. */
  readonly rateLimits: RateLimitStates | undefined;
  /** What a cache did for it; `undefined`: none was asked. */
  readonly cache: CacheStatus | undefined;
  /** `undefined` while a stream runs. */
  readonly outcome: RequestOutcome | undefined;
  /** Resolves with the whole record when the request has ended, however it ends. Never rejects. */
  readonly done: Promise<RoutingRecord>;
}
