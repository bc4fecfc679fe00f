import { badResponse, type UpstreamError, unreachable } from "../errors/upstream-error.js";

/** How far a call had come when its connection failed. */
export type FaultStage = "connect" | "answer" | "body";

/** Bytes of header names and values (S32's table: over it, a bad response). */
export const MAX_HEADER_BYTES = 16 * 1024;

/**
 * What a failure of a connection means. The message has the host and a code, and nothing else of the error: parsers
 * quote the answer in theirs (S18). For the same reason there is no `cause`.
 *
 * @param thrown - An error of undici, of the platform's `fetch` or of a socket.
 * @param origin - Scheme, host and port that were called.
 */
export function connectionFault(thrown: unknown, origin: string, stage: FaultStage): UpstreamError {
  const host = hostOf(origin);
  const code = codeOf(thrown);
  switch (code) {
    case "UND_ERR_HEADERS_OVERFLOW":
    case "HPE_HEADER_OVERFLOW":
      return badResponse(`${host} sent more than ${MAX_HEADER_BYTES} bytes of headers`);
    case "ECONNREFUSED":
    case "ConnectionRefused": // Bun
      return unreachable(`connection refused by ${host}`);
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EAI_FAIL":
    case "ENODATA":
    case "ESERVFAIL":
      return unreachable(`the name of ${host} cannot be resolved (${code})`);
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "EHOSTDOWN":
    case "ENETDOWN":
    case "EADDRNOTAVAIL":
      return unreachable(`there is no route to ${host} (${code})`);
    case "ETIMEDOUT":
    case "UND_ERR_CONNECT_TIMEOUT":
      return unreachable(`the connection to ${host} timed out`);
    case "ERR_ADDRESS_NOT_ALLOWED":
      return unreachable(`${host} has an address that may not be called`);
    case "UND_ERR_RES_CONTENT_LENGTH_MISMATCH":
    case "HPE_INVALID_EOF_STATE":
      return unreachable(`${host} closed the connection in the middle of its answer`);
    case "ECONNRESET":
    case "ECONNABORTED":
    case "EPIPE":
    case "UND_ERR_SOCKET":
    case "ERR_STREAM_PREMATURE_CLOSE":
      return unreachable(`${host} closed the connection ${STAGE_WORDS[stage]}`);
  }
  if (code?.startsWith("HPE_") || isParserError(thrown)) return unreachable(`the answer of ${host} is not valid HTTP`);
  if (code !== undefined && TLS_CODE.test(code)) return unreachable(`TLS with ${host} failed (${code})`);
  return unreachable(`the connection to ${host} failed ${STAGE_WORDS[stage]}${code === undefined ? "" : ` (${code})`}`);
}

const STAGE_WORDS: Record<FaultStage, string> = {
  connect: "before a request was sent",
  answer: "before it answered",
  body: "in the middle of its answer",
};

const TLS_CODE =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/;
const CODE = /^[A-Za-z][A-Za-z0-9_]{1,63}$/;

function hostOf(origin: string): string {
  return origin.slice(origin.indexOf("//") + 2);
}

/** undici's parser errors mostly have no code. */
function isParserError(thrown: unknown): boolean {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 4; depth++) {
    if (error.name === "HTTPParserError") return true;
    error = error.cause;
  }
  return false;
}

/** `fetch` wraps what happened in a `TypeError` with a `cause`. */
function codeOf(thrown: unknown): string | undefined {
  for (let error = thrown, depth = 0; typeof error === "object" && error !== null && depth < 4; depth++) {
    if ("code" in error && typeof error.code === "string" && CODE.test(error.code)) return error.code;
    error = "cause" in error ? error.cause : undefined;
  }
  return undefined;
}
