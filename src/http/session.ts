import { routerError } from "../errors/router-error.js";
import type { HttpRequest } from "./http-request.js";

/** The request header in which a client says what belongs together. */
const SESSION_HEADER = "x-switchyard-session-id";
const LONGEST_ID = 512;

/**
 * What the client calls the session that its request belongs to. It says nothing about where that is: only that it is the same.
 *
 * @throws {RouterError} `invalid_request`: the header is no name, or is there twice.
 */
export function sessionOf(request: HttpRequest): string | undefined {
  const id = request.header(SESSION_HEADER);
  if (id === undefined) return undefined;
  if (id !== "" && id.length <= LONGEST_ID && !request.repeatsHeader(SESSION_HEADER)) return id;
  throw routerError("invalid_request", {
    param: SESSION_HEADER,
    message: `Expected the header \`${SESSION_HEADER}\` once, with 1 to ${LONGEST_ID} characters.`,
  });
}
