import type { Deployment } from "../deployments/deployment.js";
import type { Amounts, Rule } from "../limits/rule.js";
import { worstCaseNanoUsd } from "../tokens/pricing.js";
import { countRequestTokens, inputTokensBound } from "../tokens/request-tokens.js";
import { factsOf, priceOf } from "./prices.js";
import type { RequestState } from "./request.js";
import type { GroupInTurn, GroupState, Runtime } from "./runtime.js";

/** Output tokens that an answer may have where nobody says how many: neither caller nor configuration nor price list. */
const DEFAULT_OUTPUT_CAP = 4_096;

/** Prompt and probable answer: what a request takes of limits in tokens (routing §10). */
export function reservedTokens(request: RequestState, { health }: GroupState): number {
  const { checked, promptTokens, operation, body } = request;
  if (operation === "embeddings") return Math.ceil(promptTokens);
  const p95 = Math.ceil(health.p95OutputTokens);
  return Math.ceil(promptTokens) + Math.min(checked.maxOutputTokens ?? p95, p95) * checked.choices * promptCount(body);
}

/** Prompts of a legacy completion, each of which gets its answers; 1 for everything else. */
function promptCount(body: RequestState["body"]): number {
  if (!("prompt" in body) || !Array.isArray(body.prompt)) return 1;
  // A list of numbers is one prompt of token ids.
  return typeof body.prompt[0] === "number" ? 1 : body.prompt.length;
}

/** Answers that a deployment generates at most: as many as the caller asks for, or the deployment's `defaults` do. */
function answersOf({ checked, body }: RequestState, { defaults }: Deployment): number {
  const asked = [defaults.n, defaults.best_of].filter((count) => Number.isSafeInteger(count)) as number[]; // integers
  return Math.max(checked.choices, ...asked) * promptCount(body);
}

/** Output tokens of all answers, at most: no longer ones are asked for where a hard budget applies. */
export function outputTokensBound(request: RequestState, deployment: Deployment, captured: string | undefined): number {
  if (request.operation === "embeddings") return 0;
  const cap = request.checked.maxOutputTokens ?? outputCapOf(request, deployment, captured);
  return cap * answersOf(request, deployment);
}

/** Output tokens of all answers, as they probably are. */
export function expectedOutputTokens(
  request: RequestState,
  { health }: GroupState,
  deployment: Deployment,
  captured: string | undefined,
): number {
  const answers = answersOf(request, deployment);
  return Math.min(outputTokensBound(request, deployment, captured), Math.ceil(health.p95OutputTokens) * answers);
}

/** Whether hard budgets of these hold what a request probably costs, and what becomes of a stream that costs more. */
export function expectedHoldOf(rules: readonly Rule[]): "finish" | "cut" | undefined {
  let hold: "finish" | "cut" | undefined;
  for (const rule of rules) {
    if (rule.kind !== "budget" || !rule.isHard || rule.reserves !== "expected") continue;
    if (rule.cutsStreams) return "cut";
    hold = "finish";
  }
  return hold;
}

/** A budget of these is never exceeded: what the request can cost has to be known, and bounded. */
export function hasHardBudget(rules: readonly Rule[]): boolean {
  return rules.some((rule) => rule.kind === "budget" && rule.isHard);
}

/**
 * What the request may use in a group: tokens as they probably are, money as much as it can be (routing §10, §11).
 *
 * @returns `undefined`: a hard budget applies, and no deployment of the group has a price (R16).
 */
export function amountsOf(runtime: Runtime, request: RequestState, turn: GroupInTurn): Amounts | undefined {
  const { checked, promptTokens, isBudgeted } = request;
  const { group, captured } = turn;
  const isEmbedding = request.operation === "embeddings";
  const own = isEmbedding ? 0 : checked.maxOutputTokens;
  const tokens = reservedTokens(request, group);
  if (!isBudgeted) return { tokens, upperNanoUsd: 0, expectedNanoUsd: 0 };

  const { settings } = request.snapshot;
  const at = runtime.clock.wallNow();
  const { inputBound, isTextOnly } = inputOf(request);
  const p95 = Math.ceil(group.health.p95OutputTokens);
  let upperNanoUsd: number | undefined;
  let expectedNanoUsd = 0;
  for (const { deployment } of group.pool.candidates) {
    const price = priceOf(settings, deployment, captured, at);
    if (!price) continue;
    const cap = own ?? outputCapOf(request, deployment, captured);
    const answers = answersOf(request, deployment);
    // Both are numbers, for there is a price.
    const upper = worstCaseNanoUsd(price, inputBound, cap * answers, isTextOnly)!;
    const expected = worstCaseNanoUsd(price, promptTokens, Math.min(cap, p95) * answers, isTextOnly)!;
    upperNanoUsd = Math.max(upperNanoUsd ?? 0, upper);
    expectedNanoUsd = Math.max(expectedNanoUsd, expected);
  }
  return upperNanoUsd === undefined ? undefined : { tokens, upperNanoUsd, expectedNanoUsd };
}

/** Prompt tokens, at most. */
function inputOf({ snapshot, operation, body }: RequestState): { inputBound: number; isTextOnly: boolean } {
  const { counter } = snapshot.settings.counterLoader;
  const counted = countRequestTokens(counter, operation, body);
  const { images, audios, files } = counted.media;
  return { inputBound: inputTokensBound(counter.kind, counted), isTextOnly: images + audios + files === 0 };
}

/** The most that one attempt at a deployment can cost, in nano-USD. @returns `undefined`: it has no price (R16). */
export function mostOf(
  runtime: Runtime,
  request: RequestState,
  { captured }: GroupInTurn,
  deployment: Deployment,
): number | undefined {
  const price = priceOf(request.snapshot.settings, deployment, captured, runtime.clock.wallNow());
  if (!price) return undefined;
  const { inputBound, isTextOnly } = inputOf(request);
  return worstCaseNanoUsd(price, inputBound, outputTokensBound(request, deployment, captured), isTextOnly);
}

/** The same body, with no more answers and no longer ones than were reserved for: what plugins set last may ask for more. */
export function withinReserve(
  request: RequestState,
  deployment: Deployment,
  captured: string | undefined,
  body: RequestState["body"],
): RequestState["body"] {
  if (request.operation === "embeddings") return body;
  const fields = body as object as Readonly<Record<string, unknown>>; // a JSON object
  const cap = request.checked.maxOutputTokens ?? outputCapOf(request, deployment, captured);
  const most = answersOf(request, deployment) / promptCount(request.body);
  const bounded: Record<string, number> = {};
  for (const name of ["max_tokens", "max_completion_tokens"]) {
    const stated = fields[name];
    if (typeof stated === "number" && (stated > cap || stated < 0)) bounded[name] = cap;
  }
  for (const name of ["n", "best_of"]) {
    const stated = fields[name];
    if (typeof stated === "number" && stated > most) bounded[name] = most;
  }
  if (fields.max_tokens == null && fields.max_completion_tokens == null) {
    bounded[request.operation === "completions" ? "max_tokens" : "max_completion_tokens"] = cap;
  }
  return { ...body, ...bounded };
}

/**
 * How many output tokens each answer of a deployment may have where a hard budget applies and the caller does not say:
 * what the deployment's `defaults` say, else what its model is known to give, else 4,096. Sent with the request, so that
 * it cannot cost more than its budgets hold.
 */
export function outputCapOf(request: RequestState, deployment: Deployment, captured: string | undefined): number {
  const { max_completion_tokens: most, max_tokens: legacy } = deployment.defaults;
  for (const stated of [most, legacy]) {
    // Engines take -1 for "no limit", which is none of ours.
    if (Number.isSafeInteger(stated) && (stated as number) > 0) return stated as number; // an integer
  }
  const cap = factsOf(request.snapshot.settings, deployment, captured).maxOutputTokens ?? DEFAULT_OUTPUT_CAP;
  // An engine refuses what its window cannot hold.
  const room = (deployment.contextWindow ?? Number.POSITIVE_INFINITY) - request.promptTokens;
  return Math.max(1, Math.min(cap, room));
}
