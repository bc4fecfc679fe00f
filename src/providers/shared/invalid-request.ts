import { UpstreamError } from "../../errors/upstream-error.js";

/** The caller's mistake, which no deployment could serve. @param expected - "a list of parts". */
export function malformed(param: string, expected: string): UpstreamError {
  return new UpstreamError(`Expected \`${param}\` to be ${expected}.`, { errorClass: "invalid_request", param });
}

/** What another deployment may be able to serve. @param param - The field as the caller names it. */
export function missingFeature(message: string, param: string | null): UpstreamError {
  return new UpstreamError(message, { errorClass: "invalid_request", lacksFeature: true, param });
}
