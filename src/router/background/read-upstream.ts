import type { Deployment } from "../../deployments/deployment.js";
import { secretsOf } from "../../deployments/secrets.js";
import { sanitisedMessage } from "../../errors/sanitise.js";
import { badResponse, UpstreamError, unreachable } from "../../errors/upstream-error.js";
import { Cancellation } from "../../internal/cancellation.js";
import type { Clock } from "../../internal/clock.js";
import type { EncodedRequest, WireUpstream } from "../../providers/provider.js";
import type { Exchange, Transport } from "../../transport/transport.js";

/** What reading takes. */
export interface Reach {
  readonly clock: Clock;
  readonly transport: Transport;
}

export interface ReadLimits {
  /** For all of it, the credential included. */
  readonly timeoutMs: number;
  /** Of the body. */
  readonly maxBytes: number;
  /** The deployment's credential and headers go along. */
  readonly isAuthorized: boolean;
}

/** A whole answer, of any status. */
export interface WholeAnswer {
  readonly status: number;
  readonly text: string;
}

/** As much of an error's body is read, so that the connection can serve again. */
const MAX_ERROR_BYTES = 65_536;

/**
 * One `GET` that no caller asked for: with the deployment's own credential, connections and way out, and bounded in time
 * and size.
 *
 * @param stop - Ends it at once.
 * @throws {UpstreamError} no answer, or none that can be read.
 */
export async function readUpstream(
  reach: Reach,
  deployment: Deployment,
  request: EncodedRequest,
  limits: ReadLimits,
  stop: Cancellation,
): Promise<WholeAnswer> {
  const over = new Cancellation();
  const stopFollowing = stop.onCancel((reason) => over.cancel(reason));
  const { timeoutMs } = limits;
  const timer = reach.clock.schedule(
    timeoutMs,
    () => over.cancel(new UpstreamError(`no answer within ${Math.round(timeoutMs)} ms`, { errorClass: "timeout" })),
    true,
  );
  try {
    return await Promise.race([exchangeWith(reach, deployment, request, limits, over), over.asRejection()]);
  } finally {
    timer.cancel();
    stopFollowing();
    // Whatever is still under way: after a whole answer nothing is.
    over.cancel(new Error("the read is over"));
  }
}

async function exchangeWith(
  { transport }: Reach,
  deployment: Deployment,
  request: EncodedRequest,
  { maxBytes, isAuthorized }: ReadLimits,
  over: Cancellation,
): Promise<WholeAnswer> {
  // Upkeep is only made for upstreams behind HTTP.
  const upstream = deployment.upstream as WireUpstream;
  const { credential } = deployment;
  const authorized = isAuthorized ? await upstream.authorize(request, await keyOf(deployment)) : request;
  over.throwIfCancelled();
  const exchange: Exchange = transport.send({
    method: authorized.method,
    origin: request.origin ?? upstream.origin,
    path: authorized.path,
    headers: isAuthorized ? { ...authorized.headers, ...deployment.headers } : authorized.headers,
    body: authorized.body,
    partition: deployment.partition,
    isStrict: deployment.isolation === "strict",
  });
  over.onCancel((reason) => exchange.cancel(reason));
  const { status, headers, body } = await exchange.response;
  const coding = headers.get("content-encoding");
  // S36: never asked for, so it is not decoded.
  if (coding !== undefined && coding !== "identity") throw badResponse("the answer has a content coding");
  if (status === 401 && isAuthorized && credential.isRenewable) credential.drop();
  if (status < 200 || status >= 300) return { status, text: await body.text(MAX_ERROR_BYTES).catch(() => "") };
  return { status, text: await body.text(maxBytes) };
}

async function keyOf({ credential }: Deployment): Promise<string | undefined> {
  try {
    return await credential.resolve();
  } catch {
    // What it threw may hold the credential, so nothing of it is kept (S18).
    throw unreachable("the deployment's `apiKey` function failed");
  }
}

/** @throws {UpstreamError} the answer is an error, or leads elsewhere. */
export function textOfSuccess({ status, text }: WholeAnswer, what: string): string {
  if (status >= 200 && status < 300) return text;
  throw badResponse(`${what} was answered with the status ${status}`);
}

/** For `status()`: nothing that the upstream said but what the dialect made of it. */
export function describeProblem(error: unknown, deployment: Deployment): string {
  if (!(error instanceof UpstreamError)) return "the answer could not be read";
  return sanitisedMessage(error.message, secretsOf(deployment));
}
