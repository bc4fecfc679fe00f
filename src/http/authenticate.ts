import { RouterError, routerError } from "../errors/router-error.js";
import { onAbort } from "../internal/abort.js";
import type { Clock } from "../internal/clock.js";
import type { Principal } from "../plugins/plugin.js";
import type { HttpRequest } from "./http-request.js";
import type { RouteName } from "./route.js";

/** What `authenticate` sees of a request: never its body. */
export interface AuthenticateRequest<Route extends string = RouteName> {
  readonly method: string;
  /** What the caller wants to do, such as `chat.completions` or `models.list`. */
  readonly route: Route;
  /**
   * The one credential that was sent: the token of `authorization: Bearer`, or the value of `api-key` or `x-api-key`.
   * Requests whose carriers disagree are refused before this is called.
   */
  readonly apiKey: string | undefined;
  /** A header's value, names in any case; `null` where it was not sent. */
  readonly headers: { get(name: string): string | null };
  /** Aborts when the client leaves, or takes the answer no more. */
  readonly signal: AbortSignal;
}

export type Authenticate = (request: AuthenticateRequest) => Principal | Promise<Principal>;

/** Where it is said that a function of the host's broke instead of refusing. */
export interface BrokenReport {
  /** Of the function. */
  readonly name: "authenticate" | "authorizeMetrics" | "authorize";
  tell(message: string): void;
}

/** May whoever calls read the metrics? Only `true` says so. */
export type AuthorizeMetrics = (request: AuthenticateRequest) => boolean | Promise<boolean>;

/**
 * The metrics tell about all tenants: they need a word of the host's own, for a key that may use models says nothing about
 * them. Where nobody is told apart, there is nobody to keep out.
 *
 * @throws {RouterError} `permission_denied`; `invalid_api_key` where `authorizeMetrics` threw.
 */
export async function checkMetricsGrant(
  {
    authorizeMetrics,
    authenticate,
  }: {
    readonly authorizeMetrics: AuthorizeMetrics | undefined;
    readonly authenticate: Authenticate | false | undefined;
  },
  request: HttpRequest,
  clock: Clock,
  timeoutMs: number,
  broken?: BrokenReport,
): Promise<void> {
  if (!authorizeMetrics) {
    if (!authenticate && !request.principal) return;
    throw routerError("permission_denied", { message: NO_METRICS_GRANT });
  }
  const grantOf = (isAllowed: boolean) => ({ isAllowed: isAllowed === true });
  const ask = (seen: AuthenticateRequest) => {
    const answer = authorizeMetrics(seen);
    return isPromise(answer) ? answer.then(grantOf) : grantOf(answer);
  };
  const { isAllowed } = await authenticateRequest(ask, request, "metrics", clock, timeoutMs, broken);
  if (!isAllowed) throw routerError("permission_denied", { message: "You may not read the metrics." });
}

const NO_METRICS_GRANT =
  "Nobody may read the metrics: say with the handler's `authorizeMetrics` who may, for they tell about all tenants.";

/**
 * Asks the host who is calling.
 *
 * @typeParam Who - What it answers: an object, a principal or a grant.
 * @param broken - Told in words, without what was sent, when the host's function threw what is no `RouterError`, or did
 *   not answer in time: that refuses everybody, and nobody would know.
 *
 * @throws {RouterError} what `authenticate` threw if it is one; anything else, no principal or no answer in time is
 * `invalid_api_key`, always with the same words (S15).
 */
export async function authenticateRequest<Who extends object, Route extends string>(
  authenticate: (request: AuthenticateRequest<Route>) => Who | Promise<Who>,
  request: HttpRequest,
  route: Route,
  clock: Clock,
  timeoutMs: number,
  broken?: BrokenReport,
): Promise<Who> {
  const apiKey = soleCredential(request);
  try {
    const answer = authenticate(
      Object.freeze({
        method: request.method,
        route,
        apiKey,
        headers: Object.freeze({ get: (name: string) => request.header(name.toLowerCase()) ?? null }),
        signal: request.signal,
      }),
    );
    // Most directories are in memory and answer at once: no timer for those.
    const principal = isPromise(answer) ? await settleWithin(answer, clock, timeoutMs, request.signal) : answer;
    // A function that forgets to return must not let everybody in.
    if (typeof principal !== "object" || principal === null) throw invalidApiKey();
    return principal;
  } catch (error) {
    if (!RouterError.isRouterError(error)) broken?.tell(brokenMessage(broken.name, error, timeoutMs));
    else if (error.code !== "invalid_api_key") throw error;
    throw invalidApiKey();
  }
}

/** The host's function took too long. */
class NoAnswerInTime extends Error {}

/** What went wrong, by its class and code alone: the text of an error may quote the credential (S18). */
function brokenMessage(name: string, error: unknown, timeoutMs: number): string {
  const what =
    error instanceof NoAnswerInTime ? `did not answer within ${timeoutMs} ms` : `threw ${describeThrown(error)}`;
  return `The handler's \`${name}\` ${what}, so that the caller was refused (401). To refuse, throw \`routerError("invalid_api_key")\`; where it cannot tell, \`routerError("accounting_unavailable")\`, which clients repeat.`;
}

const WORD = /^\w{1,40}$/;

function describeThrown(error: unknown): string {
  if (!(error instanceof Error)) return "what is no error";
  const { name, code } = error as Error & { readonly code?: unknown }; // of Node and of drivers
  const shownCode = typeof code === "string" && WORD.test(code) ? ` (${code})` : "";
  return WORD.test(name) ? `${/^[aeiou]/i.test(name) ? "an" : "a"} ${name}${shownCode}` : `an error${shownCode}`;
}

/** Built anew from the catalogue: whatever the cause was, clients cannot tell (S15). */
function invalidApiKey(): RouterError {
  return routerError("invalid_api_key");
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

const BEARER = /^bearer +/i;
/** `Bearer` and `Basic` credentials hold no comma: a second one was joined on. */
const JOINED = /^(?:bearer|basic) .*,|, *(?:bearer|basic) /i;

/**
 * The credential of a request, where all that carry one agree (S9).
 *
 * @throws {RouterError} `invalid_api_key`: carriers are repeated or disagree.
 */
function soleCredential(request: HttpRequest): string | undefined {
  if (
    request.repeatsHeader("authorization") ||
    request.repeatsHeader("api-key") ||
    request.repeatsHeader("x-api-key")
  ) {
    throw invalidApiKey();
  }
  let credential: string | undefined;
  const authorization = request.header("authorization");
  if (authorization !== undefined) {
    if (JOINED.test(authorization)) throw invalidApiKey();
    // Other schemes are for `authenticate` to read; a key beside them would be a second credential.
    credential = authorization.replace(BEARER, "").trim();
  }
  for (const name of ["api-key", "x-api-key"]) {
    const value = request.header(name)?.trim();
    if (value === undefined) continue;
    if (value.includes(",") || (credential !== undefined && credential !== value)) throw invalidApiKey();
    credential = value;
  }
  if (authorization !== undefined && !BEARER.test(authorization)) return undefined;
  return credential === "" ? undefined : credential;
}

/** @throws what `promise` rejects with, or an error when the time is over or `signal` aborts. */
function settleWithin<T>(promise: Promise<T>, clock: Clock, timeoutMs: number, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.schedule(timeoutMs, () => fail(new NoAnswerInTime()), true);
    let stopListening = () => {};
    const stopWaiting = () => {
      timer.cancel();
      stopListening();
    };
    const fail = (error: unknown) => {
      stopWaiting();
      reject(error);
    };
    stopListening = onAbort(signal, (cause) => fail(routerError("cancelled", { cause })));
    promise.then((value) => {
      stopWaiting();
      resolve(value);
    }, fail);
  });
}
