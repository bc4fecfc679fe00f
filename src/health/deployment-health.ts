import type { Outcome } from "../errors/classify.js";
import type { UpstreamError } from "../errors/upstream-error.js";

/** One attempt under way on a deployment: in-flight accounting, and what it teaches when it ends. */
export interface AttemptInFlight {
  /** The first content arrived (streams only). Later calls do nothing. */
  firstToken(): void;
  /**
   * The attempt is over. Exactly the first call counts; every path calls it.
   */
  end(result: AttemptResult): void;
  /** The attempt turns out to be the caller's fault (poison request): takes back what `end` did to health. */
  reclassifyAsCaller(): void;
}

export interface AttemptResult {
  readonly outcome: Outcome;
  readonly error?: UpstreamError | undefined;
  /** Tokens of the answer, reported or estimated; 0 where nothing came. */
  readonly outputTokens: number;
}
