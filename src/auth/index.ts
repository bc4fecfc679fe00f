/** `llm-switchyard/auth`: who is calling, by virtual keys and by access tokens. */
export type { Principal } from "../access/principal.js";
export { type JwtAuthenticator, jwt } from "./jwt.js";
export { type KeycloakOptions, keycloak } from "./keycloak.js";
export type {
  ClaimPath,
  ClaimRule,
  ClaimsMapping,
  JwtAlgorithm,
  JwtOptions,
  JwtRefusal,
  VerifiedToken,
} from "./options.js";
export { type Authenticator, type CredentialRequest, keysOrTokens, virtualKeys } from "./virtual-keys.js";
