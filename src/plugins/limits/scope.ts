import { z } from "zod";
import { patternMatcher } from "../../access/patterns.js";
import { sha256Hex } from "../../internal/digest.js";
import type { PluginRequest } from "../plugin.js";

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

/** One account that a request is counted in. */
export interface ScopedAccount {
  /** Different for every value, and of characters that every store takes. */
  readonly key: string;
  /** In the words of an error: `user "42"`. */
  readonly scope: string;
}

/** The accounts of a request; none where it has no such scope. */
export function accountsOf(
  request: PluginRequest,
  by: RequestScope,
  matches: (value: string) => boolean,
): readonly ScopedAccount[] {
  return valuesOf(request, by)
    .filter(({ value }) => matches(value))
    .map(({ of, value }) => accountOf(of, value));
}

/** @param of - What the value names: `user`. */
export function accountOf(of: string, value: string): ScopedAccount {
  return { key: keyOf(of, value), scope: `${of} ${JSON.stringify(value)}` };
}

/** From the innermost level to the outermost. */
const LEVELS = ["key", "user", "team", "organization"] as const;

function valuesOf(
  { principal, model, tags }: PluginRequest,
  by: RequestScope,
): readonly { readonly of: string; readonly value: string }[] {
  switch (by) {
    case "model":
      return [{ of: by, value: model }];
    case "tag":
      return [...new Set(tags)].map((value) => ({ of: by, value }));
    default: {
      const level = by === "principal" ? LEVELS.find((each) => principal?.[each] !== undefined) : by;
      const value = level && principal?.[level];
      return level && value !== undefined ? [{ of: level, value }] : [];
    }
  }
}

/** The separators differ, so that no value can pass itself off as the digest of another. */
function keyOf(of: string, value: string): string {
  const isPlain = value.length <= LONGEST_PLAIN && /^[\x21-\x7e]+$/.test(value);
  return isPlain ? `${of}:${value}` : `${of}#${sha256Hex(value)}`;
}
