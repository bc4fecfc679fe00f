import { RouterError, routerError } from "../errors/router-error.js";
import type { AccountRequest } from "../limits/accounts.js";
import type { AccountRefusal } from "../limits/asked-limits.js";
import type { Claim } from "../limits/claim.js";
import type { RequestAccount } from "../limits/request-account.js";
import { type Rule, ruleOf } from "../limits/rule.js";
import type { PluginClaim, PluginReservations } from "../plugins/run-plugins.js";
import { sharedFingerprint } from "./affinity.js";
import { amountsOf, expectedHoldOf, hasHardBudget } from "./amounts.js";
import { budgetRefusalMessage } from "./budget-refusal.js";
import { emitFallback } from "./events.js";
import { pause } from "./pause.js";
import { tightest } from "./rate-limit-states.js";
import type { RequestState } from "./request.js";
import { noteOf, reservationId } from "./reservation-note.js";
import type { GroupInTurn, Runtime } from "./runtime.js";
import { withinRequest } from "./within-request.js";

/** Limits that one decision is about: every store takes as many. */
const MAX_RULES = 64;
const NO_RULES: readonly Rule[] = [];

/**
 * Reserves what the request needs of all limits and budgets that apply to it, all or nothing: of its principal's levels,
 * and of what plugins claim. Where the named model's limit or budget refuses, the group's `onBudget` chain is asked.
 *
 * @returns a promise only if something has to be waited for.
 * @throws {RouterError} refused; nothing is reserved then.
 */
export function reserve(runtime: Runtime, request: RequestState): Promise<void> | undefined {
  // Whoever has a budget of its own needs a price, whoever calls.
  const prices = request.snapshot.deploymentBudgets && runtime.pricesAreComing;
  return prices
    ? withinRequest(runtime, request, prices).then(() => reserveNow(runtime, request))
    : reserveNow(runtime, request);
}

function reserveNow(runtime: Runtime, request: RequestState): Promise<void> | undefined {
  const { plugins } = request.snapshot;
  if (plugins.hasReserve) return reserveWithPlugins(runtime, request);
  if (!request.access && sharedFingerprint(runtime, request) === undefined) return undefined;
  return reserveRules(runtime, request, []);
}

function reserveWithPlugins(runtime: Runtime, request: RequestState): Promise<void> | undefined {
  const go = ({ claims, leases }: PluginReservations) => {
    // From here on the request's end settles or releases them, whatever happens next.
    request.leases = leases;
    return reserveRules(runtime, request, claims);
  };
  // There are guards, so that there is what they see.
  const reserving = request.snapshot.plugins.reserve(request.guarded!);
  if (!(reserving instanceof Promise)) return go(reserving);
  return withinRequest(runtime, request, reserving, (late) => late.leases.release()).then(go);
}

function reserveRules(
  runtime: Runtime,
  request: RequestState,
  claims: readonly PluginClaim[],
): Promise<void> | undefined {
  const claimed = claims.length > 0 ? claims.map(claimedRule) : NO_RULES;
  const asked = reserveIn(runtime, request, { group: request.group, captured: request.captured }, claimed);
  if (asked === undefined) return undefined;
  if (asked instanceof Promise) return asked.then((refusal) => conclude(runtime, request, claimed, refusal));
  return conclude(runtime, request, claimed, asked);
}

/** Rules of claims that do not change from request to request, and whose plugin made them. */
const claimedRules = new WeakMap<Claim, { readonly plugin: string; readonly rule: Rule }>();

function claimedRule({ plugin, claim }: PluginClaim): Rule {
  const known = claimedRules.get(claim);
  if (known?.plugin === plugin) return known.rule;
  const rule = ruleOf(claim, `${claim.scope ?? claim.key} (${plugin})`, true);
  if (Object.isFrozen(claim)) claimedRules.set(claim, { plugin, rule });
  return rule;
}

/**
 * @param question - How often the request has asked before.
 * @returns what refused; `undefined`: everything is reserved.
 * @throws {RouterError} `unpriced_model`.
 */
function reserveIn(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  claimed: readonly Rule[],
  question = 0,
): Promise<AccountRefusal | undefined> | AccountRefusal | undefined {
  const { access, snapshot } = request;
  const model = turn.group === request.group ? request.model : turn.group.name;
  const own = access ? snapshot.settings.principalRules.rulesFor(access, model) : NO_RULES;
  const rules = claimed.length > 0 ? [...own, ...claimed] : own;
  // Without limits the store is asked all the same who served the conversation.
  if (rules.length === 0 && sharedFingerprint(runtime, request) === undefined) return undefined;
  if (rules.length > MAX_RULES) {
    const message = `More than ${MAX_RULES} limits and budgets apply to the request: ${rules.length}.`;
    throw routerError("internal_error", { requestId: request.id, message });
  }
  request.isBudgeted = hasHardBudget(rules);
  request.expectedHold = request.isBudgeted ? expectedHoldOf(rules) : undefined;
  // Not known yet is not unpriced.
  const prices = request.isBudgeted ? runtime.pricesAreComing : undefined;
  const ask = () => reserveAll(runtime, request, turn, rules, question);
  return prices ? withinRequest(runtime, request, prices).then(ask) : ask();
}

function reserveAll(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  rules: readonly Rule[],
  question: number,
): Promise<AccountRefusal | undefined> | AccountRefusal | undefined {
  const amounts = amountsOf(runtime, request, turn);
  if (!amounts) {
    throw routerError("unpriced_model", {
      requestId: request.id,
      param: "model",
      message: `No deployment of ${turn.group.name} has a price, and a hard budget applies: give its deployments a \`price\`.`,
    });
  }
  const asked: AccountRequest = {
    id: reservationId(request.id, question),
    tenant: request.access?.tenant,
    rules,
    amounts,
    lifetimeMs: Math.max(0, request.remainingMs()),
    fingerprint: sharedFingerprint(runtime, request),
    // Nothing is abandoned where nothing was reserved.
    note: runtime.ledger && rules.length > 0 ? noteOf(request) : undefined,
  };
  const take = (answer: RequestAccount | AccountRefusal) => {
    if (!answer.isReserved) return answer;
    request.account = answer;
    request.reserved = amounts;
    return undefined;
  };
  const answer = runtime.accounts.reserve(asked);
  if (!(answer instanceof Promise)) return take(answer);
  const nothing = { isAttempted: false, tokens: 0, costNanoUsd: 0 };
  return withinRequest(runtime, request, answer, (late) => late.isReserved && late.end(nothing)).then(take);
}

/** What follows a refusal: the `onBudget` chain, a wait for those who have time, or the error. */
function conclude(
  runtime: Runtime,
  request: RequestState,
  claimed: readonly Rule[],
  refusal: AccountRefusal | undefined,
): Promise<void> | undefined {
  if (!refusal) return undefined;
  const error = errorOf(runtime, request, refusal);
  const turn: GroupInTurn = { group: request.group, captured: request.captured };
  if (request.nextTurn(turn, "onBudget")) return goOnWithBudget(runtime, request, turn, claimed, error);
  if (request.call.options?.priority === "batch" && refusal.retryAfterMs !== undefined) {
    return waitForRoom(runtime, request, claimed, refusal, error);
  }
  throw error;
}

/** @throws {RouterError} the first refusal, if no group of the chain has room either. */
async function goOnWithBudget(
  runtime: Runtime,
  request: RequestState,
  refused: GroupInTurn,
  claimed: readonly Rule[],
  error: RouterError,
): Promise<void> {
  let from = refused;
  for (let question = 1; ; question++) {
    request.visited.push(from.group.name);
    const next = request.nextTurn(from, "onBudget");
    if (!next) throw error;
    if (await hasRoomIn(runtime, request, next, claimed, question)) {
      emitFallback(runtime, request, refused.group, next.group, "onBudget", error.code);
      request.startIn(next);
      return;
    }
    from = next;
  }
}

/** A group without any price cannot serve under a budget either: it is passed over, and the first refusal stays the cause. */
async function hasRoomIn(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  claimed: readonly Rule[],
  question: number,
): Promise<boolean> {
  try {
    return (await reserveIn(runtime, request, turn, claimed, question)) === undefined;
  } catch (thrown) {
    if (RouterError.isRouterError(thrown) && thrown.code === "unpriced_model") return false;
    throw thrown;
  }
}

/** A batch has time: it waits for the moment at which all its limits have room, within its deadline (routing §10). */
async function waitForRoom(
  runtime: Runtime,
  request: RequestState,
  claimed: readonly Rule[],
  refusal: AccountRefusal,
  error: RouterError,
): Promise<void> {
  let waitMs = refusal.retryAfterMs;
  for (let question = 1; ; question++) {
    if (waitMs === undefined || waitMs >= request.remainingMs()) throw error;
    await pause(runtime, request, waitMs);
    const turn: GroupInTurn = { group: request.group, captured: request.captured };
    const again = await reserveIn(runtime, request, turn, claimed, question);
    if (!again) return;
    waitMs = again.retryAfterMs;
  }
}

/** What a caller reads of a refusal. */
function errorOf(runtime: Runtime, request: RequestState, refusal: AccountRefusal): RouterError {
  const { rule, cause, retryAfterMs, states } = refusal;
  const requestId = request.id;
  const rateLimits = tightest(states);
  const what = describe(rule);
  if (cause === "store-unavailable") {
    const message = `The ${what} of ${rule.scope} cannot be checked now, and its policy is to refuse until it can.`;
    return routerError("accounting_unavailable", { requestId, retryAfterMs, message });
  }
  if (rule.kind === "budget") {
    const amounts = amountsOf(runtime, request, { group: request.group, captured: request.captured });
    const message = budgetRefusalMessage(request, { what: `${what} of ${rule.scope}`, refusal, amounts });
    return routerError("insufficient_quota", { requestId, rateLimits, message });
  }
  if (cause === "never-fits") {
    const message = `The request is larger than the ${what} of ${rule.scope} ever lets through.`;
    return routerError("request_exceeds_limit", { requestId, rateLimits, message });
  }
  const message = `The ${what} of ${rule.scope} is reached.`;
  return routerError("rate_limit_exceeded", { requestId, retryAfterMs, rateLimits, message });
}

function describe(rule: Rule): string {
  switch (rule.kind) {
    case "parallel":
      return `limit of ${rule.limit} requests at the same time`;
    case "requests":
    case "tokens":
      return `limit of ${rule.limit} ${rule.kind} per ${rule.windowMs === 60_000 ? "minute" : `${rule.windowMs / 1_000} s`}`;
    case "budget":
      return `budget of ${rule.limitNanoUsd / 1_000_000_000} USD${rule.period === "total" ? "" : ` per ${rule.period}`}`;
  }
}
