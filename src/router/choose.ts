import { routerError } from "../errors/router-error.js";
import type { DeploymentReservation } from "../limits/deployment-reserver.js";
import { featureNames, featureParam } from "../protocol/features.js";
import { numberOf } from "../routing/affinity/fingerprint.js";
import type { ChoiceRequest, Explanation, PooledCandidate } from "../routing/candidates.js";
import type { Exclusion } from "../routing/eligibility.js";
import { affinityOf, fingerprintOf, prefixUseOf } from "./affinity.js";
import { hasHardBudget, reservedTokens } from "./amounts.js";
import { withinBudgets } from "./deployment-budgets.js";
import { explainedDeployments } from "./explained-deployment.js";
import { GroupFailure } from "./failure.js";
import { pause } from "./pause.js";
import { priceOf } from "./prices.js";
import type { AttemptShare, Lease, RequestState } from "./request.js";
import { type GroupInTurn, type GroupState, MAX_WAIT_MS, type Runtime } from "./runtime.js";
import { waitForSlot } from "./wait-for-slot.js";
import { withinRequest } from "./within-request.js";

/** Up to this many deployments the record of a request says why each of the others was not taken. */
const MAX_EXPLAINED = 256;

/**
 * Picks an eligible deployment of the group and reserves its slot in the same turn of the event loop, so that nothing
 * comes between; where several processes share its limits, the store has the last word. With nothing eligible and no
 * other group to go to, waits for the deployment that is back first.
 *
 * @throws {GroupFailure} nothing can serve the request here.
 * @throws {RouterError} the request was cancelled while it waited.
 */
export function choose(runtime: Runtime, request: RequestState, turn: GroupInTurn): Lease | Promise<Lease> {
  const lease = take(runtime, request, turn, true);
  if (lease && !(lease instanceof Promise)) return lease;
  return chooseLater(runtime, request, turn, lease);
}

/** The same among the deployments that this request has not tried; `undefined` if there is none. */
export function chooseUntried(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
): Lease | Promise<Lease | undefined> | undefined {
  return take(runtime, request, turn, false);
}

/**
 * The same for a hedge, which is nobody's probe: what it would find out is lost if it is not first.
 */
export function chooseForHedge(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
): Lease | Promise<Lease | undefined> | undefined {
  return take(runtime, request, turn, false, true);
}

/** Gives back what {@link chooseForHedge} took: the attempt is not made. */
export function giveBack(request: RequestState, { candidate, share, flight, budget }: Lease): void {
  share?.end(false, 0);
  budget?.end({ isAttempted: false, tokens: 0, costNanoUsd: 0 });
  flight.end({ outcome: "cancelled", outputTokens: 0 });
  request.tried.splice(request.tried.indexOf(candidate.id), 1);
}

/** The same deployment once more, if its limits let it. */
export function chooseAgain(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  lease: Lease,
): Lease | Promise<Lease> {
  const { candidate } = lease;
  const isShared = turn.group.sharesLimits || request.snapshot.deploymentBudgets?.has(candidate.id);
  const tokens = reservedTokens(request, turn.group);
  const input = Math.min(request.promptTokens, tokens);
  if (candidate.health.isFull || isShared || candidate.limits?.hasRoom(tokens, runtime.clock.now(), input) === false) {
    return choose(runtime, request, turn);
  }
  return begin(runtime, request, turn, candidate, false);
}

function take(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  allowTried: boolean,
  isHedge = false,
): Lease | Promise<Lease | undefined> | undefined {
  const taken = takeAny(runtime, request, turn, allowTried, isHedge);
  if (!request.snapshot.deploymentBudgets) return taken;
  return withinBudgets(runtime, request, turn, taken, () => takeAny(runtime, request, turn, allowTried, isHedge));
}

/** Whatever its budgets say. */
function takeAny(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  allowTried: boolean,
  isHedge: boolean,
): Lease | Promise<Lease | undefined> | undefined {
  const { group } = turn;
  if (group.sharesLimits) return takeShared(runtime, request, turn, allowTried, isHedge);
  const choice = isHedge ? hedgeChoiceOf(runtime, request, turn) : choiceOf(runtime, request, turn, allowTried);
  if (request.call.options?.explain && !isHedge) noteCandidates(request, group, choice);
  const candidate = group.pool.choose(choice);
  if (!candidate) return undefined;
  noteChoice(request, group, choice);
  return begin(runtime, request, turn, candidate, false);
}

/** Deployments that are asked for in one call of the store (routing §10). */
const MAX_RANKED = 4;
/** Somebody who could serve is looked for again so often, should they be gone each time. */
const MAX_LOOKS = 16;
/** Calls for one choice: each denial is remembered, so that the next one asks for others. */
const MAX_CALLS = 3;

/** With limits that several processes share: the first of the best deployments that has room for everybody. */
async function takeShared(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  allowTried: boolean,
  isHedge: boolean,
): Promise<Lease | undefined> {
  const { group } = turn;
  for (let call = 0; call < MAX_CALLS; call++) {
    const choice = isHedge ? hedgeChoiceOf(runtime, request, turn) : choiceOf(runtime, request, turn, allowTried);
    if (request.call.options?.explain && !isHedge) noteCandidates(request, group, choice);
    const candidate = group.pool.choose(choice);
    if (!candidate) return undefined;
    noteChoice(request, group, choice);
    if (!runtime.deploymentLimits.get(candidate.id)?.rules.length) {
      return begin(runtime, request, turn, candidate, false);
    }
    const ranked = rank(runtime, group, choice, candidate);
    const chosen = await reserveShared(runtime, request, turn, candidate, ranked);
    if (chosen) return chosen;
  }
  return undefined;
}

/** The best, and whom the strategy would pick without it, and so on. */
function rank(
  { deploymentLimits }: Runtime,
  group: GroupState,
  choice: ChoiceRequest,
  best: PooledCandidate,
): PooledCandidate[] {
  const ranked = [best];
  while (ranked.length < MAX_RANKED) {
    const barred = ranked.map(({ id }) => id);
    const tried = [...choice.tried, ...barred];
    const next = group.pool.choose({ ...choice, tried, ruledOut: [...choice.ruledOut, ...barred] });
    // Of its own it has none, or a reload has taken them away. What its upstream tells of its limits is not shared.
    if (!next || !deploymentLimits.get(next.id)?.rules.length) break;
    ranked.push(next);
  }
  return ranked;
}

/** @returns `undefined`: none has room, which each of them remembers. */
async function reserveShared(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  best: PooledCandidate,
  ranked: readonly PooledCandidate[],
): Promise<Lease | undefined> {
  const tokens = reservedTokens(request, turn.group);
  const wasTried = request.tried.includes(best.id);
  // Its slot is held meanwhile: others choose while the store is asked.
  const held = begin(runtime, request, turn, best, false);
  const giveUp = () => {
    held.share?.end(false, 0);
    held.flight.end({ outcome: "cancelled", outputTokens: 0 });
    if (!wasTried) request.tried.splice(request.tried.indexOf(best.id), 1);
  };
  const asking = runtime.accounts.reserveDeployment({
    id: `${request.id}#${request.nextShare++}`,
    group: turn.group.name,
    // Whoever is ranked has limits.
    candidates: ranked.map(({ id }) => runtime.deploymentLimits.get(id)!),
    tokens,
    lifetimeMs: Math.max(0, request.remainingMs()),
  });
  let answer: DeploymentReservation;
  try {
    answer = await withinRequest(runtime, request, asking, (late) => late.isReserved && late.end(false, 0));
  } catch (over) {
    giveUp();
    throw over;
  }
  if (!answer.isReserved) {
    giveUp();
    return undefined;
  }
  let lease = held;
  if (answer.index > 0) {
    giveUp();
    const other = ranked[answer.index]!; // one of those that were asked for
    if (other.health.isFull) {
      answer.end(false, 0);
      return undefined;
    }
    lease = begin(runtime, request, turn, other, false);
  }
  const { end } = answer;
  const { share } = lease;
  const both: AttemptShare = {
    learn: (table, headers, sentAt) => share?.learn(table, headers, sentAt),
    refused: () => share?.refused(),
    end(isAttempted, used) {
      share?.end(isAttempted, used);
      end(isAttempted, used);
    },
  };
  return { ...lease, share: both };
}

async function chooseLater(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  first: Promise<Lease | undefined> | undefined,
): Promise<Lease> {
  const { group } = turn;
  // Without a promise there is nothing to wait for: in another turn there might be a slot that nobody was told of.
  const found = first && (await first);
  if (found) return found;
  const giveUpAt = runtime.clock.now() + MAX_WAIT_MS;
  let looks = 0;
  for (;;) {
    const choice = choiceOf(runtime, request, turn, true);
    const explanations = group.pool.explain(choice);
    noteExclusions(request, group, explanations);
    if (explanations.some(({ exclusion }) => exclusion === undefined) && looks++ < MAX_LOOKS) {
      // Time passes between two looks at the clock: it has brought somebody back.
      const lease = await take(runtime, request, turn, true);
      if (lease) return lease;
      continue;
    }
    const resort = resortOf(request, turn, choice, explanations, giveUpAt);
    if (resort.action === "fall-back" || resort.action === "refuse") throw resort.refusal;
    if (resort.action === "queue") {
      const lease = await queueUp(runtime, request, turn, choice, explanations);
      if (lease) return lease;
      continue;
    }
    if (resort.action === "probe") {
      const probe = begin(runtime, request, turn, resort.candidate, true);
      if (!request.snapshot.deploymentBudgets) return probe;
      const held = await withinBudgets(runtime, request, turn, probe, () => undefined);
      if (held) return held;
      continue;
    }
    await pause(runtime, request, resort.waitMs);
    const lease = await take(runtime, request, turn, true);
    if (lease) return lease;
  }
}

/** What becomes of a request that nobody in the group can serve at this moment. */
export type Resort =
  | { readonly action: "fall-back"; readonly to: GroupInTurn; readonly refusal: GroupFailure }
  | { readonly action: "queue" }
  | { readonly action: "wait"; readonly waitMs: number }
  | { readonly action: "probe"; readonly candidate: PooledCandidate }
  | { readonly action: "refuse"; readonly refusal: GroupFailure };

/**
 * Decides, and does nothing.
 *
 * @param giveUpAt - The wait for a deployment that comes back has to end by then.
 */
export function resortOf(
  request: RequestState,
  turn: GroupInTurn,
  choice: ChoiceRequest,
  explanations: readonly Explanation[],
  giveUpAt: number,
): Resort {
  const { group } = turn;
  const refusal = refusalOf(request, group, choice, explanations);
  // Another group may serve at once: it is asked before anybody waits.
  const to = refusal.chain && request.nextTurn(turn, refusal.chain);
  if (to) return { action: "fall-back", to, refusal };
  if (group.queue && awaitsSlot(choice, explanations)) return { action: "queue" };
  // What was found holds for that moment, and not for a later one.
  const { now } = choice;
  const waitMs = waitFor(explanations, group.pool.earliestAvailableAt(choice), now);
  if (waitMs !== undefined && now + waitMs <= Math.min(giveUpAt, request.deadlineAt)) return { action: "wait", waitMs };
  const candidate = group.settings.cooldown.panic ? group.pool.chooseForPanic(choice) : undefined;
  return candidate ? { action: "probe", candidate } : { action: "refuse", refusal };
}

/** Somebody could serve the request who is only too busy. */
function awaitsSlot(choice: ChoiceRequest, explanations: readonly Explanation[]): boolean {
  return explanations.some(
    ({ candidate, exclusion }) => exclusion === "at-max-parallel" && !choice.ruledOut.includes(candidate.id),
  );
}

/** Waits in the group's queue. @returns `undefined`: look again. */
async function queueUp(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  choice: ChoiceRequest,
  explanations: readonly Explanation[],
): Promise<Lease | undefined> {
  const { group } = turn;
  const { pool } = group;
  let predictedMs = Number.POSITIVE_INFINITY;
  for (const { candidate, exclusion } of explanations) {
    if (exclusion !== "at-max-parallel") continue;
    predictedMs = Math.min(predictedMs, candidate.health.predictedTtftMs(request.promptTokens) ?? 0);
  }
  const lease = await waitForSlot(runtime, request, turn, {
    queue: group.queue!, // asked for by the caller
    choice,
    predictedMs,
    take() {
      // A store that is asked answers later: only who is known to find something leaves the queue for it.
      const isHopeless =
        (group.sharesLimits || request.snapshot.deploymentBudgets !== undefined) &&
        pool.explain(choiceOf(runtime, request, turn, true)).every(({ exclusion }) => exclusion !== undefined);
      return isHopeless ? undefined : take(runtime, request, turn, true);
    },
    comesBackAt() {
      const again = choiceOf(runtime, request, turn, true);
      return comingBackAt(pool.explain(again), again);
    },
  });
  // Those that were full when it began to wait need no longer be.
  if (lease && request.choice && !request.choice.compared) {
    request.excluded = request.excluded.filter((excluded) => excluded.group !== group.name);
  }
  return lease;
}

/** When the first of those that time brings back may serve, in the future; `undefined`: there is none. */
function comingBackAt(explanations: readonly Explanation[], choice: ChoiceRequest): number | undefined {
  let earliest: number | undefined;
  for (const { candidate, exclusion } of explanations) {
    if (exclusion === undefined || !COMING.has(exclusion) || choice.ruledOut.includes(candidate.id)) continue;
    const { reservedTokens: tokens, promptTokens } = choice;
    const roomAt = candidate.limits?.roomAt(tokens, choice.now, Math.min(promptTokens, tokens)) ?? 0;
    const at = Math.max(roomAt, candidate.health.availableAt(choice.now));
    if (at > choice.now && (earliest === undefined || at < earliest)) earliest = at;
  }
  return earliest;
}

/** Waiting helps where time alone brings a deployment back. `undefined`: it does not. */
function waitFor(
  explanations: readonly Explanation[],
  availableAt: number | undefined,
  now: number,
): number | undefined {
  const isComing = explanations.some(({ exclusion }) => exclusion !== undefined && COMING.has(exclusion));
  if (!isComing || availableAt === undefined) return undefined;
  // Something that is back already but was not eligible waits for a probe or a slot: not for the time.
  return availableAt > now ? Math.ceil(availableAt - now) : undefined;
}

/** In the same turn as the choice. */
function begin(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  candidate: PooledCandidate,
  isProbe: boolean,
): Lease {
  const { group, captured } = turn;
  if (!request.tried.includes(candidate.id)) request.tried.push(candidate.id);
  const prefix = prefixUseOf(runtime, request, turn, candidate);
  const flight = candidate.health.begin({
    uncachedTokens: request.promptTokens - prefix.match.tokens,
    isStreaming: request.isStreaming,
    expectedOutputTokens: group.health.meanOutputTokens,
    isProbe,
  });
  return { group, captured, candidate, flight, share: shareOf(runtime, request, group, candidate), prefix };
}

function shareOf(
  { deploymentLimits, clock }: Runtime,
  request: RequestState,
  group: GroupState,
  candidate: PooledCandidate,
): AttemptShare | undefined {
  if (!candidate.limits) return undefined;
  const tokens = reservedTokens(request, group);
  const share = deploymentLimits.get(candidate.id)?.take(tokens, clock.now(), Math.min(request.promptTokens, tokens));
  return (
    share && {
      learn: (table, headers, sentAt) => share.learn(table, headers, sentAt, clock.now(), clock.wallNow()),
      refused: () => share.refused(clock.now()),
      end: (isAttempted, used) => share.end(isAttempted, used, clock.now()),
    }
  );
}

/** What the choice goes by. */
export function choiceOf(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  allowTried: boolean,
): ChoiceRequest {
  const { group, captured } = turn;
  const affinity = affinityOf(runtime, request, turn);
  const fingerprint = group.affinity && fingerprintOf(runtime, request);
  const { checked, overBudget } = request;
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
    reservedTokens: group.hasLimits ? reservedTokens(request, group) : 0,
    isPriced:
      request.isBudgeted || request.snapshot.deploymentBudgets ? pricedIn(runtime, request, captured) : undefined,
    isOverBudget: overBudget && (({ id }) => overBudget.has(id)),
    captured,
    isModelListed: captured !== undefined && (group.models?.has(captured) ?? false),
    requiredTags: required?.tags ?? NO_TAGS,
    requiredRegion: required?.region,
    requiredDeployment: request.pin?.deploymentIn(group) ?? required?.deployment,
    requiredAccount: request.pin?.account,
    largerWindowThan: request.needsLargerWindowThan,
    tried: request.tried,
    ruledOut: request.ruledOut,
    allowTried,
    isReplayable: !request.isPinned,
    affinity,
    fingerprint: fingerprint === undefined ? undefined : numberOf(fingerprint),
    now: runtime.clock.now(),
    random: runtime.random,
  };
}

/** What the choice for a hedge goes by: deployments that wait for a probe are none of its. */
export function hedgeChoiceOf(runtime: Runtime, request: RequestState, turn: GroupInTurn): ChoiceRequest {
  const choice = choiceOf(runtime, request, turn, false);
  const probed = turn.group.pool.candidates.filter(({ health }) => health.awaitsProbe(choice.now));
  if (probed.length === 0) return choice;
  return { ...choice, tried: [...choice.tried, ...probed.map(({ id }) => id)] };
}

const NO_TAGS: readonly string[] = [];

/** Which deployments have a price for the model that they would be asked for. */
function pricedIn({ clock }: Runtime, request: RequestState, captured: string | undefined) {
  const at = clock.wallNow();
  const { settings, deploymentBudgets } = request.snapshot;
  return ({ deployment, id }: PooledCandidate) =>
    (!request.isBudgeted && !hasHardBudget(deploymentBudgets?.get(id) ?? [])) ||
    priceOf(settings, deployment, captured, at) !== undefined;
}

/** Keeps who was compared, and why the others were not: free while all of the lowest tier is eligible. */
function noteChoice(request: RequestState, group: GroupState, choice: ChoiceRequest): void {
  const { pool } = group;
  // Who asks for reasons gets those of higher tiers, too: each would be that it is one, otherwise.
  if (pool.comparedLowestTier && !request.candidates) {
    request.choice = { group, compared: undefined };
    return;
  }
  request.choice = { group, compared: pool.considered() };
  if (pool.candidates.length <= MAX_EXPLAINED) noteExclusions(request, group, pool.explain(choice));
}

/** For callers who ask: all of it, as it is before the choice. */
function noteCandidates(request: RequestState, { pool }: GroupState, choice: ChoiceRequest): void {
  request.candidates = explainedDeployments(pool.explain(choice), choice);
}

function noteExclusions(request: RequestState, group: GroupState, explanations: readonly Explanation[]): void {
  request.excluded = request.excluded.filter((excluded) => excluded.group !== group.name);
  for (const { candidate, exclusion, predictedTtftMs } of explanations) {
    if (!exclusion) continue;
    const excluded = { group: group.name, deployment: candidate.id, reason: exclusion };
    request.excluded.push(exclusion === "predicted-too-slow" ? { ...excluded, predictedTtftMs } : excluded);
  }
}

/** Why nothing in the group can serve the request, as the caller would read it. */
function refusalOf(
  request: RequestState,
  group: GroupState,
  choice: ChoiceRequest,
  explanations: readonly Explanation[],
): GroupFailure {
  const momentary = explanations.filter(({ exclusion }) => exclusion && MOMENTARY.has(exclusion));
  const isComingAndGoing = explanations.some(({ exclusion }) => exclusion === undefined);
  if (momentary.length === 0 && !isComingAndGoing) return permanentRefusal(request, group, choice, explanations);

  const availableAt = group.pool.earliestAvailableAt(choice);
  const retryAfterMs = Math.max(1_000, Math.ceil((availableAt ?? 0) - choice.now));
  const fields = { requestId: request.id, retryAfterMs, attempts: request.failedAttempts() };
  const reasons = momentary
    .slice(0, 20)
    .map(({ candidate, exclusion }) => `${candidate.id} is ${exclusion}`)
    .join(", ");
  const all = (...allowed: Exclusion[]) =>
    momentary.every(({ exclusion }) => exclusion !== undefined && allowed.includes(exclusion));
  if (isComingAndGoing) {
    const message = `The deployments of ${group.name} are taken by others as soon as they can serve.`;
    return new GroupFailure("onError", routerError("no_deployment_available", { ...fields, message }));
  }
  if (all("rate-limited", "at-rate-limit")) {
    const message = `Every deployment of ${group.name} is at its rate limit: ${reasons}.`;
    return new GroupFailure("onError", routerError("rate_limit_exceeded", { ...fields, message }));
  }
  if (all("at-max-parallel")) {
    const message = `Every deployment of ${group.name} is at its maxParallel: ${reasons}.`;
    return new GroupFailure("onError", routerError("overloaded", { ...fields, message }));
  }
  const message = `No deployment of ${group.name} can take the request now: ${reasons}.`;
  return new GroupFailure("onError", routerError("no_deployment_available", { ...fields, message }));
}

/** Time alone brings these back. */
const COMING: ReadonlySet<Exclusion> = new Set<Exclusion>(["cooling-down", "rate-limited", "at-rate-limit"]);

const MOMENTARY: ReadonlySet<Exclusion> = new Set<Exclusion>([
  "cooling-down",
  "probing",
  "rate-limited",
  "parked",
  "at-max-parallel",
  "at-rate-limit",
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
  if (reasons.size === 1 && reasons.has("model-not-listed")) {
    const message = `The model ${JSON.stringify(choice.captured)} does not exist in ${group.name}.`;
    const refusal = routerError("model_not_found", { requestId, message, param: "model" });
    // A group further on may have it; a name that nobody knows from the start is the caller's mistake.
    return new GroupFailure(group === request.group ? undefined : "onError", refusal);
  }
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
  const [overBudget] = request.overBudget?.values() ?? [];
  if (reasons.has("over-budget") && overBudget) {
    const turn = { group, captured: choice.captured };
    // The sums are the operator's business.
    const { cause, retryAfterMs } = overBudget;
    const refusal =
      cause === "store-unavailable"
        ? routerError("accounting_unavailable", {
            requestId,
            retryAfterMs,
            message: `The budgets of the deployments of ${group.name} cannot be checked now, and they refuse until they can.`,
          })
        : routerError("insufficient_quota", {
            requestId,
            message: `No deployment of ${group.name} that could serve the request has budget left for it.`,
          });
    return new GroupFailure(request.nextTurn(turn, "onBudget") ? "onBudget" : "onError", refusal);
  }
  if (reasons.has("unpriced")) {
    const message = `No deployment of ${group.name} that could serve the request has a price, and a hard budget applies.`;
    return new GroupFailure("onError", routerError("unpriced_model", { requestId, message, param: "model" }));
  }
  if (reasons.has("exceeds-rate-limit")) {
    const message = `The request needs about ${choice.reservedTokens} tokens, which is more than the tpm of any deployment of ${group.name}.`;
    return new GroupFailure("onError", routerError("request_exceeds_limit", { requestId, message }));
  }
  if (reasons.has("operation-unsupported")) {
    const message = `No deployment of ${group.name} has ${choice.operation}.`;
    return new GroupFailure(undefined, routerError("invalid_request", { requestId, message, param: "model" }));
  }
  const [reference] = request.checked.references ?? [];
  if (reference && (reasons.has("account-mismatch") || reasons.has("deployment-mismatch"))) {
    const message = `What \`${reference.param}\` refers to exists at an account with no deployment of ${group.name} that could serve the request.`;
    return new GroupFailure(undefined, routerError("invalid_request", { requestId, message, param: reference.param }));
  }
  const message = `No deployment of ${group.name} has the tags, the region and the id that the call requires.`;
  return new GroupFailure(undefined, routerError("invalid_request", { requestId, message, param: "require" }));
}
