import { InvalidOptionsError } from "../errors/router-error.js";
import type { ClaimsMapping, JwtOptions } from "./options.js";

export interface KeycloakOptions extends Omit<JwtOptions, "issuer" | "jwksUrl" | "discover" | "jwks" | "publicKeys"> {
  /** Where Keycloak is, as its tokens say in `iss`, without the realm: `https://sso.example.com`. */
  readonly url: string;
  readonly realm: string;
  /** Its client roles count beside the realm's. */
  readonly clientId?: string | undefined;
  /** Groups that are teams are those below this one: `/teams/`. Left out: tokens name no team. */
  readonly teamGroups?: string | undefined;
}

/**
 * Options of {@link jwt} for a realm of Keycloak: its issuer and keys, realm and client roles, groups as teams.
 *
 * Keycloak names the audience only if a mapper says so, and groups only with a group membership mapper ("full group
 * path" on) of the claim `groups`.
 *
 * @throws {InvalidOptionsError} `url` or `realm` cannot be used.
 */
export function keycloak(options: KeycloakOptions): JwtOptions {
  const { url, realm, clientId, teamGroups, claims, ...others } = options;
  const issues = [];
  if (typeof url !== "string" || !URL.canParse(url)) issues.push({ path: "url", message: "expected a URL" });
  if (typeof realm !== "string" || realm === "" || /[/?#]/.test(realm)) {
    issues.push({ path: "realm", message: "expected the name of a realm" });
  }
  if (issues.length > 0) throw new InvalidOptionsError(issues);
  const issuer = `${url.replace(/\/+$/, "")}/realms/${encodeURIComponent(realm)}`;
  const mapping: ClaimsMapping = {
    // People without a group of that kind are charged for themselves.
    ...(teamGroups !== undefined && { team: { claim: "groups", prefix: teamGroups, optional: true } }),
    roles: [["realm_access", "roles"], ...(clientId === undefined ? [] : [["resource_access", clientId, "roles"]])],
    ...claims,
  };
  return { ...others, issuer, jwksUrl: `${issuer}/protocol/openid-connect/certs`, claims: mapping };
}
