import { UpstreamError } from "../errors/upstream-error.js";

/** The caller's mistake, which no deployment could serve. @param expected - "a list of parts". */
export function malformed(param: string, expected: string): UpstreamError {
  return new UpstreamError(`Expected \`${param}\` to be ${expected}.`, { errorClass: "invalid_request", param });
}
