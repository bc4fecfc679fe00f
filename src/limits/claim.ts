/**
 * A share of a limit that a request asks for, as data. The claims of all plugins are reserved in one step, all or
 * none, before the first attempt, and given back exactly once.
 */
export interface ParallelClaim {
  readonly kind: "parallel";
  /** Requests with the same key share the limit: `user:42`. */
  readonly key: string;
  /** Most requests at the same time; an integer of at least 1. */
  readonly limit: number;
}
export type Claim = ParallelClaim;

/** The longest key, in UTF-16 units: keys are held as long as requests hold them (S27). */
export const MAX_CLAIM_KEY_LENGTH = 512;

/**
 * What is wrong with something that should be a claim.
 *
 * @returns the field at fault and what is expected of it, without the value; `undefined` for a good claim.
 */
export function claimProblem(claim: unknown): string | undefined {
  if (typeof claim !== "object" || claim === null || Array.isArray(claim)) return "a claim must be an object";
  const { kind, key, limit } = claim as Partial<Record<keyof Claim, unknown>>; // an object; its fields are checked here
  if (kind !== "parallel") return '`kind` must be "parallel"';
  if (typeof key !== "string" || key.length === 0 || key.length > MAX_CLAIM_KEY_LENGTH) {
    return `\`key\` must be a string of 1 to ${MAX_CLAIM_KEY_LENGTH} characters`;
  }
  if (typeof limit !== "number" || !Number.isSafeInteger(limit) || limit < 1) {
    return "`limit` must be an integer of at least 1";
  }
  return undefined;
}
