import type { Team, User } from "./entries.js";

/** What an entry or a principal says that belongs together. `undefined`: not named. */
export interface Membership {
  readonly user: User | undefined;
  readonly team: Team | undefined;
  /** The organization that was named beside them. */
  readonly organization: string | undefined;
}

export interface MembershipProblem {
  readonly field: "organization" | "team" | "user";
  readonly message: string;
}

/**
 * The organization that follows from a user and a team: the team's, else the user's, else the one that was named.
 *
 * A user who states an organization belongs to that one alone; one who states none may be in teams of several.
 *
 * @returns a problem if they do not belong together.
 */
export function organizationOf({ user, team, organization }: Membership): string | undefined | MembershipProblem {
  if (user && team) {
    if (!user.teams?.includes(team.id)) return { field: "team", message: "is none of the user's `teams`" };
    if (user.organization !== undefined && user.organization !== team.organization) {
      return { field: "team", message: "belongs to another organization than the user" };
    }
  }
  const implied = team ? team.organization : user?.organization;
  if (!team && !user) return organization;
  if (organization !== undefined && organization !== implied) {
    return { field: "organization", message: `is not that of the ${team ? "team" : "user"}` };
  }
  return implied;
}

export function isProblem(value: string | undefined | MembershipProblem): value is MembershipProblem {
  return typeof value === "object";
}
