import { CHUNK_TOKENS, type PrefixChain } from "./prefix-chain.js";
import type { DeploymentPrefixes, PrefixIndex } from "./prefix-index.js";

/** What a request brings of its past. */
export interface RequestAffinity {
  /** Empty for short prompts. */
  readonly chain: PrefixChain;
  /** The deployment that served the conversation so far: all of the prompt counts as cached there. */
  readonly hinted: string | undefined;
  /** How long a deployment is expected to keep what it has read. */
  readonly ttlMs: number;
}

/** The part of a choice that this looks at. */
export interface AffinityRequest {
  readonly promptTokens: number;
  readonly now: number;
  readonly affinity?: RequestAffinity | undefined;
}

/** A candidate that can be told how much of the prompt it has. */
export interface AffineCandidate {
  readonly id: string;
  readonly prefixes: DeploymentPrefixes | undefined;
  matchedTokens: number;
}

/** Of many candidates, those that have the most of the prompt (routing §3). */
const MAX_PREFERRED = 2;
/** Holders of a prefix that are looked at in search of them: some may be of other groups, or not available. */
const MAX_HOLDERS = 16;

/** What the candidates of one tier have of a prompt. Allocates nothing. */
export class GroupAffinity<C extends AffineCandidate> {
  readonly #candidates: readonly C[];
  readonly #index: PrefixIndex;
  readonly #byId: ReadonlyMap<string, C>;
  /** Places among the candidates, by the slots that their deployments have in the index; -1: of other groups. */
  readonly #bySlot: Int32Array;
  /** Those whose `matchedTokens` is not 0. */
  readonly #marked: C[] = [];
  #markedCount = 0;

  constructor(candidates: readonly C[], index: PrefixIndex) {
    this.#candidates = candidates;
    this.#index = index;
    this.#byId = new Map(candidates.map((candidate) => [candidate.id, candidate]));
    const lastSlot = candidates.reduce((most, { prefixes }) => Math.max(most, prefixes?.slot ?? -1), -1);
    this.#bySlot = new Int32Array(lastSlot + 1).fill(-1);
    for (const [position, { prefixes }] of candidates.entries()) {
      if (prefixes && prefixes.slot >= 0) this.#bySlot[prefixes.slot] = position;
    }
  }

  /** Sets `matchedTokens` of every candidate. */
  mark(request: AffinityRequest): void {
    this.#forget();
    const { affinity, promptTokens } = request;
    if (affinity === undefined) return;
    const index = this.#index;
    index.match(affinity.chain, request.now - affinity.ttlMs);
    for (let position = 0; position < index.matchedCount; position++) {
      // In bounds.
      const prefixes = index.matched[position]!;
      const candidate = this.#candidateOf(prefixes);
      if (candidate !== undefined) this.#mark(candidate, tokensOf(prefixes.hits, prefixes.trust, promptTokens));
    }
    const hinted = affinity.hinted === undefined ? undefined : this.#byId.get(affinity.hinted);
    if (hinted !== undefined) this.#mark(hinted, promptTokens);
  }

  /** Sets `matchedTokens` of the first `count` of a few candidates, and of no others. */
  markSome(candidates: readonly C[], count: number, request: AffinityRequest): void {
    this.#forget();
    if (request.affinity === undefined) return;
    for (let position = 0; position < count; position++) {
      // In bounds.
      const candidate = candidates[position]!;
      this.#mark(candidate, matchedTokens(candidate, request));
    }
  }

  #mark(candidate: C, tokens: number): void {
    candidate.matchedTokens = tokens;
    if (tokens > 0) this.#marked[this.#markedCount++] = candidate;
  }

  #forget(): void {
    for (let position = 0; position < this.#markedCount; position++) this.#marked[position]!.matchedTokens = 0; // in bounds
    this.#markedCount = 0;
  }

  #candidateOf(prefixes: DeploymentPrefixes): C | undefined {
    const position = this.#bySlot[prefixes.slot] ?? -1;
    const candidate = position < 0 ? undefined : this.#candidates[position];
    // After a reload the slot may be another deployment's.
    return candidate?.prefixes === prefixes ? candidate : undefined;
  }

  /** Of many candidates, those that should be looked at: the hinted one, and some that have the most of the prompt. */
  addPreferred(scratch: C[], from: number, request: AffinityRequest, isIn: (candidate: C) => boolean): number {
    const { affinity } = request;
    if (affinity === undefined) return from;
    let count = from;
    const hinted = affinity.hinted === undefined ? undefined : this.#byId.get(affinity.hinted);
    if (hinted !== undefined && isNew(scratch, count, hinted) && isIn(hinted)) scratch[count++] = hinted;
    const index = this.#index;
    index.match(affinity.chain, request.now - affinity.ttlMs, MAX_HOLDERS);
    let preferred = 0;
    for (let position = 0; position < index.matchedCount && preferred < MAX_PREFERRED; position++) {
      const candidate = this.#candidateOf(index.matched[position]!); // in bounds
      if (candidate === undefined || !isIn(candidate)) continue;
      preferred++;
      if (isNew(scratch, count, candidate)) scratch[count++] = candidate;
    }
    return count;
  }
}

/** What one deployment has of a prompt. */
export interface DeploymentMatch {
  /** Prompt tokens that it probably has in its cache: 0 to all of them. */
  readonly tokens: number;
  /** The same by what was sent there alone: what its reports of cached tokens are compared with. */
  readonly sentTokens: number;
}

export const NO_MATCH: DeploymentMatch = { tokens: 0, sentTokens: 0 };

export function matchOf({ id, prefixes }: AffineCandidate, request: AffinityRequest): DeploymentMatch {
  const { affinity, promptTokens } = request;
  if (affinity === undefined) return NO_MATCH;
  const hits = prefixes === undefined ? 0 : hitsOf(prefixes, affinity, request.now);
  const sentTokens = tokensOf(hits, 1, promptTokens);
  const isHinted = affinity.hinted === id;
  return { tokens: isHinted ? promptTokens : tokensOf(hits, prefixes?.trust ?? 1, promptTokens), sentTokens };
}

function matchedTokens({ id, prefixes }: AffineCandidate, { affinity, promptTokens, now }: AffinityRequest): number {
  if (affinity === undefined) return 0;
  if (affinity.hinted === id) return promptTokens;
  return prefixes === undefined ? 0 : tokensOf(hitsOf(prefixes, affinity, now), prefixes.trust, promptTokens);
}

function hitsOf(prefixes: DeploymentPrefixes, { chain, ttlMs }: RequestAffinity, now: number): number {
  return prefixes.index.hits(prefixes, chain, now - ttlMs);
}

function tokensOf(hits: number, trust: number, promptTokens: number): number {
  const tokens = Math.min(CHUNK_TOKENS * hits, promptTokens);
  return trust === 1 ? tokens : Math.floor(tokens * trust);
}

function isNew<C>(scratch: readonly C[], count: number, candidate: C): boolean {
  for (let position = 0; position < count; position++) if (scratch[position] === candidate) return false;
  return true;
}
