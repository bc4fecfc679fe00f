import type { ChatRequest } from "../protocol/chat.js";
import type { CompletionRequest } from "../protocol/completions.js";
import type { Usage } from "../protocol/usage.js";
import {
  fingerprintOfChat,
  fingerprintOfCompletion,
  fingerprintOfSession,
  isContinued,
} from "../routing/affinity/fingerprint.js";
import { type DeploymentMatch, matchOf, NO_MATCH, type RequestAffinity } from "../routing/affinity/group-affinity.js";
import { chainOfChat, chainOfCompletion, chainWithReply, type PrefixChain } from "../routing/affinity/prefix-chain.js";
import type { PooledCandidate } from "../routing/candidates.js";
import type { PrefixUse, RequestState } from "./request.js";
import type { GroupInTurn, Runtime } from "./runtime.js";
import { tenantOf } from "./wait-for-slot.js";

/**
 * What tells the request's conversation from others; made only where it matters: for a store that several processes share,
 * for the caller's `sessionId`, and for `chwbl`.
 */
export function fingerprintOf(runtime: Runtime, request: RequestState): string | undefined {
  const { group } = request;
  if (!group.affinity || request.operation === "embeddings") return undefined;
  const sessionId = sessionOf(request);
  const isAsked =
    sessionId !== undefined || group.affinity.kind === "fingerprint" || runtime.accounts.areDeploymentsShared;
  if (!isAsked) return undefined;
  request.conversation ??= { fingerprint: made(request, sessionId) };
  return request.conversation.fingerprint;
}

/** What belongs together, as whoever calls says it: the host, or a client of its own. */
export function sessionOf({ call }: RequestState): string | undefined {
  return call.options?.sessionId ?? call.session;
}

function made(request: RequestState, sessionId: string | undefined): string | undefined {
  // As the caller named it: what a fallback group serves is the same conversation.
  const owner = { tenant: tenantOf(request) || undefined, model: request.model };
  if (sessionId !== undefined) return fingerprintOfSession(sessionId, owner);
  // The operation tells the body's type.
  return request.operation === "completions"
    ? fingerprintOfCompletion(request.body as CompletionRequest, owner)
    : fingerprintOfChat(request.body as ChatRequest, owner);
}

/** Whether the store is to be asked who served the conversation: all that a request without limits asks it for. */
export function sharedFingerprint(runtime: Runtime, request: RequestState): string | undefined {
  if (!runtime.accounts.areDeploymentsShared || request.group.affinity?.kind !== "prefix") return undefined;
  return fingerprintOf(runtime, request);
}

/** What a choice is to know of the request's past. */
export function affinityOf(
  runtime: Runtime,
  request: RequestState,
  { group, captured }: GroupInTurn,
): RequestAffinity | undefined {
  if (group.affinity?.kind !== "prefix" || request.operation === "embeddings") return undefined;
  let prompt = request.prompt;
  if (prompt === undefined || prompt.captured !== captured) {
    // The operation tells the body's type.
    const chain =
      request.operation === "completions"
        ? chainOfCompletion(request.body as CompletionRequest, captured)
        : chainOfChat(request.body as ChatRequest, captured);
    request.prompt = prompt = { captured, chain };
  }
  return { chain: prompt.chain, hinted: hintOf(runtime, request), ttlMs: group.affinity.ttlMs };
}

function hintOf(runtime: Runtime, request: RequestState): string | undefined {
  const fingerprint = fingerprintOf(runtime, request);
  if (fingerprint === undefined) return undefined;
  // Conversations that only begin alike have no common past; a session has, whatever it asks.
  const hasPast =
    sessionOf(request) !== undefined || request.operation === "completions" || isContinued(request.body as ChatRequest); // of the two operations that are left
  if (!hasPast) return undefined;
  return request.account?.hint ?? runtime.prefixes.hints.get(fingerprint, runtime.clock.now());
}

const NOTHING: PrefixUse = {
  match: { tokens: 0, sentTokens: 0 },
  begin: () => {},
  served: () => {},
  answered: () => {},
};

/** To be asked at the choice, before anything is added. */
export function prefixUseOf(
  runtime: Runtime,
  request: RequestState,
  turn: GroupInTurn,
  candidate: PooledCandidate,
): PrefixUse {
  if (!turn.group.affinity) return NOTHING;
  const affinity = affinityOf(runtime, request, turn);
  return new DeploymentUse(runtime, request, candidate, affinity);
}

class DeploymentUse implements PrefixUse {
  readonly #runtime: Runtime;
  readonly #request: RequestState;
  readonly #candidate: PooledCandidate;
  #chain: PrefixChain | undefined;
  #epoch = 0;
  readonly match: DeploymentMatch;

  constructor(
    runtime: Runtime,
    request: RequestState,
    candidate: PooledCandidate,
    affinity: RequestAffinity | undefined,
  ) {
    this.#runtime = runtime;
    this.#request = request;
    this.#candidate = candidate;
    this.#chain = affinity?.chain;
    const { promptTokens } = request;
    // Nobody has anything of a prompt that is shorter than a chunk.
    const isKnown = affinity !== undefined && (affinity.chain.hashes.length > 0 || affinity.hinted !== undefined);
    this.match = isKnown ? matchOf(candidate, { affinity, promptTokens, now: runtime.clock.now() }) : NO_MATCH;
  }

  begin(): void {
    const { prefixes } = this.#candidate;
    this.served();
    if (!prefixes || !this.#chain) return;
    this.#epoch = prefixes.epoch;
    if (this.#chain.hashes.length > 0) prefixes.add(this.#chain, this.#runtime.clock.now());
  }

  served(): void {
    const fingerprint = this.#request.conversation?.fingerprint;
    if (fingerprint === undefined) return;
    const { prefixes: memory, clock } = this.#runtime;
    memory.hints.note(fingerprint, this.#candidate.id, clock.now());
  }

  answered(usage: Usage | undefined, text: string): void {
    const { prefixes } = this.#candidate;
    const chain = this.#chain;
    // Meanwhile its cache may have been lost.
    if (!prefixes || !chain || prefixes.epoch !== this.#epoch) return;
    const cachedTokens = usage?.prompt_tokens_details?.cached_tokens;
    if (typeof cachedTokens === "number") prefixes.learn(this.match.sentTokens, cachedTokens);
    const longer = chainWithReply(chain, text, this.#request.operation !== "completions");
    if (longer.hashes.length > 0 && longer !== chain) prefixes.add(longer, this.#runtime.clock.now());
  }
}
