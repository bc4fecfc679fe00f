import { NoApiKey } from "../deployments/credential.js";
import type { Deployment } from "../deployments/deployment.js";
import { badResponse, UpstreamError, unreachable } from "../errors/upstream-error.js";
import { Cancellation } from "../internal/cancellation.js";
import { leaveIterator } from "../internal/leave-iterator.js";
import type { EmbeddingReply, EmbeddingRequest } from "../protocol/embeddings.js";
import type { Chunk, Reply, RequestBody } from "../protocol/operations.js";
import type { Usage } from "../protocol/usage.js";
import type { DirectUpstream, RelayPiece, StreamDecoder, WholeResponse, WireUpstream } from "../providers/provider.js";
import { decodeText } from "../transport/bytes.js";
import type { Exchange, TransportResponse } from "../transport/transport.js";
import { withinReserve } from "./amounts.js";
import { Attempt } from "./attempt.js";
import type { AttemptRace } from "./attempt-race.js";
import { AudioNotingDecoder, audioNote } from "./audio-note.js";
import { isContinuable, isReshaped } from "./continuable.js";
import { callInBatches, embeddingBatches, inOrder, inputCount, type WireCall } from "./embedding-batches.js";
import { finishReasonOf, outputLengthOf, repeatedTextOf, usageOf } from "./reply-facts.js";
import type { Lease, RequestState } from "./request.js";
import type { Runtime } from "./runtime.js";
import { refuseEmptyFiltered, UpstreamStream } from "./stream.js";
import { DirectSource, type UpstreamSource, WireSource } from "./upstream-source.js";
import { withinRequest } from "./within-request.js";

/** What an attempt, and so a group, brought: a whole reply, or a stream that has reached its first content. */
export type AttemptAnswer =
  | { readonly kind: "reply"; readonly reply: Reply }
  | { readonly kind: "stream"; readonly stream: UpstreamStream };

type Begun =
  | { readonly kind: "reply"; readonly reply: Reply }
  | { readonly kind: "source"; readonly source: UpstreamSource<Chunk | RelayPiece> };

const ignore = () => {};

/** Bytes of an upstream's JSON answer (S32). */
const MAX_REPLY_BYTES = 32 * 1024 * 1024;
const OPENING_BRACE = 0x7b;
/** Bytes of an error body that are looked at. */
const MAX_ERROR_BYTES = 1024 * 1024;

/**
 * One upstream call. What it learned (outcome, latency, usage) is reported before it returns or throws.
 *
 * @throws {AttemptFailure} the upstream failed; the group decides what follows.
 * @throws {RouterError} the request is over: cancelled, past its deadline, refused by a guard.
 */
export async function runAttempt(
  runtime: Runtime,
  request: RequestState,
  lease: Lease,
  race?: AttemptRace,
): Promise<AttemptAnswer> {
  const attempt = new Attempt(runtime, request, lease, race);
  try {
    const patched = bodyFor(attempt);
    const body =
      patched instanceof Promise ? await withinRequest(runtime, request, attempt.prepared(patched)) : patched;
    // Guards may have taken their time.
    attempt.throwIfOver();
    attempt.sentTier = (body as { service_tier?: unknown }).service_tier; // of whatever type the caller gave it
    if (body !== request.body && patched instanceof Promise) attempt.isReshaped = isReshaped(attempt.group, body);
    attempt.begin();
    const begun =
      attempt.context.operation === "embeddings"
        ? // The operation tells the body's type.
          await embed(runtime, attempt, body as EmbeddingRequest, (usage) => {
            attempt.used = { usage, outputLength: 0 };
          })
        : await callUpstream(runtime, attempt, body);
    if (begun.kind === "source") {
      attempt.used = begun.source.summary;
      const stream = new UpstreamStream(attempt, begun.source, runtime.drains);
      await stream.commit();
      request.servedBy = attempt;
      return { kind: "stream", stream };
    }
    const { reply } = begun;
    const outputLength = outputLengthOf(reply);
    const usage = usageOf(reply);
    attempt.used = { usage, outputLength };
    attempt.servedTier = "service_tier" in reply ? reply.service_tier : undefined;
    const finishReason = finishReasonOf(reply);
    refuseEmptyFiltered(request, attempt.group, finishReason, outputLength);
    attempt.win();
    request.finishReason = finishReason;
    audioNote(runtime.owners, request, attempt.deployment.account)?.(reply);
    attempt.succeed(usage, outputLength, repeatedTextOf(reply));
    request.servedBy = attempt;
    return begun;
  } catch (thrown) {
    // The upstream may still be sending, if what it sent could not be read (R6).
    attempt.cancelUpstream(thrown);
    throw attempt.fail(thrown, attempt.used);
  }
}

/** The body for this deployment: its defaults under the caller's fields, and what plugins set for the attempt. */
function bodyFor(attempt: Attempt): RequestBody | Promise<RequestBody> {
  const { request, deployment } = attempt;
  const { guarded, snapshot } = request;
  const asked = hasFields(deployment.defaults) ? withDefaults(deployment, request.body) : request.body;
  const whole = request.continuation ? request.continuation.bodyFor(deployment, asked) : asked;
  if (!guarded || !snapshot.plugins.hasBeforeAttempt) return bounded(attempt, whole);
  const facts = {
    number: attempt.number,
    resumed: attempt.resumed,
    group: attempt.group.name,
    deployment: deployment.id,
    provider: deployment.provider.name,
    model: attempt.context.model,
  };
  const patched = snapshot.plugins.beforeAttempt(guarded, facts, whole, attempt.traceHeaders);
  return attempt.isBounded ? patched.then((body) => bounded(attempt, body)) : patched;
}

/** Where a hard budget applies, the answer may be no longer than what was reserved for it. */
function bounded({ request, deployment, captured, isBounded }: Attempt, body: RequestBody): RequestBody {
  return isBounded ? withinReserve(request, deployment, captured, body) : body;
}

/** The caller's own fields always win; a cap on the answer has two names. */
function withDefaults({ defaults }: Deployment, body: RequestBody): RequestBody {
  // Defaults are body fields by definition.
  const merged = { ...defaults, ...body } as RequestBody & Record<string, unknown>;
  const { max_tokens: legacy, max_completion_tokens: most } = body as { [name: string]: unknown } & RequestBody;
  if (legacy != null && most == null) delete merged.max_completion_tokens;
  if (most != null && legacy == null) delete merged.max_tokens;
  return merged;
}

function hasFields(record: Readonly<Record<string, unknown>>): boolean {
  for (const _ in record) return true;
  return false;
}

/** S1: what configuration says wins over what plugins add, and no plugin touches what a dialect needs. */
function outboundHeaders({ deployment, traceHeaders }: WireCall, headers: Readonly<Record<string, string>>) {
  if (traceHeaders.size > 0) return { ...Object.fromEntries(traceHeaders), ...headers, ...deployment.headers };
  return hasFields(deployment.headers) ? { ...headers, ...deployment.headers } : headers;
}

function callUpstream(runtime: Runtime, attempt: Attempt, body: RequestBody): Promise<Begun> {
  const { upstream } = attempt.deployment;
  return upstream.kind === "wire"
    ? callWire(runtime, attempt, upstream, body)
    : callDirect(runtime, attempt, upstream, body);
}

/**
 * Embeddings: as many calls as the upstream wants, and a vector for each input.
 *
 * @param onSpent - Gets what was used so far, where there are several calls.
 */
async function embed(
  runtime: Runtime,
  attempt: Attempt,
  body: EmbeddingRequest,
  onSpent: (usage: Usage | undefined) => void,
): Promise<Begun> {
  const { upstream, maxEmbeddingInputs } = attempt.deployment;
  const limits = upstream.kind === "wire" ? upstream.embeddingLimits?.(attempt.context) : undefined;
  const batches = embeddingBatches(body, limits, maxEmbeddingInputs);
  if (upstream.kind === "direct" || !batches) {
    const begun = await callUpstream(runtime, attempt, body);
    return { kind: "reply", reply: inOrder(embeddingsIn(begun), inputCount(body.input)) };
  }
  const callOne = async (call: WireCall, part: EmbeddingRequest) =>
    embeddingsIn(await callWire(runtime, call, upstream, part));
  return { kind: "reply", reply: await callInBatches(attempt, batches, callOne, onSpent) };
}

/** @throws {UpstreamError} bad response: a provider that a user wrote answers something else. */
function embeddingsIn(begun: Begun): EmbeddingReply {
  if (begun.kind === "reply" && "data" in begun.reply) return begun.reply;
  throw badResponse("the answer has no embeddings");
}

async function callWire(
  runtime: Runtime,
  attempt: WireCall,
  upstream: WireUpstream,
  body: RequestBody,
): Promise<Begun> {
  const { context, deployment, request } = attempt;
  const encoded = upstream.encode(body, context);
  attempt.noteDropped(encoded.dropped ?? []);
  const apiKey = deployment.credential.resolve();
  const key = typeof apiKey === "object" ? await attempt.prepared(renewedKey(apiKey)) : apiKey;
  attempt.noteKey(key);
  const authorized = upstream.authorize(encoded, key);
  const {
    method,
    path,
    headers,
    body: payload,
  } = authorized instanceof Promise ? await attempt.prepared(authorized) : authorized;
  // Whoever cancelled meanwhile had nothing to cancel.
  attempt.throwIfOver();
  const sentAt = runtime.clock.now();
  const exchange = runtime.transport.send({
    method,
    origin: upstream.origin,
    path,
    headers: outboundHeaders(attempt, headers),
    body: payload,
    partition: deployment.partition,
    isStrict: deployment.isolation === "strict",
    onConnected: () => attempt.deadlines.connected(),
  });
  attempt.canBeCancelledBy((reason) => exchange.cancel(reason));
  const response = await exchange.response;
  attempt.noteHeaders(response.headers, sentAt);
  if (!isAsWanted(attempt, upstream, response)) await checkResponse(attempt, upstream, exchange, response);
  if (!context.isStreaming) {
    const { status, headers: answered, body: answer } = response;
    if (request.call.form !== "text" || !answer.bytes) {
      const text = await answer.text(MAX_REPLY_BYTES);
      return { kind: "reply", reply: upstream.decodeReply({ status, headers: answered, text }, context) };
    }
    const bytes = await answer.bytes(MAX_REPLY_BYTES);
    const whole: WholeResponse = { status, headers: answered, text: decodeText(bytes), isAsSent: false };
    const reply = upstream.decodeReply(whole, context);
    if (whole.isAsSent && isExactly(whole.text, bytes)) request.sent = { reply, bytes };
    return { kind: "reply", reply };
  }
  const isText = request.call.form === "text" && !wantsChunks(attempt);
  const note = audioNote(runtime.owners, request, deployment.account);
  const open = () => {
    const chunks = upstream.openStream(context);
    return note ? new AudioNotingDecoder(chunks, note) : chunks;
  };
  const decoder = isText ? ((note ? undefined : upstream.openTextStream?.(context)) ?? jsonTextStream(open())) : open();
  const source = new WireSource<Chunk | RelayPiece>(response.body, exchange, decoder, attempt, runtime.clock);
  return { kind: "source", source };
}

async function callDirect(
  runtime: Runtime,
  attempt: Attempt,
  upstream: DirectUpstream,
  body: RequestBody,
): Promise<Begun> {
  const { context, deployment, request } = attempt;
  const apiKey = deployment.credential.resolve();
  const key = typeof apiKey === "object" ? await attempt.prepared(renewedKey(apiKey)) : apiKey;
  attempt.noteKey(key);
  attempt.deadlines.connected();
  const stop = new Cancellation();
  attempt.canBeCancelledBy((reason) => stop.cancel(reason));
  const stopped = stop.asRejection();
  // The model may ignore its signal: an abort does not wait for it.
  attempt.throwIfOver();
  const call = upstream.call(body, context, { signal: stop.signal, apiKey: key });
  call.then((late) => {
    if (stop.isCancelled && late.kind === "stream") leaveIterator(late.chunks[Symbol.asyncIterator]());
  }, ignore);
  const answer = await Promise.race([call, stopped]);
  attempt.noteDropped(answer.dropped ?? []);
  if (answer.kind === "reply") return answer;
  const isText = request.call.form === "text" && !wantsChunks(attempt);
  const note = audioNote(runtime.owners, request, deployment.account);
  const render = (chunk: Chunk) => {
    note?.(chunk);
    return isText ? JSON.stringify(chunk) : chunk;
  };
  const source = new DirectSource<Chunk | RelayPiece>(answer.chunks, attempt, render, context.includeUsage, stopped);
  return { kind: "source", source };
}

async function renewedKey(apiKey: Promise<string>): Promise<string> {
  try {
    return await apiKey;
  } catch (error) {
    if (error instanceof NoApiKey) throw new UpstreamError(error.message, { errorClass: "authentication" });
    // What it threw may hold the credential, so nothing of it is kept (S18).
    throw unreachable("the deployment's `apiKey` function failed");
  }
}

/** Whether the bytes are a text's, and of no more: nothing was replaced in it or left out before it. */
function isExactly(text: string, bytes: Uint8Array): boolean {
  return bytes[0] === OPENING_BRACE && !text.includes("\ufffd");
}

/** Nearly every answer is: without a promise and a wait for it. */
function isAsWanted({ context }: WireCall, upstream: WireUpstream, { status, headers }: TransportResponse): boolean {
  if (status < 200 || status >= 300 || headers.get("content-encoding") !== undefined) return false;
  const contentType = headers.get("content-type");
  if (contentType === undefined) return false;
  const { whole, stream } = upstream.contentTypes;
  for (const wanted of context.isStreaming ? stream : whole) {
    const isWanted = contentType.startsWith(wanted);
    if (isWanted && (contentType.length === wanted.length || contentType[wanted.length] === ";")) return true;
  }
  return false;
}

/** @throws {UpstreamError} anything but an answer in the form that was asked for. */
async function checkResponse(
  attempt: WireCall,
  upstream: WireUpstream,
  exchange: Exchange,
  response: TransportResponse,
): Promise<void> {
  const { status, headers } = response;
  const refuse = (message: string): never => {
    const error = badResponse(message);
    exchange.cancel(error);
    throw error;
  };
  const coding = headers.get("content-encoding");
  // S36: never asked for, so it is not decoded.
  if (coding !== undefined && coding !== "identity")
    refuse(`the answer has the content coding ${coding}, which was not asked for`);
  if (status >= 300 && status < 400) refuse(`the upstream redirects (${status}); redirects are not followed`);
  if (status < 200 || status >= 300) {
    const text = await errorText(exchange, response);
    throw upstream.decodeError({ status, headers, text }, attempt.context);
  }
  const contentType = mediaType(headers.get("content-type"));
  const { whole, stream } = upstream.contentTypes;
  const wanted = attempt.context.isStreaming ? stream : whole;
  if (contentType === undefined || wanted.includes(contentType)) return;
  if (attempt.context.isStreaming && whole.includes(contentType)) {
    // Some answer a streaming request with a whole body when they have an error to tell.
    const text = await response.body.text(MAX_ERROR_BYTES);
    upstream.decodeReply({ status, headers, text }, { ...attempt.context, isStreaming: false });
  }
  refuse(`the answer has the content type ${contentType.slice(0, 80)} instead of ${wanted.join(" or ")}`);
}

/** The body of an error, as far as it can be had: the status alone is enough to classify. */
async function errorText(exchange: Exchange, { body }: TransportResponse): Promise<string> {
  try {
    return await body.text(MAX_ERROR_BYTES);
  } catch (error) {
    if (!(error instanceof UpstreamError) || error.errorClass === "timeout") throw error;
    exchange.cancel(error);
    return "";
  }
}

function mediaType(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const end = header.indexOf(";");
  return (end === -1 ? header : header.slice(0, end)).trim().toLowerCase();
}

/** Plugins transform and observe chunks, and streams are joined by them, whatever form the caller wants in the end. */
function wantsChunks({ request, group, deployment }: WireCall): boolean {
  const { snapshot, content } = request;
  return snapshot.plugins.hasTransformStream || content !== undefined || isContinuable(request, group, deployment);
}

/** For dialects that have no text form of their own: each chunk is serialised. */
function jsonTextStream(decoder: StreamDecoder<Chunk>): StreamDecoder<string> {
  const chunks: Chunk[] = [];
  const render = (out: string[], decode: () => void) => {
    try {
      decode();
    } finally {
      // Also what came before an error.
      for (const chunk of chunks) out.push(JSON.stringify(chunk));
      chunks.length = 0;
    }
  };
  return {
    push: (bytes, out) => render(out, () => decoder.push(bytes, chunks)),
    end: (out) => render(out, () => decoder.end(chunks)),
    get isDone() {
      return decoder.isDone;
    },
    get contentAt() {
      return decoder.contentAt;
    },
    get summary() {
      return decoder.summary;
    },
  };
}
