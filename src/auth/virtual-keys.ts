import type { Directory } from "../access/directory.js";
import type { Principal } from "../access/principal.js";

/** What is needed of a request to tell who sent it: the one credential that it carried. */
export interface CredentialRequest {
  readonly apiKey: string | undefined;
}

/** Fits `authenticate` of `createHandler`. */
export type Authenticator = (request: CredentialRequest) => Principal | Promise<Principal>;

/** Authenticates by the virtual keys of a directory. */
export function virtualKeys(directory: Pick<Directory, "authenticateKey">): Authenticator {
  return function authenticateKey({ apiKey }) {
    return directory.authenticateKey(apiKey);
  };
}

/** The form of a JWT; generated keys have no dots. */
const JWT = /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/;

/**
 * Takes keys and tokens. The form of a credential alone says which it is: it is given to one of the two and never to
 * the other, so that a token that is refused is not tried as a key.
 */
export function keysOrTokens(keys: Authenticator, tokens: Authenticator): Authenticator {
  return function authenticateKeyOrToken(request) {
    return JWT.test(request.apiKey ?? "") ? tokens(request) : keys(request);
  };
}
