import { authenticatingBy, directoryOf } from "../access/authenticating-directory.js";
import type { Directory } from "../access/directory.js";
import type { Principal } from "../access/principal.js";
import { InvalidOptionsError } from "../errors/router-error.js";
import { isObjectWith } from "../internal/object-with.js";

/** What is needed of a request to tell who sent it: the one credential that it carried. */
export interface CredentialRequest {
  readonly apiKey: string | undefined;
}

/** Fits `authenticate` of `createHandler`. */
export type Authenticator = (request: CredentialRequest) => Principal | Promise<Principal>;

const isDirectory = isObjectWith("authenticateKey");

/**
 * Authenticates by the virtual keys of a directory. It belongs to a router with the same one, which enforces what the
 * keys' entries say: `createHandler` refuses it elsewhere.
 *
 * @throws {InvalidOptionsError} it is no directory.
 */
export function virtualKeys(directory: Pick<Directory, "authenticateKey">): Authenticator {
  if (!isDirectory(directory)) {
    const message = "expected a directory: what `createDirectory` makes, or `directory` of `postgres`";
    throw new InvalidOptionsError([{ path: "directory", message }]);
  }
  return authenticatingBy(directory, function authenticateKey({ apiKey }: CredentialRequest) {
    return directory.authenticateKey(apiKey);
  });
}

/** The form of a JWT; generated keys have no dots. */
const JWT = /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/;

/**
 * Takes keys and tokens. The form of a credential alone says which it is: it is given to one of the two and never to
 * the other, so that a token that is refused is not tried as a key.
 *
 * @throws {InvalidOptionsError} one of the two is no function.
 */
export function keysOrTokens(keys: Authenticator, tokens: Authenticator): Authenticator {
  const issues = Object.entries({ keys, tokens })
    .filter(([, authenticate]) => typeof authenticate !== "function")
    .map(([path]) => ({ path, message: "expected a function: what `virtualKeys` or `jwt` makes, or your own" }));
  if (issues.length > 0) throw new InvalidOptionsError(issues);
  return authenticatingBy(directoryOf(keys), function authenticateKeyOrToken(request: CredentialRequest) {
    return JWT.test(request.apiKey ?? "") ? tokens(request) : keys(request);
  });
}
