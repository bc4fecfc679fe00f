import type { Allowance, Permissions } from "../../access/entries.js";
import { patternMatcher } from "../../access/patterns.js";
import { type RouterError, routerError } from "../../errors/router-error.js";
import type { AdminScope } from "./grant.js";

/** An entry whose limits a grant stays within. */
interface Bound {
  /** In the words of an error: `organization "acme"`. */
  readonly name: string;
  readonly permissions: Permissions;
}

/** Of soft budgets nothing is refused, so that there is nothing to exceed. */
const AMOUNTS = ["rpm", "tpm", "maxParallel", "budgetUsd"] as const satisfies readonly (keyof Allowance)[];

/**
 * S10: a grant never exceeds the granter's own. All levels of a principal apply together, so that larger numbers would
 * give nothing; but what is written down should be what holds.
 *
 * @param fields - Those that are being set.
 * @throws {RouterError} `permission_denied` that names the field.
 */
export function refuseExcess(scope: AdminScope, fields: Permissions): void {
  for (const bound of boundsOf(scope)) {
    const { name, permissions } = bound;
    refuseAmounts(fields, permissions, name, "");
    for (const [pattern, allowance] of Object.entries(fields.modelLimits ?? {})) {
      const place = `modelLimits[${JSON.stringify(pattern)}].`;
      refuseAmounts(allowance, permissions, name, place);
      const { modelLimits = {} } = permissions;
      // Patterns are the user's words: not every object's own.
      const same = Object.hasOwn(modelLimits, pattern) ? modelLimits[pattern] : undefined;
      if (same) refuseAmounts(allowance, same, `${name} for these models`, place);
    }
    if (fields.models && permissions.models) refuseModels(fields.models, permissions.models, name);
  }
}

function boundsOf(scope: AdminScope): readonly Bound[] {
  if (scope.kind === "everything") return [];
  const { organization } = scope;
  const bounds: Bound[] = [];
  if (organization) bounds.push({ name: `organization ${JSON.stringify(organization.id)}`, permissions: organization });
  if (scope.kind === "team") bounds.push({ name: `team ${JSON.stringify(scope.team.id)}`, permissions: scope.team });
  return bounds;
}

function refuseAmounts(asked: Allowance, own: Allowance, name: string, place: string): void {
  for (const field of AMOUNTS) {
    const [wanted, most] = [asked[field], own[field]];
    if (wanted !== undefined && most !== undefined && wanted > most) {
      throw denied(place + field, `${wanted} is more than the ${most} of ${name}`);
    }
  }
}

function refuseModels(asked: readonly string[], own: readonly string[], name: string): void {
  const { allows: ownAllows, denies: ownDenies } = split(own);
  const { allows, denies } = split(asked);
  for (const pattern of allows) {
    if (!ownAllows.some((outer) => covers(outer, pattern))) {
      throw denied("models", `${JSON.stringify(pattern)} is more than what ${name} may use`);
    }
    const open = ownDenies.find(
      (denied) => mayOverlap(denied, pattern) && !denies.some((outer) => covers(outer, denied)),
    );
    if (open === undefined) continue;
    const message = `${JSON.stringify(pattern)} may stand for what ${name} denies: add ${JSON.stringify(`!${open}`)}`;
    throw denied("models", message);
  }
}

function split(patterns: readonly string[]): {
  readonly allows: readonly string[];
  readonly denies: readonly string[];
} {
  return {
    allows: patterns.filter((pattern) => !pattern.startsWith("!")),
    denies: patterns.filter((pattern) => pattern.startsWith("!")).map((pattern) => pattern.slice(1)),
  };
}

/**
 * Does `outer` match whatever `inner` matches? If it matches the pattern's own text, a `*` of `inner` can only have
 * fallen to a `*` of `outer`, which takes whatever that stands for as well.
 */
export function covers(outer: string, inner: string): boolean {
  return outer === inner || patternMatcher(outer)(inner);
}

/** Can there be a name that both match? `true` in doubt. */
export function mayOverlap(one: string, other: string): boolean {
  if (!one.includes("*")) return patternMatcher(other)(one);
  if (!other.includes("*")) return patternMatcher(one)(other);
  const head = (pattern: string) => pattern.slice(0, pattern.indexOf("*"));
  const tail = (pattern: string) => pattern.slice(pattern.lastIndexOf("*") + 1);
  const [headOne, headOther] = [head(one), head(other)];
  const [tailOne, tailOther] = [tail(one), tail(other)];
  return (
    (headOne.startsWith(headOther) || headOther.startsWith(headOne)) &&
    (tailOne.endsWith(tailOther) || tailOther.endsWith(tailOne))
  );
}

function denied(param: string, message: string): RouterError {
  return routerError("permission_denied", { message: `${param}: ${message}.`, param });
}
