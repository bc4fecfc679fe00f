import type { ErrorClass, UpstreamError } from "../errors/upstream-error.js";
import type { DeploymentHealth } from "./deployment-health.js";

/** How recently both deployments must have served others (routing §5). */
const OK_WITHIN_MS = 10_000;

/**
 * Classes in which an upstream answers about this request. Transport faults and timeouts never do; rate limits, overload,
 * quota and refused credentials speak of an account that several deployments may share.
 */
const ANSWERS: ReadonlySet<ErrorClass> = new Set(["server", "permission", "not_found"]);

/** One failed attempt of a request. */
export interface FailedAnswer {
  readonly health: DeploymentHealth;
  readonly error: UpstreamError;
}

/**
 * Do two failures of one request show that the request is at fault (routing §5)? They do when a second deployment gives
 * the same status and text, while both serve others. Both attempts are then re-classed as `caller`.
 */
export function isPoisonRequest(first: FailedAnswer, second: FailedAnswer, now: number): boolean {
  return (
    first.health !== second.health &&
    first.error.status !== undefined &&
    first.error.status === second.error.status &&
    first.error.message === second.error.message &&
    ANSWERS.has(first.error.errorClass) &&
    ANSWERS.has(second.error.errorClass) &&
    first.health.wasOkWithin(OK_WITHIN_MS, now) &&
    second.health.wasOkWithin(OK_WITHIN_MS, now)
  );
}
