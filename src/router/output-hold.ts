import type { Deployment } from "../deployments/deployment.js";
import { type RouterError, routerError } from "../errors/router-error.js";
import type { StreamSummary } from "../providers/provider.js";
import { worstCaseNanoUsd } from "../tokens/pricing.js";
import { expectedOutputTokens, outputTokensBound } from "./amounts.js";
import { priceOf } from "./prices.js";
import { estimatedUsage } from "./reply-facts.js";
import type { RequestState } from "./request.js";
import type { GroupInTurn, Runtime } from "./runtime.js";

/** Of what is held: beyond it more is asked for (routing §11). */
const EXTEND_AT = 0.8;
/** Tokens that one question is about, at least: short answers of a group are not to make a question of every word. */
const MIN_STEP_TOKENS = 64;
/** For rates: one token alone may cost less than a nano-USD. */
const SAMPLE_TOKENS = 1_000_000;

export interface OutputHoldOptions {
  readonly request: RequestState;
  /** Output tokens that the reservation covers. */
  readonly heldTokens: number;
  /** Added by each question. */
  readonly stepTokens: number;
  /** The answer cannot be longer than this. */
  readonly mostTokens: number;
  readonly nanoUsdPerToken: number;
  /** Where the budgets have no room for the rest of the answer, it is cut at what they hold; `undefined`: it goes on. */
  readonly onCut: ((error: RouterError) => void) | undefined;
}

/**
 * What a stream may still cost of hard budgets that hold what it probably costs, and not the most that it can: extended
 * while it runs, behind the reader's back, one question at a time. Whatever was held is settled with the request.
 */
export class OutputHold {
  readonly #options: OutputHoldOptions;
  #heldTokens: number;
  #usedTokens = 0;
  #isAsking = false;
  #isDenied = false;

  constructor(options: OutputHoldOptions) {
    this.#options = options;
    this.#heldTokens = options.heldTokens;
  }

  /** More of the answer came. Waits for nothing. */
  note({ usage, outputLength }: StreamSummary): void {
    const { completion_tokens: counted } = estimatedUsage(0, outputLength);
    this.#usedTokens = Math.max(counted, usage?.completion_tokens ?? 0);
    if (this.#isDenied) this.#cutWhereFull();
    else if (!this.#isAsking && this.#usedTokens > EXTEND_AT * this.#heldTokens) this.#extend();
  }

  #extend(): void {
    const { request, stepTokens, mostTokens, nanoUsdPerToken } = this.#options;
    const { account } = request;
    // An upstream that says more at once than one step asks for all of it.
    const wanted = Math.max(this.#heldTokens, this.#usedTokens) + stepTokens;
    const tokens = Math.min(wanted, mostTokens) - this.#heldTokens;
    if (!account || tokens <= 0) return;
    const nanoUsd = Math.ceil(tokens * nanoUsdPerToken);
    this.#isAsking = true;
    const conclude = (isExtended: boolean) => {
      this.#isAsking = false;
      this.#isDenied = !isExtended;
      if (!isExtended) return this.#cutWhereFull();
      this.#heldTokens += tokens;
      const { reserved } = request;
      if (reserved) request.reserved = { ...reserved, expectedNanoUsd: reserved.expectedNanoUsd + nanoUsd };
    };
    // What the store cannot be asked about, it has no room for.
    Promise.resolve(account.extend(0, nanoUsd)).then(conclude, () => conclude(false));
  }

  #cutWhereFull(): void {
    const { onCut, request } = this.#options;
    if (!onCut || this.#usedTokens < this.#heldTokens) return;
    const message = "A budget has no room for the rest of the answer.";
    onCut(routerError("insufficient_quota", { requestId: request.id, message }));
  }
}

/** Of an attempt: what its answer costs depends on it. */
export interface AttemptPlace extends GroupInTurn {
  readonly request: RequestState;
  readonly deployment: Deployment;
}

/**
 * @param cut - Ends the stream with an error.
 * @returns `undefined`: what is held bounds the answer already.
 */
export function outputHoldOf(
  runtime: Runtime,
  { request, group, deployment, captured }: AttemptPlace,
  cut: (error: RouterError) => void,
): OutputHold | undefined {
  const { reserved, charged, promptTokens, expectedHold } = request;
  if (!expectedHold || !reserved) return undefined;
  const price = priceOf(request.snapshot.settings, deployment, captured, runtime.clock.wallNow());
  const prompt = worstCaseNanoUsd(price, promptTokens, 0);
  const sample = worstCaseNanoUsd(price, promptTokens, SAMPLE_TOKENS);
  // Without a price nothing was reserved for it (R16).
  if (prompt === undefined || sample === undefined || sample === prompt) return undefined;
  const nanoUsdPerToken = (sample - prompt) / SAMPLE_TOKENS;
  const heldNanoUsd = reserved.expectedNanoUsd - charged.nanoUsd - prompt;
  const heldTokens = Math.max(0, Math.floor(heldNanoUsd / nanoUsdPerToken));
  const mostTokens = outputTokensBound(request, deployment, captured);
  if (heldTokens >= mostTokens) return undefined;
  const stepTokens = Math.max(MIN_STEP_TOKENS, expectedOutputTokens(request, group, deployment, captured));
  const onCut = expectedHold === "cut" ? cut : undefined;
  return new OutputHold({ request, heldTokens, stepTokens, mostTokens, nanoUsdPerToken, onCut });
}
