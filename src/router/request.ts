import type { ResolvedPrincipal } from "../access/directory.js";
import type { Deployment } from "../deployments/deployment.js";
import type { FallbackChain, Verdict } from "../errors/classify.js";
import { type FailedAttempt, type RateLimitStates, RouterError, routerError } from "../errors/router-error.js";
import type { UpstreamError } from "../errors/upstream-error.js";
import type { AttemptInFlight } from "../health/deployment-health.js";
import { Cancellation } from "../internal/cancellation.js";
import { type Deferred, deferred } from "../internal/deferred.js";
import { randomId } from "../internal/random.js";
import type { LedgerEntry } from "../ledger/ledger.js";
import type { AccountRefusal } from "../limits/asked-limits.js";
import type { RequestLeases } from "../limits/lease.js";
import type { RequestAccount } from "../limits/request-account.js";
import type { Amounts } from "../limits/rule.js";
import type { GuardedRequest } from "../plugins/guarded-request.js";
import type { CacheStatus, Principal, RequestOutcome, SettledUsage } from "../plugins/plugin.js";
import type { Operation, Reply, RequestBody } from "../protocol/operations.js";
import type { Usage } from "../protocol/usage.js";
import type { RateLimitHeader } from "../providers/provider.js";
import type { DeploymentMatch } from "../routing/affinity/group-affinity.js";
import type { PrefixChain } from "../routing/affinity/prefix-chain.js";
import type { PooledCandidate } from "../routing/candidates.js";
import type { ExperimentAssignment } from "../routing/experiment/assignment.js";
import { nextGroup } from "../routing/fallbacks.js";
import { fallbackSettings, noFallbacks } from "../routing/options.js";
import { NANO_USD_PER_USD } from "../tokens/pricing.js";
import type { Call } from "./call.js";
import type { RequestCapture } from "./content.js";
import type { Continuation } from "./continuation.js";
import type { ExplainedDeployment } from "./explained-deployment.js";
import type { CheckedBody } from "./input-limits.js";
import type { Pin } from "./pin.js";
import { tightest } from "./rate-limit-states.js";
import type { AttemptRecord, ExcludedDeployment, RoutingFacts, RoutingRecord } from "./routing-record.js";
import type { GroupInTurn, GroupState, Runtime, Snapshot } from "./runtime.js";
import type { ShadowRun } from "./shadow.js";

/** A failed attempt with what follows from it. */
export interface AttemptFailure {
  readonly error: UpstreamError;
  readonly verdict: Verdict;
  readonly lease: Lease;
  readonly record: AttemptRecord;
  /** How long the deployment is to be left alone, where that is known; clamped (R19). */
  readonly retryAfterMs: number | undefined;
  /** The credential was refused, and another one can be had (routing §5). */
  readonly isCredentialStale: boolean;
}

/** A deployment that was picked, with its slot: choosing is reserving. The attempt that gets it ends the flight. */
export interface Lease {
  readonly group: GroupState;
  /** What the `*` of a wildcard group stands for. */
  readonly captured: string | undefined;
  readonly candidate: PooledCandidate;
  readonly flight: AttemptInFlight;
  /** What it takes of the deployment's own limits. */
  readonly share: AttemptShare | undefined;
  /** What it holds of the deployment's own budgets. */
  readonly budget?: RequestAccount | undefined;
  /** A hard one is among them: the answer is no longer than what is held. */
  readonly isBounded?: boolean | undefined;
  /** What its prefix cache may have of the prompt. */
  readonly prefix: PrefixUse;
}

/** The conversation that a request belongs to, once somebody has asked. */
export interface Conversation {
  readonly fingerprint: string | undefined;
}

/** The chain of a request's prompt, for what its `*` stands for. */
export interface PromptChain {
  readonly captured: string | undefined;
  readonly chain: PrefixChain;
}

/** What an attempt makes of its deployment's cache. */
export interface PrefixUse {
  /** As it was when the deployment was chosen. */
  readonly match: DeploymentMatch;
  /** The deployment reads the prompt now. */
  begin(): void;
  /** It is the deployment, of two, that serves the request. */
  served(): void;
  /** The whole answer came. */
  answered(usage: Usage | undefined, text: string): void;
}

/** What an attempt holds of its deployment's limits: ended exactly once. */
export interface AttemptShare {
  /** The upstream has answered: what it says of its limits. @param sentAt - When it was asked, on the router's clock. */
  learn(table: readonly RateLimitHeader[], headers: ReadonlyMap<string, string>, sentAt: number): void;
  /** The upstream refused it as too much. */
  refused(): void;
  /** @param isAttempted - The upstream was asked: a request counts then, whatever came of it. */
  end(isAttempted: boolean, tokens: number): void;
}

/** Attempts of one request over all its groups (routing §6). */
export const MAX_ATTEMPTS = 6;

const NO_TAGS: readonly string[] = Object.freeze([]);
const NO_METADATA: Readonly<Record<string, string>> = Object.freeze({});

/** The state of one request, from its arrival to its one outcome (R1). */
export class RequestState {
  readonly id: string;
  /** Nothing is sent for it. */
  readonly isExplained: boolean;
  readonly operation: Operation;
  readonly call: Call;
  readonly startedAt: number;
  readonly cancellation: Cancellation;
  /** Configuration as it was when the request came; a reload does not touch it (R17). */
  snapshot: Snapshot;
  /** How many requests made by plugins this one is inside of. */
  depth = 0;
  /** Its place among the requests under way. */
  slot = -1;

  // Set by `admit`, which runs before anything else reads them.
  body!: RequestBody;
  checked!: CheckedBody;
  /** The group that the caller named, or the variant of its experiment that the request got. */
  group!: GroupState;
  experiment: ExperimentAssignment | undefined;
  /** The request is the copy of another one: nobody waits for its answer. */
  shadow: ShadowRun | undefined;
  /** What a wildcard group puts in the place of `*`. */
  captured: string | undefined;
  promptTokens = 0;
  /** Made when somebody asks: what tells the conversation from others, and what the prompt begins with. */
  conversation: Conversation | undefined;
  prompt: PromptChain | undefined;
  /** On the router's clock. */
  deadlineAt = Number.POSITIVE_INFINITY;
  /** The caller set the deadline, rather than the group's `totalMs`. */
  hasOwnDeadline = false;
  fallbacks: readonly string[] | undefined;
  principal: Principal | undefined;
  /** What the directory says of the principal; `undefined`: there is no directory, or the host itself calls. */
  access: ResolvedPrincipal | undefined;
  tags: readonly string[] = NO_TAGS;
  metadata: Readonly<Record<string, string>> = NO_METADATA;
  leases: RequestLeases | undefined;
  /** What it holds of limits and budgets. */
  account: RequestAccount | undefined;
  reserved: Amounts | undefined;
  /** What its attempts used so far; without what is unpriced. */
  readonly charged = { tokens: 0, nanoUsd: 0 };
  /** A hard budget applies: what it can cost has to be known, and bounded. */
  isBudgeted = false;
  /** Hard budgets hold what it probably costs: what becomes of a stream that outgrows them. */
  expectedHold: "finish" | "cut" | undefined;
  /** It refers to something that exists at one account only: routed there, never elsewhere, never hedged (routing §4). */
  get isPinned(): boolean {
    return this.pin !== undefined;
  }
  /** To whom; set when its body is read. */
  pin: Pin | undefined;
  /** Set once its stream has broken, and another deployment goes on with it. */
  continuation: Continuation | undefined;
  /** Deployments whose own budgets have no room for it, by id; `undefined`: none was found yet. */
  overBudget: Map<string, AccountRefusal> | undefined;
  /** Numbers what its attempts reserve of deployments' limits. */
  nextShare = 1;
  /** What its attempts used, for the ledger. */
  readonly bookings: LedgerEntry[] = [];
  #firstTurn: GroupInTurn | undefined;
  /** The request as guards see and change it; only where there are guards. */
  guarded: GuardedRequest | undefined;

  readonly attempts: AttemptRecord[] = [];
  readonly failures: AttemptFailure[] = [];
  /** Ids of deployments; those ruled out are not to be tried again. */
  readonly tried: string[] = [];
  readonly ruledOut: string[] = [];
  /** Their refused credential was replaced once. */
  readonly renewedCredentials: string[] = [];
  /** The prompt was too long for a window of this many tokens. */
  needsLargerWindowThan: number | undefined;
  readonly visited: string[] = [];
  excluded: ExcludedDeployment[] = [];
  /** The latest choice: who was compared, by id; without the ids all of the lowest tier, and nobody else. */
  choice: { readonly group: GroupState; readonly compared: readonly string[] | undefined } | undefined;
  /** What the latest choice went by, where the caller wants to see it. */
  candidates: readonly ExplainedDeployment[] | undefined;
  /** Why no deployment could be chosen, where that came before any attempt. */
  refusal: RouterError | undefined;
  /** The plugin that answered, instead of a deployment. */
  answeredBy: string | undefined;
  /** What a cache did for it; `undefined`: none was asked. */
  cache: CacheStatus | undefined;
  /** What was asked and answered, where some observer wants to see it. */
  content: RequestCapture | undefined;
  servedBy: { readonly group: GroupState; readonly deployment: Deployment } | undefined;
  dropped: readonly string[] = [];
  /** Spent in queues. */
  queuedMs = 0;
  ttftMs: number | undefined;
  usage: SettledUsage | undefined;
  finishReason: string | undefined;
  /** A reply, and the bytes that say the same: for relays. */
  sent: { readonly reply: Reply; readonly bytes: Uint8Array } | undefined;

  /** Its answer is read to the end for nobody: what it used is not known before that. */
  endsLater = false;
  outcome: RequestOutcome | undefined;
  error: RouterError | undefined;
  durationMs: number | undefined;
  #done: Deferred<RoutingRecord> | undefined;
  #stopFollowing: (() => void) | undefined;
  #runtime: Runtime;

  /** @param id - Of a request that is only explained: it takes nothing of the router's, no chance either. */
  constructor(runtime: Runtime, call: Call, id?: string) {
    this.#runtime = runtime;
    this.isExplained = id !== undefined;
    this.id = id ?? randomId(runtime.random, "req_");
    this.operation = call.operation;
    this.call = call;
    this.startedAt = runtime.clock.now();
    this.snapshot = runtime.snapshot;
    this.cancellation = call.cancellation ?? new Cancellation();
  }

  /** Where its first attempt is to be: the named group, unless a limit or a budget sent it elsewhere. */
  get firstTurn(): GroupInTurn {
    return (this.#firstTurn ??= { group: this.group, captured: this.captured });
  }

  startIn(turn: GroupInTurn): void {
    this.#firstTurn = turn;
  }

  get isStreaming(): boolean {
    return this.checked.isStreaming;
  }

  /** The name that the caller asked for; empty before it was read. */
  get model(): string {
    return this.checked?.model ?? "";
  }

  /** Made for those who ask: plugins, and timers. */
  get signal(): AbortSignal {
    return this.cancellation.signal;
  }

  /** Ends with the caller's signal from now on. Who brings a cancellation says everything through that. */
  followCaller(): void {
    const { cancellation, options } = this.call;
    if (!cancellation && options?.signal) this.#stopFollowing = this.cancellation.follow(options.signal);
  }

  /** Milliseconds until the deadline; may be negative. */
  remainingMs(): number {
    return this.deadlineAt - this.#runtime.clock.now();
  }

  /** @throws {RouterError} `cancelled` or `deadline_exceeded`: nothing more may be started for this request. */
  throwIfOver(): void {
    if (this.cancellation.isCancelled) throw this.cancelled();
    if (this.remainingMs() <= 0) throw this.deadlineError();
  }

  cancelled(): RouterError {
    const { reason } = this.cancellation;
    // Ours, where it names this request; the caller's own reason may be the error of another one.
    if (RouterError.isRouterError(reason) && reason.requestId === this.id) return reason;
    return routerError("cancelled", { message: "The caller aborted the request.", requestId: this.id, cause: reason });
  }

  deadlineError(): RouterError {
    const totalMs = Math.round(this.deadlineAt - this.startedAt);
    return this.hasOwnDeadline
      ? routerError("deadline_exceeded", {
          message: `The request's deadline of ${totalMs} ms passed.`,
          requestId: this.id,
          attempts: this.failedAttempts(),
        })
      : routerError("upstream_timeout", {
          message: `No answer within the group's timeouts.totalMs of ${totalMs} ms.`,
          requestId: this.id,
          attempts: this.failedAttempts(),
        });
  }

  failedAttempts(): FailedAttempt[] {
    return this.failures.map(({ record, verdict, error }) => ({
      group: record.group,
      deployment: record.deployment,
      provider: record.provider,
      code: record.code ?? verdict.code,
      errorClass: error.errorClass,
      status: error.status,
      message: record.message ?? "",
      durationMs: record.durationMs,
    }));
  }

  /** Where the request goes after its group failed it in a way that takes `chain`; `undefined`: nowhere. */
  nextTurn({ group, captured }: GroupInTurn, chain: FallbackChain): GroupInTurn | undefined {
    if (this.attempts.length >= MAX_ATTEMPTS) return undefined;
    const { snapshot, visited } = this;
    const resolved = new Map<string, GroupInTurn>();
    /** Names of groups: two names of a chain may lead to the same one. */
    const groupsOf = (names: readonly string[], from: GroupInTurn) => {
      const group = from.group.settings;
      for (const name of names) {
        const next = snapshot.settings.registry.resolveFallback(name, { group, captured: from.captured });
        if (!next || resolved.has(next.group.name)) continue;
        const nextGroupState = snapshot.groupOf(next.group);
        if (this.pin?.allows(nextGroupState) === false) continue;
        resolved.set(next.group.name, { group: nextGroupState, captured: next.captured });
      }
      return { ...noFallbacks, [chain]: [...resolved.keys()] };
    };
    const ownChain = this.fallbacks ? fallbackSettings(this.fallbacks)[chain] : this.group.settings.fallbacks[chain];
    const currentChain = group === this.group ? ownChain : group.settings.fallbacks[chain];
    const current = groupsOf(currentChain, { group, captured });
    const origin = groupsOf(ownChain, { group: this.group, captured: this.captured });
    const name = nextGroup({ chain, current, origin, visited });
    return name === undefined ? undefined : resolved.get(name);
  }

  /** Adds an attempt that has ended: in the order of their numbers, also of two that ran at once. */
  noteAttempt(record: AttemptRecord): void {
    const { attempts } = this;
    const last = attempts.at(-1);
    if (!last || last.number < record.number) attempts.push(record);
    else attempts.splice(attempts.length - 1, 0, record);
  }

  /** Adds what an attempt used, failed ones too: each is charged once (R13). */
  addUsage(usage: SettledUsage): void {
    this.charged.tokens += usage.promptTokens + usage.completionTokens;
    this.charged.nanoUsd += usage.costNanoUsd ?? 0;
    const before = this.usage;
    this.usage = before
      ? {
          promptTokens: before.promptTokens + usage.promptTokens,
          cachedTokens: before.cachedTokens + usage.cachedTokens,
          completionTokens: before.completionTokens + usage.completionTokens,
          cacheWriteTokens: before.cacheWriteTokens + usage.cacheWriteTokens,
          reasoningTokens: before.reasoningTokens + usage.reasoningTokens,
          isEstimated: before.isEstimated || usage.isEstimated,
          costNanoUsd: sumOf(before.costNanoUsd, usage.costNanoUsd),
          // Of the integer sum: adding the floats would not be exact (R18).
          costUsd: usdOf(sumOf(before.costNanoUsd, usage.costNanoUsd)),
        }
      : usage;
  }

  /**
   * Ends the request: only the first call counts, and fixes the outcome (R1).
   * @returns whether this call was the first.
   */
  end(outcome: RequestOutcome, error?: RouterError): boolean {
    if (this.outcome !== undefined) return false;
    this.outcome = outcome;
    this.error = error;
    this.durationMs = this.#runtime.clock.now() - this.startedAt;
    this.#stopFollowing?.();
    return true;
  }

  /** After {@link end} and the settlement: tells those who wait for the whole record. */
  announce(): void {
    this.#done?.resolve(this.record());
  }

  /** The part of {@link record} that is said with every reply. */
  facts(): RoutingFacts {
    const { servedBy, account } = this;
    return {
      requestId: this.id,
      group: this.#groupName,
      deployment: servedBy?.deployment.id,
      attempts: this.attempts,
      experiment: this.experiment,
      costUsd: this.#costUsd,
      rateLimits: account && tightest(account.states),
      cache: this.cache,
    };
  }

  /** Of the group that served, or was tried last. */
  get #groupName(): string {
    return this.servedBy?.group.name ?? this.visited.at(-1) ?? this.group?.name ?? "";
  }

  /** No upstream was asked: that is free, and not unpriced. */
  get #costUsd(): number | null {
    return isFromCache(this) ? 0 : (this.usage?.costUsd ?? null);
  }

  /** What is known now. */
  record(): RoutingRecord {
    const { considered, excluded } = this.#choiceRecord();
    return new RequestRecord(this, this.facts(), considered, excluded);
  }

  #choiceRecord(): Pick<RoutingRecord, "considered" | "excluded"> {
    const { choice, excluded } = this;
    if (!choice || choice.compared) return { considered: choice?.compared ?? [], excluded: [...excluded] };
    const { pool, name } = choice.group;
    const ids = pool.candidates.map(({ id }) => id);
    const higher = ids
      .slice(pool.lowestTierSize)
      .map((deployment) => ({ group: name, deployment, reason: "higher-tier" as const }));
    return { considered: ids.slice(0, pool.lowestTierSize), excluded: [...excluded, ...higher] };
  }

  /** Resolves with the whole record once the request has ended. */
  whenDone(): Promise<RoutingRecord> {
    if (!this.#done) {
      this.#done = deferred();
      if (this.outcome !== undefined) this.#done.resolve(this.record());
    }
    return this.#done.promise;
  }
}

/** A stored answer, which cost nobody anything. */
export function isFromCache({ cache }: Pick<RequestState, "cache">): boolean {
  return cache === "hit" || cache === "semantic";
}

const usdOf = (nanoUsd: number | null) => (nanoUsd === null ? null : nanoUsd / NANO_USD_PER_USD);

/** Something unpriced makes the whole unpriced (R16). */
function sumOf(before: number | null, more: number | null): number | null {
  return before === null || more === null ? null : before + more;
}

/** A class, so that `done` is on the prototype: a printed record shows facts only, and making one stays cheap. */
class RequestRecord implements RoutingRecord {
  readonly requestId: string;
  readonly model: string;
  readonly group: string;
  readonly deployment: string | undefined;
  readonly provider: string | undefined;
  readonly attempts: readonly AttemptRecord[];
  readonly experiment: ExperimentAssignment | undefined;
  readonly considered: readonly string[];
  readonly excluded: readonly ExcludedDeployment[];
  readonly candidates: readonly ExplainedDeployment[] | undefined;
  readonly dropped: readonly string[];
  readonly queuedMs: number;
  readonly resumed: boolean;
  readonly ttftMs: number | undefined;
  readonly durationMs: number | undefined;
  readonly usage: SettledUsage | undefined;
  readonly costUsd: number | null;
  readonly rateLimits: RateLimitStates | undefined;
  readonly cache: CacheStatus | undefined;
  readonly outcome: RequestOutcome | undefined;
  readonly #request: RequestState;

  constructor(
    request: RequestState,
    facts: RoutingFacts,
    considered: readonly string[],
    excluded: readonly ExcludedDeployment[],
  ) {
    this.requestId = facts.requestId;
    this.model = request.model;
    this.group = facts.group;
    this.deployment = facts.deployment;
    this.provider = request.servedBy?.deployment.provider.name;
    this.attempts = [...request.attempts];
    this.experiment = request.experiment;
    this.considered = considered;
    this.excluded = excluded;
    this.candidates = request.candidates;
    this.dropped = request.dropped;
    this.queuedMs = request.queuedMs;
    this.resumed = request.attempts.some(({ resumed }) => resumed);
    this.ttftMs = request.ttftMs;
    this.durationMs = request.durationMs;
    this.usage = request.usage;
    this.cache = facts.cache;
    this.costUsd = facts.costUsd;
    this.rateLimits = facts.rateLimits;
    this.outcome = request.outcome;
    this.#request = request;
  }

  get done(): Promise<RoutingRecord> {
    return this.#request.whenDone();
  }
}
