import { routerError } from "../errors/router-error.js";
import type { AttemptInFlight } from "../health/deployment-health.js";
import { featureNames, featureParam } from "../protocol/features.js";
import type { ChoiceRequest, Explanation, PooledCandidate } from "../routing/candidates.js";
import type { Exclusion } from "../routing/eligibility.js";
import { GroupFailure } from "./failure.js";
import { pause } from "./pause.js";
import type { Lease, RequestState } from "./request.js";
import { type GroupInTurn, type GroupState, MAX_WAIT_MS, type Runtime } from "./runtime.js";

/** Up to this many deployments the record of a request says why each of the others was not taken. */
const MAX_EXPLAINED = 256;

/**
 * Picks an eligible deployment of the group and reserves its slot in the same turn of the event loop, so that nothing
 * comes between. With nothing eligible and no other group to go to, waits for the deployment that is back first.
 *
 * @throws {GroupFailure} nothing can serve the request here.
 * @throws {RouterError} the request was cancelled while it waited.
 */
export function choose(runtime: Runtime, request: RequestState, turn: GroupInTurn): Lease | Promise<Lease> {
  return take(runtime, request, turn, true) ?? chooseLater(runtime, request, turn);
}

/** The same among the deployments that this request has not tried; `undefined` if there is none. */
export function chooseUntried(runtime: Runtime, request: RequestState, turn: GroupInTurn): Lease | undefined {
  return take(runtime, request, turn, false);
}

/** The same deployment once more. */
export function chooseAgain(request: RequestState, lease: Lease): Lease {
  return { ...lease, flight: begin(request, lease.group, lease.candidate, false) };
}

function take(runtime: Runtime, request: RequestState, turn: GroupInTurn, allowTried: boolean): Lease | undefined {
  const { group, captured } = turn;
  const choice = choiceOf(runtime, request, group, allowTried);
  const candidate = group.pool.choose(choice);
  if (!candidate) return undefined;
  noteChoice(request, group, choice);
  return { group, captured, candidate, flight: begin(request, group, candidate, false) };
}

async function chooseLater(runtime: Runtime, request: RequestState, turn: GroupInTurn): Promise<Lease> {
  const { group, captured } = turn;
  const giveUpAt = runtime.clock.now() + MAX_WAIT_MS;
  for (;;) {
    const choice = choiceOf(runtime, request, group, true);
    const explanations = group.pool.explain(choice);
    noteExclusions(request, group, explanations);
    const refusal = refusalOf(runtime, request, group, choice, explanations);
    // Another group may serve at once: it is asked before anybody waits.
    if (refusal.chain && request.nextTurn(turn, refusal.chain)) throw refusal;
    const waitMs = waitFor(explanations, group.pool.earliestAvailableAt(choice), runtime.clock.now());
    if (waitMs === undefined || runtime.clock.now() + waitMs > Math.min(giveUpAt, request.deadlineAt)) {
      const candidate = group.settings.cooldown.panic ? group.pool.chooseForPanic(choice) : undefined;
      if (!candidate) throw refusal;
      return { group, captured, candidate, flight: begin(request, group, candidate, true) };
    }
    await pause(runtime, request, waitMs);
    const lease = take(runtime, request, turn, true);
    if (lease) return lease;
  }
}

/** Waiting helps where time alone brings a deployment back. `undefined`: it does not. */
function waitFor(
  explanations: readonly Explanation[],
  availableAt: number | undefined,
  now: number,
): number | undefined {
  const isComing = explanations.some(({ exclusion }) => exclusion === "cooling-down" || exclusion === "rate-limited");
  if (!isComing || availableAt === undefined) return undefined;
  // Something that is back already but was not eligible waits for a probe or a slot: not for the time.
  return availableAt > now ? Math.ceil(availableAt - now) : undefined;
}

function begin(
  request: RequestState,
  group: GroupState,
  candidate: PooledCandidate,
  isProbe: boolean,
): AttemptInFlight {
  if (!request.tried.includes(candidate.id)) request.tried.push(candidate.id);
  return candidate.health.begin({
    uncachedTokens: request.promptTokens,
    isStreaming: request.isStreaming,
    expectedOutputTokens: group.health.meanOutputTokens,
    isProbe,
  });
}

/** What the choice goes by. */
export function choiceOf(
  runtime: Runtime,
  request: RequestState,
  group: GroupState,
  allowTried: boolean,
): ChoiceRequest {
  const { checked } = request;
  const { meanOutputTokens } = group.health;
  const maxOutputTokens = checked.maxOutputTokens ?? 0;
  const required = request.call.options?.require;
  return {
    operation: request.operation,
    features: checked.features,
    promptTokens: request.promptTokens,
    maxOutputTokens,
    outputTokens: maxOutputTokens > 0 ? Math.min(maxOutputTokens, meanOutputTokens) : meanOutputTokens,
    isStreaming: checked.isStreaming,
    requiredTags: required?.tags ?? NO_TAGS,
    requiredRegion: required?.region,
    largerWindowThan: request.needsLargerWindowThan,
    tried: request.tried,
    ruledOut: request.ruledOut,
    allowTried,
    isReplayable: true,
    now: runtime.clock.now(),
    random: runtime.random,
  };
}

const NO_TAGS: readonly string[] = [];

/** Keeps who was compared, and why the others were not: free while all of the lowest tier is eligible. */
function noteChoice(request: RequestState, group: GroupState, choice: ChoiceRequest): void {
  const { pool } = group;
  if (pool.comparedLowestTier) {
    request.choice = { group, compared: undefined };
    return;
  }
  request.choice = { group, compared: pool.considered() };
  if (pool.candidates.length <= MAX_EXPLAINED) noteExclusions(request, group, pool.explain(choice));
}

function noteExclusions(request: RequestState, group: GroupState, explanations: readonly Explanation[]): void {
  request.excluded = request.excluded.filter((excluded) => excluded.group !== group.name);
  for (const { candidate, exclusion } of explanations) {
    if (exclusion) request.excluded.push({ group: group.name, deployment: candidate.id, reason: exclusion });
  }
}

/** Why nothing in the group can serve the request, as the caller would read it. */
function refusalOf(
  runtime: Runtime,
  request: RequestState,
  group: GroupState,
  choice: ChoiceRequest,
  explanations: readonly Explanation[],
): GroupFailure {
  const momentary = explanations.filter(({ exclusion }) => exclusion && MOMENTARY.has(exclusion));
  if (momentary.length === 0) return permanentRefusal(request, group, choice, explanations);

  const availableAt = group.pool.earliestAvailableAt(choice);
  const retryAfterMs = Math.max(1_000, Math.ceil((availableAt ?? 0) - runtime.clock.now()));
  const fields = { requestId: request.id, retryAfterMs, attempts: request.failedAttempts() };
  const reasons = momentary
    .slice(0, 20)
    .map(({ candidate, exclusion }) => `${candidate.id} is ${exclusion}`)
    .join(", ");
  const all = (reason: Exclusion) => momentary.every(({ exclusion }) => exclusion === reason);
  if (all("rate-limited")) {
    const message = `Every deployment of ${group.name} is rate limited by its provider: ${reasons}.`;
    return new GroupFailure("onError", routerError("rate_limit_exceeded", { ...fields, message }));
  }
  if (all("at-max-parallel")) {
    const message = `Every deployment of ${group.name} is at its maxParallel: ${reasons}.`;
    return new GroupFailure("onError", routerError("overloaded", { ...fields, message }));
  }
  const message = `No deployment of ${group.name} can take the request now: ${reasons}.`;
  return new GroupFailure("onError", routerError("no_deployment_available", { ...fields, message }));
}

const MOMENTARY: ReadonlySet<Exclusion> = new Set<Exclusion>([
  "cooling-down",
  "probing",
  "rate-limited",
  "parked",
  "at-max-parallel",
  "already-tried",
]);

/** No deployment of the group could ever serve this request as it is. */
function permanentRefusal(
  request: RequestState,
  group: GroupState,
  choice: ChoiceRequest,
  explanations: readonly Explanation[],
): GroupFailure {
  const requestId = request.id;
  const reasons = new Set(explanations.map(({ exclusion }) => exclusion));
  if (reasons.has("context-window-too-small")) {
    const message =
      `The prompt has about ${choice.promptTokens} tokens` +
      `${choice.maxOutputTokens > 0 ? ` and the answer may have ${choice.maxOutputTokens}` : ""}; ` +
      `no context window of ${group.name} is large enough.`;
    return new GroupFailure("onContextWindow", routerError("context_length_exceeded", { requestId, message }));
  }
  if (reasons.has("feature-unsupported")) {
    const missing = explanations.map(
      ({ candidate }) => candidate.impossibleFeatures(choice.operation) & choice.features,
    );
    const names = featureNames(missing.find((set) => set > 0) ?? 0);
    const message = `No deployment of ${group.name} supports what the request asks for: ${names.join(", ")}.`;
    const param = names[0] && featureParam[names[0]];
    return new GroupFailure(undefined, routerError("invalid_request", { requestId, message, param }));
  }
  if (reasons.has("operation-unsupported")) {
    const message = `No deployment of ${group.name} has ${choice.operation}.`;
    return new GroupFailure(undefined, routerError("invalid_request", { requestId, message, param: "model" }));
  }
  const message = `No deployment of ${group.name} has the tags and region that the call requires.`;
  return new GroupFailure(undefined, routerError("invalid_request", { requestId, message, param: "require" }));
}
