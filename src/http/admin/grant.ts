import { z } from "zod";
import type { Directory } from "../../access/directory.js";
import type { EntryOf, Level, Organization, Permissions, Team } from "../../access/entries.js";
import { routerError } from "../../errors/router-error.js";

export const ADMIN_ROLES = ["admin", "organization-admin", "team-admin", "viewer"] as const;
export type AdminRole = (typeof ADMIN_ROLES)[number];

interface GrantBase {
  /** Who it is, for the audit: 1–256 characters. */
  readonly actor: string;
}

/** What a caller of the management routes may do. */
export type AdminGrant =
  /** Everything. */
  | (GrantBase & { readonly role: "admin" })
  /** Teams, users and keys of one organization, within what that has itself. */
  | (GrantBase & { readonly role: "organization-admin"; readonly organization: string })
  /** Keys of one team, within what that and its organization have. */
  | (GrantBase & { readonly role: "team-admin"; readonly team: string })
  /** Reads: everything, or what belongs to an organization or a team. */
  | (GrantBase & {
      readonly role: "viewer";
      readonly organization?: string | undefined;
      readonly team?: string | undefined;
    });

const actor = z.string().min(1).max(256);
const grantSchema = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("admin"), actor }),
  z.strictObject({ role: z.literal("organization-admin"), actor, organization: z.string().min(1) }),
  z.strictObject({ role: z.literal("team-admin"), actor, team: z.string().min(1) }),
  z
    .strictObject({
      role: z.literal("viewer"),
      actor,
      organization: z.string().min(1).optional(),
      team: z.string().min(1).optional(),
    })
    .refine(({ organization, team }) => organization === undefined || team === undefined),
]);

/**
 * What the host said of a caller. A grant that is none lets nobody in.
 *
 * @throws {RouterError} `internal_error`.
 */
export function checkGrant(value: unknown): AdminGrant {
  const result = grantSchema.safeParse(value);
  if (result.success) return result.data;
  throw routerError("internal_error", { message: "What `authorize` returned is no grant of the management routes." });
}

/** What a caller reaches: everything, one organization, or one team. */
export type AdminScope =
  | { readonly kind: "everything" }
  | { readonly kind: "organization"; readonly organization: Organization }
  | { readonly kind: "team"; readonly team: Team; readonly organization: Organization | undefined };

/** @throws {RouterError} `permission_denied`: what the grant is for does not exist, or is blocked or expired. */
export async function scopeOf(grant: AdminGrant, directory: Directory, wallNow: number): Promise<AdminScope> {
  const organizationId = "organization" in grant ? grant.organization : undefined;
  const teamId = "team" in grant ? grant.team : undefined;
  if (teamId !== undefined) {
    const team = usable(await directory.teams.get(teamId), wallNow);
    const { organization: outer } = team;
    const organization = outer === undefined ? undefined : usable(await directory.organizations.get(outer), wallNow);
    return { kind: "team", team, organization };
  }
  if (organizationId === undefined) return { kind: "everything" };
  return { kind: "organization", organization: usable(await directory.organizations.get(organizationId), wallNow) };
}

function usable<T extends Permissions>(entry: T | undefined, wallNow: number): T {
  if (entry && entry.blocked !== true && wallNow < (entry.expiresAt ?? Number.POSITIVE_INFINITY)) return entry;
  throw routerError("permission_denied", {
    message: "The organization or team that your grant is for does not exist, or is blocked or expired.",
  });
}

/** Is the entry within the scope? What is not, behaves as unknown (S40). */
export function isWithin<L extends Level>(scope: AdminScope, level: L, entry: EntryOf[L]): boolean {
  if (scope.kind === "everything") return true;
  // Read loosely: not every level has every one of these fields.
  const { organization, team, teams } = entry as Partial<EntryOf["key"] & EntryOf["user"]>;
  if (scope.kind === "organization") {
    return level === "organization" ? entry.id === scope.organization.id : organization === scope.organization.id;
  }
  switch (level) {
    case "organization":
      return false;
    case "team":
      return entry.id === scope.team.id;
    case "user":
      return teams?.includes(scope.team.id) === true;
    default:
      return team === scope.team.id;
  }
}
