import { ID } from "../access/fields.js";
import type { Principal } from "../access/principal.js";
import type { ClaimPath, ClaimRule, ClaimsMapping } from "./options.js";

export type Claims = Readonly<Record<string, unknown>>;

/** The claims of a token do not name a principal. */
export class UnmappedClaims extends Error {}

/** Tokens are small, but a group may be listed very often in 8 KiB. */
const MOST_VALUES = 1_000;

/** What stands at a path; only own properties are looked at. */
export function claimAt(claims: Claims, path: ClaimPath): unknown {
  // Names such as `https://example.com/roles` hold dots themselves.
  if (typeof path === "string" && Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const step of typeof path === "string" ? path.split(".") : path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step]; // an object, as was just seen
  }
  return value;
}

/** The texts at some paths, each once. */
export function textsAt(claims: Claims, paths: readonly ClaimPath[]): readonly string[] {
  const texts = paths.flatMap((path) => {
    const value = claimAt(claims, path);
    return Array.isArray(value) ? value.slice(0, MOST_VALUES) : [value];
  });
  return [...new Set(texts.filter((text) => typeof text === "string"))];
}

/** OAuth's scopes: one text with blanks between them, or a list (`scp` of some issuers). */
export function scopesOf(claims: Claims): readonly string[] {
  return textsAt(claims, [["scope"], ["scp"]]).flatMap((text) => text.split(" ").filter(Boolean));
}

/** @throws {UnmappedClaims} a level is missing, ambiguous, or no id. */
export function principalOf(claims: Claims, { user, team, organization }: ClaimsMapping): Principal {
  return checkedPrincipal({
    organization: idAt(claims, organization),
    team: idAt(claims, team),
    user: idAt(claims, user),
  });
}

/** Copies a principal, if it is one. @throws {UnmappedClaims} it is none, or names nobody. */
export function checkedPrincipal(value: unknown): Principal {
  if (typeof value !== "object" || value === null) throw new UnmappedClaims();
  const found = Object.entries(value).filter(([, id]) => id !== undefined);
  if (found.length === 0) throw new UnmappedClaims();
  for (const [level, id] of found) {
    const isLevel = level === "organization" || level === "team" || level === "user" || level === "key";
    if (!isLevel || typeof id !== "string" || !ID.test(id)) throw new UnmappedClaims();
  }
  // Every field was checked.
  return Object.freeze(Object.fromEntries(found)) as Principal;
}

function idAt(claims: Claims, rule: ClaimRule | false | undefined): string | undefined {
  if (rule === undefined || rule === false) return undefined;
  const { claim, prefix = "", optional = false } = typeof rule === "object" && "claim" in rule ? rule : { claim: rule };
  const value = claimAt(claims, claim);
  const texts = textsAt(claims, [claim]).filter((text) => text.startsWith(prefix));
  const ids = texts.map((text) => text.slice(prefix.length));
  // A list of groups holds others, too, such as groups within groups; a single claim is meant as it stands.
  const fitting = Array.isArray(value) ? ids.filter((id) => ID.test(id)) : ids;
  if (fitting.length === 1) return fitting[0];
  if (fitting.length === 0 && optional) return undefined;
  // Several: which one pays is not ours to guess.
  throw new UnmappedClaims();
}
