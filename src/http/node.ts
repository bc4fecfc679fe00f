import type { IncomingMessage, ServerResponse } from "node:http";
import { routerError } from "../errors/router-error.js";
import { Cancellation } from "../internal/cancellation.js";
import type { Timer } from "../internal/clock.js";
import type { Principal } from "../plugins/plugin.js";
import type { RelayPiece } from "../providers/provider.js";
import type { AnswerStream, HandlerContext, HostCallOptions } from "../router/call.js";
import { BodyMeter } from "./body.js";
import { DONE_EVENT, errorEvent, framesOf } from "./event-stream.js";
import type { BodyLimits, HttpRequest, HttpService, ReadBody } from "./http-request.js";
import type { HttpReply } from "./reply.js";
import { pathOf } from "./route.js";

/** What routers and body parsers in front of the handler leave on a request: Express, Connect and others. */
interface HostedMessage extends IncomingMessage {
  readonly baseUrl?: unknown;
  readonly originalUrl?: unknown;
  readonly body?: unknown;
}

/** An unread rest of at most so many bytes is read away to keep the connection; for more it is closed. */
const DRAINABLE_BYTES = 65_536;
/** How long a client that is still sending may take to notice its refusal before the connection is cut. */
const LINGER_MS = 1_000;

/**
 * Answers over `node:http` directly: without `Request`, `Response` and `URL`, whose cost is a multiple of the rest.
 *
 * @param next - Gets the requests that are not under the base path; without it they are 404.
 */
export function serveNode<R extends { readonly kind: string }>(
  service: HttpService<R>,
  message: IncomingMessage,
  response: ServerResponse,
  next: ((error?: unknown) => void) | undefined,
  context: HandlerContext | undefined,
): void {
  const mountPath = mountPathOf(message);
  const route = service.findRoute(message.url ?? "", mountPath);
  if (route.kind === "outside" && next) {
    next();
    return;
  }
  // The host may have answered, or the client left, while code in front of the handler was busy: no event would tell.
  if (response.headersSent || response.destroyed || message.socket?.destroyed) return;

  const exchange = new NodeExchange(service.settings, message, response, context);
  service.answer(route, exchange).then(
    (reply) => exchange.send(reply),
    () => exchange.fail(),
  );
}

/** What the host's router has taken off the front of the URL. Express says it; of Connect it can be told. */
function mountPathOf(message: HostedMessage): string {
  const { baseUrl, originalUrl, url = "" } = message;
  if (typeof baseUrl === "string") return baseUrl;
  if (typeof originalUrl !== "string" || originalUrl === url) return "";
  const originalPath = pathOf(originalUrl);
  const path = pathOf(url);
  if (originalPath.endsWith(path)) return originalPath.slice(0, -path.length);
  // Of the mount point itself Connect makes "/".
  return path === "/" ? originalPath : "";
}

/** One request and its response on a `node:http` server. */
class NodeExchange implements HttpRequest {
  readonly method: string;
  readonly principal: Principal | undefined;
  readonly hostOptions: HostCallOptions | undefined;
  readonly cancellation = new Cancellation();
  /** Not what `cancellation` says: the router may cancel, too, and its error is for the client to read. */
  isGone = false;
  readonly #settings: HttpService["settings"];
  readonly #message: HostedMessage;
  readonly #response: ServerResponse;
  /** The last byte has been handed to the platform: leaving is no abort any more (R1). */
  #isDone = false;
  #stream: AnswerStream<RelayPiece> | undefined;
  /** Ends a wait when the client leaves. */
  #stopWaiting: (() => void) | undefined;
  #timer: Timer | undefined;

  constructor(
    settings: HttpService["settings"],
    message: HostedMessage,
    response: ServerResponse,
    context: HandlerContext | undefined,
  ) {
    this.#settings = settings;
    this.#message = message;
    this.#response = response;
    this.method = message.method ?? "";
    this.principal = context?.principal;
    this.hostOptions = context?.options;
    const onClose = () => this.#onClose();
    response.once("close", onClose);
    // Pipelined behind another request: the response has no connection yet whose end it would notice.
    if (response.socket === null && message.socket) onceClosed(message, response, onClose);
  }

  get signal(): AbortSignal {
    return this.cancellation.signal;
  }

  header(name: string): string | undefined {
    const { headers } = this.#message;
    // Names that every object has are not headers (S29).
    if (!Object.hasOwn(headers, name)) return undefined;
    const value = headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  /** Node drops repetitions of `authorization` from its parsed headers, so look at the raw ones. */
  repeatsHeader(name: string): boolean {
    const { rawHeaders } = this.#message;
    let count = 0;
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const candidate = rawHeaders[index];
      if (candidate?.length === name.length && candidate.toLowerCase() === name) count++;
    }
    return count > 1;
  }

  readBody(limits: BodyLimits): Promise<ReadBody> {
    const message = this.#message;
    if (message.readableDidRead || message.readableEnded) return bodyReadBefore(message);
    return new Promise((resolve, reject) => {
      const chunks: Uint8Array[] = [];
      const stop = () => {
        meter.stop();
        message.off("data", onData);
        message.off("end", onEnd);
        this.#stopWaiting = undefined;
      };
      const fail = (error: unknown) => {
        stop();
        reject(error);
      };
      const onData = (chunk: Uint8Array | string) => {
        // Text comes only where the host has called `setEncoding`.
        const bytes = typeof chunk === "string" ? Buffer.from(chunk, message.readableEncoding ?? "utf8") : chunk;
        try {
          meter.add(bytes.length);
        } catch (error) {
          return fail(error);
        }
        chunks.push(bytes);
      };
      const onEnd = () => {
        stop();
        const [first] = chunks;
        const bytes = first && chunks.length === 1 ? first : Buffer.concat(chunks);
        resolve({ kind: "bytes", bytes });
      };
      const meter = new BodyMeter(this.#settings.clock, limits, fail, false);
      this.#stopWaiting = () => fail(routerError("cancelled"));
      message.on("data", onData);
      message.on("end", onEnd);
      // A host may have paused it, and then listening alone does not start it.
      message.resume();
      if (this.isGone) this.#stopWaiting();
      // Most bodies come in one packet with their head: after this turn they are complete.
      process.nextTick(watchUnlessComplete, message, meter);
    });
  }

  send(reply: HttpReply | undefined): void {
    if (!reply) return;
    // Headers that are not ours: the host has answered meanwhile, for instance because it took too long.
    if (this.isGone || this.#response.headersSent) {
      if (reply.kind === "events" || reply.kind === "text") reply.stream.cancel();
      return;
    }
    try {
      if (reply.kind === "whole") this.#sendWhole(reply.status, reply.headers, reply.text);
      else if (reply.kind === "bytes") this.#sendWhole(200, reply.headers, reply.bytes);
      else this.#sendStream(reply.kind, reply.headers, reply.stream);
    } catch {
      this.fail();
    }
  }

  /** Something that cannot happen did: only cutting the connection is left. */
  fail(): void {
    this.#stream?.cancel();
    this.#response.destroy();
  }

  #sendWhole(status: number, headers: string[], text: string | Uint8Array): void {
    const response = this.#response;
    headers.push("content-length", String(typeof text === "string" ? Buffer.byteLength(text) : text.length));
    if (this.#mustClose()) {
      headers.push("connection", "close");
      response.writeHead(status, headers);
      this.#endAfterDraining(text);
    } else {
      response.writeHead(status, headers);
      if (this.method === "HEAD") response.end();
      else response.end(text);
      this.#watchFlush();
    }
  }

  /** A refusal that came before the body: what is still on its way must not be taken for the next request. */
  #mustClose(): boolean {
    const message = this.#message;
    if (message.complete || message.httpVersionMajor !== 1) return false;
    if (this.header("transfer-encoding") !== undefined) return true;
    const length = Number(this.header("content-length") ?? 0);
    return length > (message.readableDidRead ? 0 : DRAINABLE_BYTES);
  }

  /**
   * Sends the reply, but closes only when the client has stopped sending: closing on unread bytes resets the
   * connection, and the client would see that instead of the reply.
   */
  #endAfterDraining(text: string | Uint8Array): void {
    this.#response.write(text);
    this.#isDone = true;
    const end = () => {
      this.#timer?.cancel();
      this.#message.off("end", end);
      this.#response.end();
      this.#watchFlush();
    };
    this.#timer = this.#settings.clock.schedule(LINGER_MS, end, true);
    this.#message.on("end", end);
    this.#message.resume();
  }

  #sendStream(kind: "events" | "text", headers: string[], stream: AnswerStream<RelayPiece>): void {
    this.#stream = stream;
    this.#response.writeHead(200, headers);
    this.#relay(kind, stream).catch(() => this.fail());
  }

  async #relay(kind: "events" | "text", stream: AnswerStream<RelayPiece>): Promise<void> {
    const response = this.#response;
    try {
      for (;;) {
        const pieces = await stream.next();
        if (this.isGone) return;
        const end = kind === "events" ? DONE_EVENT : "";
        if (pieces === undefined) return this.#endStream(end);
        let hasRoom = true;
        for (const piece of kind === "events" ? framesOf(pieces) : pieces) hasRoom = response.write(piece);
        // The end is no more to hold: it goes out with the rest, however slowly the client reads.
        if (stream.isOver) return this.#endStream(end);
        if (!hasRoom) await this.#drained();
        if (this.isGone) return;
      }
    } catch (error) {
      if (this.isGone) return;
      // Of a text only a cut connection says that it is not complete.
      if (kind === "text") this.fail();
      else this.#endStream(errorEvent(error));
    }
  }

  #endStream(last: string): void {
    this.#isDone = true;
    this.#response.end(last);
    this.#watchFlush();
  }

  /** Waits until the client has read, or is gone. */
  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#stopWaiting = () => {
        this.#stopWaiting = undefined;
        this.#timer?.cancel();
        resolve();
      };
      this.#response.once("drain", () => this.#stopWaiting?.());
      this.#scheduleStall();
    });
  }

  /** The reply is out of our hands, but a client that does not read it must not hold the connection for ever. */
  #watchFlush(): void {
    this.#isDone = true;
    const { socket } = this.#response;
    if (socket && socket.writableLength > 0) this.#scheduleStall();
  }

  #scheduleStall(): void {
    const { clock, stallTimeoutMs } = this.#settings;
    this.#timer = clock.schedule(
      stallTimeoutMs,
      () => {
        // Without a connection it waits for the request before it, not for the client.
        if (this.#response.socket === null) this.#scheduleStall();
        else this.#response.destroy();
      },
      true,
    );
  }

  #onClose(): void {
    this.#timer?.cancel();
    if (this.#isDone || this.isGone) return;
    this.isGone = true;
    this.cancellation.cancel(new DOMException("The client closed the connection.", "AbortError"));
    this.#stream?.cancel();
    this.#stopWaiting?.();
  }
}

function watchUnlessComplete(message: IncomingMessage, meter: BodyMeter): void {
  if (!message.complete) meter.watch();
}

/** What a body parser in front of the handler has left. @throws {RouterError} `internal_error`: nothing. */
async function bodyReadBefore(message: HostedMessage): Promise<ReadBody> {
  const { body } = message;
  if (body instanceof Uint8Array) return { kind: "bytes", bytes: body };
  if (body !== undefined) return { kind: "value", value: body };
  throw routerError("internal_error", {
    message: "The request body was read before it reached the handler: mount the handler in front of body parsers.",
  });
}

type Socket = IncomingMessage["socket"];
/** One listener per connection, however many requests are pipelined on it. */
const pipelined = new WeakMap<Socket, Set<() => void>>();

/** Calls `onClose` when the connection of a pipelined request ends before the response is through. */
function onceClosed({ socket }: IncomingMessage, response: ServerResponse, onClose: () => void): void {
  let waiting = pipelined.get(socket);
  if (!waiting) {
    const listeners = new Set<() => void>();
    waiting = listeners;
    pipelined.set(socket, listeners);
    socket.once("close", () => {
      for (const listener of listeners) listener();
    });
  }
  const listeners = waiting;
  listeners.add(onClose);
  response.once("close", () => listeners.delete(onClose));
}
