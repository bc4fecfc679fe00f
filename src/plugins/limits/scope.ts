import { LRUCache } from "lru-cache";
import { z } from "zod";
import { patternMatcher } from "../../access/patterns.js";
import { sha256Hex } from "../../internal/digest.js";
import type { Claim } from "../../limits/claim.js";
import type { ModelMention, PluginRequest } from "../plugin.js";

/**
 * Whose requests are counted together.
 *
 * `key`, `user`, `team`, `organization`: the principal's level of that name. `principal`: its innermost one. `model`: the
 * name that the caller asked for. `tag`: each tag of the request has an account of its own.
 */
export type RequestScope = "key" | "user" | "team" | "organization" | "principal" | "model" | "tag";

export const REQUEST_SCOPES = [
  "key",
  "user",
  "team",
  "organization",
  "principal",
  "model",
  "tag",
] as const satisfies readonly RequestScope[];

/** Longer values are not compared with patterns that hold `*`: they count as matching, so that length evades no limit. */
const LONGEST_COMPARED = 256;
/** With the plugin's name and the scope, keys stay below the 512 characters of a claim's. */
const LONGEST_PLAIN = 256;

const pattern = z.string("expected a name or a pattern").min(1, "expected a name or a pattern").max(512);
/** Names or patterns with `*`: one, or a list. */
export const matchSchema = z
  .union([pattern, z.array(pattern).min(1, "expected at least one name or pattern").max(1_000)])
  .optional();

/** @param match - `undefined`: every value. */
export function valueMatcher(match: string | readonly string[] | undefined): (value: string) => boolean {
  if (match === undefined) return () => true;
  const patterns = typeof match === "string" ? [match] : match;
  const matchers = patterns.map((text) => {
    if (!text.includes("*")) return (value: string) => value === text;
    const matches = patternMatcher(text);
    return (value: string) => value.length > LONGEST_COMPARED || matches(value);
  });
  return (value) => matchers.some((matches) => matches(value));
}

/** The models that `match` names; patterns may match what comes later. */
export function matchedModels(option: string, match: string | readonly string[] | undefined): readonly ModelMention[] {
  const names = match === undefined ? [] : typeof match === "string" ? [match] : match;
  return names.flatMap((model) => (model.includes("*") ? [] : [{ option, model, isCalled: false }]));
}

/** One account that a request is counted in. */
export interface ScopedAccount {
  /** Different for every value, and of characters that every store takes. */
  readonly key: string;
  /** In the words of an error: `user "42"`. */
  readonly scope: string;
}

/** Accounts whose claims are remembered, per plugin. */
const MAX_REMEMBERED = 10_000;
const NO_CLAIMS: readonly Claim[] = Object.freeze([]);

/**
 * What requests claim of the accounts of one scope. The claims of an account are made once, frozen: who checks them
 * remembers those that cannot change, and a request costs a look instead of its names, patterns and checks.
 *
 * @param claimsOf - The claims of one account.
 */
export function scopedClaims(
  by: RequestScope,
  matches: (value: string) => boolean,
  claimsOf: (account: ScopedAccount) => readonly Claim[],
): (request: PluginRequest) => readonly Claim[] {
  const remembered = new LRUCache<string, readonly Claim[]>({ max: MAX_REMEMBERED });
  const claimsFor = (of: string, value: string): readonly Claim[] => {
    // Of a principal the values of several levels are counted, which may be the same.
    const name = of === by ? value : `${of}:${value}`;
    let claims = remembered.get(name);
    if (!claims) {
      claims = matches(value)
        ? Object.freeze(claimsOf(accountOf(of, value)).map((claim) => Object.freeze(claim)))
        : NO_CLAIMS;
      remembered.set(name, claims);
    }
    return claims;
  };
  return ({ principal, model, tags }) => {
    if (by === "model") return claimsFor(by, model);
    if (by === "tag") return [...new Set(tags)].flatMap((tag) => claimsFor(by, tag));
    const level = by === "principal" ? LEVELS.find((each) => principal?.[each] !== undefined) : by;
    const value = level && principal?.[level];
    return level && value !== undefined ? claimsFor(level, value) : NO_CLAIMS;
  };
}

/** @param of - What the value names: `user`. */
export function accountOf(of: string, value: string): ScopedAccount {
  return { key: keyOf(of, value), scope: `${of} ${JSON.stringify(value)}` };
}

/** From the innermost level to the outermost. */
const LEVELS = ["key", "user", "team", "organization"] as const;

/** The separators differ, so that no value can pass itself off as the digest of another. */
function keyOf(of: string, value: string): string {
  const isPlain = value.length <= LONGEST_PLAIN && /^[\x21-\x7e]+$/.test(value);
  return isPlain ? `${of}:${value}` : `${of}#${sha256Hex(value)}`;
}
