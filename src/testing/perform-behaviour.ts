import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import type { UpstreamError } from "../errors/upstream-error.js";
import type { Clock } from "../internal/clock.js";
import type { Random } from "../internal/random.js";
import type { ChatRequest } from "../protocol/chat.js";
import type { CompletionRequest } from "../protocol/completions.js";
import { contextError } from "../providers/simulated/index.js";
import { paced, wholeAnswerMs } from "../providers/simulated/stream.js";
import {
  type AnswerBehaviour,
  type Behaviour,
  type BodyPiece,
  error,
  type FramingFault,
  reply,
  resetBeforeHeaders,
  type StreamOptions,
  simulationOf,
} from "./behaviours.js";
import { type PreparedAnswer, padded, prepareAnswer, requestProblem, usageEvent } from "./prepared-answer.js";
import type { ReceivedRequest } from "./received-request.js";

/** One request under way at a fake upstream. */
export interface UpstreamExchange {
  readonly request: ReceivedRequest;
  readonly response: ServerResponse;
  readonly socket: Socket;
  readonly clock: Clock;
  readonly random: Random;
  /** The client left, or the upstream closes. */
  readonly signal: AbortSignal;
  /** The script is through: what happens to the connection from here on is not the client's doing. */
  end(): void;
}

/**
 * Does what the behaviour says, and returns when nothing more is to be done.
 * @throws the signal's reason.
 */
export async function perform(behaviour: Behaviour, exchange: UpstreamExchange): Promise<void> {
  switch (behaviour.kind) {
    case "answer":
      return answer(behaviour, exchange);
    case "respond":
      await delay(behaviour, exchange);
      exchange.response.writeHead(behaviour.status, lengthHeaders(behaviour.headers, behaviour.body));
      for (const piece of behaviour.body) await writePiece(piece, exchange, (bytes) => write(bytes, exchange));
      return finish(exchange);
    case "reset":
      await delay(behaviour, exchange);
      if (behaviour.at === "after-headers") await sendHead(exchange);
      return breakOff("reset", exchange);
    case "close-early": {
      const { body, headers } = goodResponse(exchange);
      exchange.response.writeHead(200, { ...headers, "content-length": body.length });
      await write(body.subarray(0, body.length >> 1), exchange);
      return breakOff("close", exchange);
    }
    case "silence":
      if (behaviour.afterHeaders) await sendHead(exchange);
      return untilAborted(exchange.signal);
    case "slow-headers":
      return sendSlowly(behaviour.overMs, exchange);
    case "informational":
      for (let sent = 0; sent < behaviour.count; sent++) {
        exchange.response.writeProcessing();
        await exchange.clock.sleep(behaviour.everyMs, exchange.signal);
      }
      return answer(reply(), exchange);
    case "bad-framing":
      await writeRaw(badlyFramed(behaviour.fault), exchange);
      return breakOff("close", exchange);
    case "surplus-bytes":
      return sendSurplus(behaviour.afterMs, exchange);
    case "raw":
      await delay(behaviour, exchange);
      for (const piece of behaviour.pieces) await writePiece(piece, exchange, (bytes) => writeRaw(bytes, exchange));
      if (behaviour.end === "stay") return exchange.end();
      return breakOff(behaviour.end, exchange);
  }
}

async function delay(
  { delayMs = 0, until }: { delayMs?: number | undefined; until?: PromiseLike<unknown> | undefined },
  { clock, signal }: UpstreamExchange,
): Promise<void> {
  if (delayMs > 0) await clock.sleep(delayMs, signal);
  if (until) await Promise.race([until.then(ignore, ignore), untilAborted(signal)]);
}

const ignore = () => {};

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** A body that is known whole says how long it is. */
function lengthHeaders(headers: Readonly<Record<string, string>>, body: readonly BodyPiece[]): Record<string, string> {
  const [only] = body;
  if (body.length > 1 || "transfer-encoding" in headers || "content-length" in headers) return headers;
  if (only === undefined) return { ...headers, "content-length": "0" };
  if (typeof only === "string") return { ...headers, "content-length": String(Buffer.byteLength(only)) };
  return only instanceof Uint8Array ? { ...headers, "content-length": String(only.length) } : headers;
}

async function writePiece(
  piece: BodyPiece,
  { clock, signal }: UpstreamExchange,
  send: (bytes: string | Uint8Array) => Promise<void>,
): Promise<void> {
  if (typeof piece === "object" && "waitMs" in piece) await clock.sleep(piece.waitMs, signal);
  else await send(piece);
}

/** Writes a part of the body; waits while the client is slow, and until the bytes have left the process. */
function write(bytes: string | Uint8Array, { response, signal }: UpstreamExchange): Promise<void> {
  return untilDone(signal, (done) => response.write(bytes, done));
}

/** Writes past HTTP's framing. */
function writeRaw(bytes: string | Uint8Array, { socket, signal }: UpstreamExchange): Promise<void> {
  return untilDone(signal, (done) => socket.write(bytes, done));
}

async function sendHead(exchange: UpstreamExchange): Promise<void> {
  const { response, request } = exchange;
  response.writeHead(200, { "content-type": contentType(request.isStreaming) });
  response.flushHeaders();
  await writeRaw("", exchange);
}

function finish({ response, signal }: UpstreamExchange): Promise<void> {
  return untilDone(signal, (done) => response.end(done));
}

/** Not every callback of `node:http` is called when the connection goes away: the signal is, always. */
function untilDone(signal: AbortSignal, start: (done: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    start(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    });
  });
}

function breakOff(how: "reset" | "close", exchange: UpstreamExchange): void {
  exchange.end();
  if (how === "reset") exchange.socket.resetAndDestroy();
  else exchange.socket.destroySoon();
}

function contentType(isStreaming: boolean): string {
  return isStreaming ? "text/event-stream" : "application/json";
}

// Answers ---------------------------------------------------------------------------------------------------------

async function answer(behaviour: AnswerBehaviour, exchange: UpstreamExchange): Promise<void> {
  const { request, clock, random } = exchange;
  const simulation = simulationOf(behaviour);
  await delay(behaviour.options, exchange);
  if (!request.operation) return perform(error(404, { message: "No model answers on this path" }), exchange);
  const problem = requestProblem(request.operation, request.body);
  if (problem) return perform(error(400, { message: problem }), exchange);
  if (simulation?.failure?.afterTokens === 0) return perform(failureResponse(simulation.failure.error), exchange);

  const prepared = prepareAnswer(request.operation, request.body, behaviour, exchange);
  if (simulation && prepared.plan) {
    // A chat or a completion, checked above.
    const body = request.body as unknown as ChatRequest | CompletionRequest;
    const tooLong = contextError(simulation.model, prepared.plan, body);
    if (tooLong) return perform(failureResponse(tooLong), exchange);
  }
  if (request.isStreaming && prepared.plan) return sendStream(prepared, behaviour, exchange);

  const failure = simulation?.failure;
  const waitMs = prepared.plan ? wholeAnswerMs(prepared.plan, prepared.pace, random, failure) : prepared.pace.ttftMs;
  if (waitMs > 0) await clock.sleep(waitMs, exchange.signal);
  if (failure) return perform(failureResponse(failure.error), exchange);
  let body: string | Buffer = padded(prepared.whole(), behaviour.paddingBytes);
  if (behaviour.isInvalidJson) body = body.slice(0, body.length >> 1);
  if (behaviour.coding) body = gzipSync(body);
  exchange.response.writeHead(200, {
    "content-type": behaviour.contentType ?? contentType(false),
    ...(behaviour.coding ? { "content-encoding": behaviour.coding } : {}),
    "content-length": Buffer.byteLength(body),
    ...behaviour.options.headers,
  });
  await write(body, exchange);
  return finish(exchange);
}

/** How a failure of a simulated model looks on the wire. */
export function failureResponse(failure: UpstreamError): Behaviour {
  if (failure.status === undefined) return resetBeforeHeaders();
  const { message, upstreamCode: code, param, retryAfterMs } = failure;
  return error(failure.status, {
    message,
    code,
    param,
    retryAfter: retryAfterMs === undefined ? undefined : retryAfterMs / 1_000,
  });
}

// Streams ---------------------------------------------------------------------------------------------------------

async function sendStream(
  prepared: PreparedAnswer,
  behaviour: AnswerBehaviour,
  exchange: UpstreamExchange,
): Promise<void> {
  const { options } = behaviour;
  const failure = simulationOf(behaviour)?.failure;
  const { response, request } = exchange;
  response.writeHead(200, {
    "content-type": behaviour.contentType ?? contentType(true),
    "cache-control": "no-cache",
    ...(behaviour.coding ? { "content-encoding": behaviour.coding } : {}),
    ...options.headers,
  });
  response.flushHeaders();
  const body = new StreamBody(options, behaviour.coding, exchange);
  const faults = faultsOf(behaviour);
  const asksForUsage =
    (request.body.stream_options as { include_usage?: unknown } | null | undefined)?.include_usage === true; // whatever it is
  const includeUsage = options.includeUsage ?? asksForUsage;
  let events = 0;
  const runFaults = async () => {
    while (faults[0] && faults[0].afterEvents <= events && !body.isOver) await faults.shift()?.run(body, exchange);
  };
  await runFaults();
  if (body.isOver) return;
  try {
    for await (const chunk of paced(prepared.steps(includeUsage), prepared.pace, exchange, failure)) {
      const event = chunk.choices.length === 0 ? usageEvent(chunk, includeUsage, options.usage) : chunk;
      if (!event) continue;
      await body.event(JSON.stringify(event));
      events++;
      await runFaults();
      // Before the next token is waited for.
      if (body.isOver) return;
    }
  } catch (problem) {
    if (!failure || problem !== failure.error) throw problem;
    const { message, status, upstreamCode: code } = failure.error;
    if (status === undefined) return body.breakOff();
    await body.event(JSON.stringify({ error: { message, type: "server_error", param: null, code } }));
    return body.end();
  }
  events = Number.POSITIVE_INFINITY;
  await runFaults();
  if (body.isOver) return;
  if (options.done !== false) await body.event("[DONE]");
  for (const text of options.afterDone ?? []) await body.event(text);
  // More bytes than there are: the cut is the end.
  if (options.cutAfterBytes !== undefined) return body.breakOff();
  return body.end();
}

/** Something that a stream does instead of, or between, its events. */
interface StreamFault {
  readonly afterEvents: number;
  run(body: StreamBody, exchange: UpstreamExchange): Promise<void>;
}

const OPENAI_STREAM_ERROR = {
  error: {
    message: "The server had an error while processing your request. Sorry about that!",
    type: "server_error",
    param: null,
    code: null,
  },
};

/** In the order of their points; at the same point in the order of this list. */
function faultsOf({ options, isInvalidJson, paddingBytes }: AnswerBehaviour): StreamFault[] {
  const faults: StreamFault[] = [];
  const at = (afterEvents: number | undefined, run: StreamFault["run"]) => {
    if (afterEvents !== undefined) faults.push({ afterEvents, run });
  };
  for (const { afterEvents, bytes } of options.insert ?? []) at(afterEvents, (body) => body.write(bytes));
  const hugeBytes = paddingBytes ?? options.hugeEventBytes;
  at(hugeBytes === undefined ? undefined : 1, (body) => body.event(padded({ choices: [] }, hugeBytes)));
  at(options.garbageAfterEvents, (body) => body.write(GARBAGE_EVENT));
  at(isInvalidJson ? 0 : options.invalidJsonAfterEvents, (body) => body.event('{"id":"chatcmpl-1","choices":[{"ind'));
  at(options.errorAfterEvents, async (body) => {
    await body.event(JSON.stringify(options.error ?? OPENAI_STREAM_ERROR));
    await body.end();
  });
  at(options.stallAfterEvents, (body, exchange) => stall(options, body, exchange));
  at(options.cutAfterEvents, async (body) => body.breakOff());
  return faults.sort((a, b) => a.afterEvents - b.afterEvents);
}

/** Neither UTF-8 nor JSON. */
const GARBAGE_EVENT = Buffer.concat([
  Buffer.from("data: "),
  Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28]),
  Buffer.from("\n\n"),
]);

async function stall(
  { stallMs, pingMs }: StreamOptions,
  body: StreamBody,
  { clock, signal }: UpstreamExchange,
): Promise<void> {
  if (pingMs === undefined) return stallMs === undefined ? untilAborted(signal) : clock.sleep(stallMs, signal);
  const endAt = clock.now() + (stallMs ?? Number.POSITIVE_INFINITY);
  while (clock.now() < endAt) {
    await clock.sleep(Math.min(pingMs, endAt - clock.now()), signal);
    await body.write(": ping\n\n");
  }
}

/** The body of a stream, with its own idea of where it breaks off. */
class StreamBody {
  isOver = false;
  #bytesWritten = 0;
  /** Compressed bodies are sent at their end. */
  readonly #held: Uint8Array[] | undefined;

  constructor(
    private readonly options: StreamOptions,
    coding: "gzip" | undefined,
    private readonly exchange: UpstreamExchange,
  ) {
    this.#held = coding ? [] : undefined;
  }

  event(data: string): Promise<void> {
    return this.write(`data: ${data}\n\n`);
  }

  async write(content: string | Uint8Array): Promise<void> {
    if (this.isOver) return;
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    if (this.#held) {
      this.#held.push(bytes);
      return;
    }
    const { cutAfterBytes = Number.POSITIVE_INFINITY, pieceBytes = bytes.length } = this.options;
    for (let start = 0; start < bytes.length; start += pieceBytes) {
      const piece = bytes.subarray(start, start + pieceBytes);
      const bytesLeft = cutAfterBytes - this.#bytesWritten;
      if (piece.length > bytesLeft) {
        // A chunk that promises more than it brings.
        await writeRaw(`${piece.length.toString(16)}\r\n`, this.exchange);
        await writeRaw(piece.subarray(0, bytesLeft), this.exchange);
        return this.breakOff();
      }
      this.#bytesWritten += piece.length;
      await write(piece, this.exchange);
    }
  }

  async end(): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    if (this.#held) await write(gzipSync(Buffer.concat(this.#held)), this.exchange);
    await finish(this.exchange);
  }

  breakOff(): void {
    if (this.isOver) return;
    this.isOver = true;
    breakOff(this.options.cut ?? "reset", this.exchange);
  }
}

// Responses past node:http ------------------------------------------------------------------------------------------

/** The plain answer to a request, complete. */
function goodResponse(exchange: UpstreamExchange): { body: Buffer; headers: Record<string, string> } {
  const { request } = exchange;
  const headers = { "content-type": contentType(request.isStreaming) };
  if (!request.operation || requestProblem(request.operation, request.body))
    return { body: Buffer.from("{}"), headers };
  const prepared = prepareAnswer(request.operation, request.body, reply(), exchange);
  if (!request.isStreaming) return { body: Buffer.from(JSON.stringify(prepared.whole())), headers };
  let body = "";
  for (const { chunk } of prepared.steps(false))
    if (chunk.choices.length > 0) body += `data: ${JSON.stringify(chunk)}\n\n`;
  return { body: Buffer.from(`${body}data: [DONE]\n\n`), headers };
}

function responseHead(lines: readonly string[]): string {
  return `HTTP/1.1 200 OK\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`;
}

async function sendSlowly(overMs: number, exchange: UpstreamExchange): Promise<void> {
  const { body, headers } = goodResponse(exchange);
  const head = responseHead([
    `content-type: ${headers["content-type"]}`,
    `content-length: ${body.length}`,
    "connection: close",
  ]);
  const pieces = 16;
  const pieceLength = Math.ceil(head.length / pieces);
  for (let start = 0; start < head.length; start += pieceLength) {
    await writeRaw(head.slice(start, start + pieceLength), exchange);
    await exchange.clock.sleep(overMs / pieces, exchange.signal);
  }
  await writeRaw(body, exchange);
  breakOff("close", exchange);
}

function badlyFramed(fault: FramingFault): string {
  switch (fault) {
    case "chunk-size":
      return `${responseHead(["content-type: application/json", "transfer-encoding: chunked"])}zz\r\n{}\r\n0\r\n\r\n`;
    case "content-lengths":
      return `${responseHead(["content-type: application/json", "content-length: 2", "content-length: 3"])}{} `;
    case "status-line":
      return "HELLO 200 there\r\ncontent-length: 2\r\n\r\n{}";
  }
}

async function sendSurplus(afterMs: number, exchange: UpstreamExchange): Promise<void> {
  const { clock, response, signal, socket } = exchange;
  const { body, headers } = goodResponse(exchange);
  const surplus = Buffer.concat([
    Buffer.from(responseHead(["content-type: application/json", `content-length: ${body.length}`])),
    body,
  ]);
  response.writeHead(200, { ...headers, "content-length": body.length });
  // Corked, so that both leave in the same segment.
  socket.cork();
  const ended = new Promise<void>((resolve) => response.end(body, resolve));
  if (afterMs === 0) socket.write(surplus);
  socket.uncork();
  await ended;
  signal.throwIfAborted();
  exchange.end();
  if (afterMs === 0) return;
  // The response is over, and its signal with it: the wait ends with the connection.
  const gone = new AbortController();
  const leave = () => gone.abort();
  socket.once("close", leave);
  try {
    await clock.sleep(afterMs, gone.signal);
    socket.write(surplus);
  } catch {
    // The client closed the connection first, as it may.
  } finally {
    socket.off("close", leave);
  }
}
