import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type Clock, systemClock } from "../internal/clock.js";
import { type Deferred, deferred } from "../internal/deferred.js";
import { type Random, seededRandom } from "../internal/random.js";
import { checked, fakeUpstreamOptions, refusal } from "./behaviour-options.js";
import { type Behaviour, error, expectBehaviour, reply, respond } from "./behaviours.js";
import { perform, type UpstreamExchange } from "./perform-behaviour.js";
import { type ReceivedRequest, RequestRecord } from "./received-request.js";

export interface FakeUpstreamOptions {
  /** Ids that `GET /v1/models` lists; requests may name any model. @default ["fake-model"] */
  readonly models?: readonly string[] | undefined;
  /** Where to listen on 127.0.0.1. @default 0, any free port */
  readonly port?: number | undefined;
  /** What its waits go by. @default the system clock */
  readonly clock?: Clock | undefined;
  /** Source of ids and jitter. @default a seeded one */
  readonly random?: Random | undefined;
  /** How many of the latest requests `requests` keeps. @default 10000 */
  readonly keepRequests?: number | undefined;
}

/**
 * An upstream in OpenAI's format on a real socket, that does what a test tells it to.
 *
 * Serves `POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings` and `GET /v1/models`, `/health`, with or without
 * the `/v1`. Which behaviour a request meets: the first rule of `when` that gives one, else, for `POST`, the next of
 * `next`, else that of `always`, else a correct answer that echoes the last user message.
 */
export interface FakeUpstream {
  /** Scheme, host, port. */
  readonly origin: string;
  /** The base URL that clients want: the origin and `/v1`. */
  readonly url: string;
  readonly port: number;
  /** Queues a behaviour for each of the next `POST` requests. @throws {InvalidOptionsError} something is no behaviour. */
  next(...behaviours: readonly Behaviour[]): void;
  /** What `POST` requests meet when nothing is queued. Without an argument: the correct answer again. */
  always(behaviour?: Behaviour): void;
  /** Adds a rule that is asked about every request, before the queue. What it throws is answered with a 500. */
  when(rule: (request: ReceivedRequest) => Behaviour | undefined): void;
  /** Forgets rules, queue, and the requests so far. Connections stay. */
  reset(): void;
  /** The requests that arrived, in order. */
  readonly requests: readonly ReceivedRequest[];
  /** Requests that arrived since the start or the last `reset`. */
  readonly requestCount: number;
  /** Requests whose answer is not complete. */
  readonly inFlight: number;
  readonly openConnections: number;
  /** Connections that were ever made. */
  readonly connectionCount: number;
  /**
   * @param number - 1 is the first since the start or the last `reset`. @default 1
   * @throws {Error} the upstream was closed or reset meanwhile, or no longer keeps that request.
   */
  waitForRequest(number?: number): Promise<ReceivedRequest>;
  /** As if the process had died: drops all connections and refuses new ones. */
  refuse(): Promise<void>;
  /** Takes connections again, on the same port. */
  listenAgain(): Promise<void>;
  /** Drops all connections and stops listening. Requests under way end unanswered. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a fake upstream on 127.0.0.1.
 *
 * @throws {InvalidOptionsError} an option is none, or cannot be that.
 * @throws {Error} the port is taken.
 */
export async function startFakeUpstream(options: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  checked("startFakeUpstream", fakeUpstreamOptions, options);
  return startScriptedServer(options, () => reply());
}

/** @param answer - What requests meet that no script speaks of. */
export async function startScriptedServer(
  options: FakeUpstreamOptions,
  answer: (request: ReceivedRequest) => Behaviour,
): Promise<FakeUpstream> {
  const upstream = new ScriptedServer(options, answer);
  await upstream.listen(options.port ?? 0);
  return upstream;
}

class ScriptedServer implements FakeUpstream {
  readonly #server: Server;
  readonly #answer: (request: ReceivedRequest) => Behaviour;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #models: readonly string[];
  readonly #keepRequests: number;
  readonly #sockets = new Set<Socket>();
  readonly #connectionNumbers = new WeakMap<Socket, number>();
  readonly #waiters = new Map<number, Deferred<ReceivedRequest>>();
  /** Aborted when connections are dropped, then replaced. */
  #dropping = new AbortController();
  #rules: ((request: ReceivedRequest) => Behaviour | undefined)[] = [];
  #queue: Behaviour[] = [];
  #always: Behaviour | undefined;
  #requests: RequestRecord[] = [];
  #requestCount = 0;
  #connectionCount = 0;
  #inFlight = 0;
  #port = 0;
  #isClosed = false;

  constructor(options: FakeUpstreamOptions, answer: (request: ReceivedRequest) => Behaviour) {
    this.#answer = answer;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? seededRandom(1);
    this.#models = options.models ?? ["fake-model"];
    this.#keepRequests = options.keepRequests ?? 10_000;
    // No deadlines of its own: only the script and the client end a connection.
    this.#server = createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      this.#connectionNumbers.set(socket, ++this.#connectionCount);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${this.#port}`;
  }
  get url(): string {
    return `${this.origin}/v1`;
  }
  get port(): number {
    return this.#port;
  }
  get requests(): readonly ReceivedRequest[] {
    return this.#requests;
  }
  get requestCount(): number {
    return this.#requestCount;
  }
  get inFlight(): number {
    return this.#inFlight;
  }
  get openConnections(): number {
    return this.#sockets.size;
  }
  get connectionCount(): number {
    return this.#connectionCount;
  }

  next(...behaviours: readonly Behaviour[]): void {
    for (const [position, behaviour] of behaviours.entries()) expectBehaviour(`next[${position}]`, behaviour);
    this.#queue.push(...behaviours);
  }

  always(behaviour?: Behaviour): void {
    if (behaviour !== undefined) expectBehaviour("always", behaviour);
    this.#always = behaviour;
  }

  when(rule: (request: ReceivedRequest) => Behaviour | undefined): void {
    if (typeof rule !== "function") throw refusal("when", "a function that gives a behaviour or nothing", rule);
    this.#rules.push(rule);
  }

  reset(): void {
    this.#rules = [];
    this.#queue = [];
    this.#always = undefined;
    this.#requests = [];
    this.#requestCount = 0;
    this.#failWaiters("The upstream was reset");
  }

  waitForRequest(number = 1): Promise<ReceivedRequest> {
    if (!Number.isSafeInteger(number) || number < 1) {
      return Promise.reject(refusal("waitForRequest", "an integer from 1", number));
    }
    if (number > this.#requestCount) {
      if (this.#isClosed) return Promise.reject(new Error("The upstream is closed"));
      let waiter = this.#waiters.get(number);
      if (!waiter) {
        waiter = deferred();
        // A test that no longer waits when the upstream closes has nothing to hear about it.
        waiter.promise.catch(() => {});
        this.#waiters.set(number, waiter);
      }
      return waiter.promise;
    }
    const request = this.#requests[this.#requests.length - 1 - (this.#requestCount - number)];
    return request ? Promise.resolve(request) : Promise.reject(new Error(`Request ${number} is no longer kept`));
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, "127.0.0.1", () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    this.#port = (this.#server.address() as AddressInfo).port; // a TCP server that listens has one
  }

  async refuse(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = [new Promise<void>((resolve) => this.#server.close(() => resolve()))];
    this.#dropping.abort(new Error("The upstream drops its connections"));
    for (const socket of this.#sockets) {
      closed.push(new Promise((resolve) => socket.once("close", () => resolve())));
      socket.resetAndDestroy();
    }
    await Promise.all(closed);
    this.#dropping = new AbortController();
  }

  async listenAgain(): Promise<void> {
    if (this.#isClosed) throw new Error("The upstream is closed");
    if (!this.#server.listening) await this.listen(this.#port);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#failWaiters("The upstream was closed");
    await this.refuse();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #failWaiters(message: string): void {
    for (const waiter of this.#waiters.values()) waiter.reject(new Error(message));
    this.#waiters.clear();
  }

  /** One request from its first byte to its end. Never rejects. */
  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = message;
    this.#inFlight++;
    const over = new AbortController();
    let record: RequestRecord | undefined;
    let isOver = false;
    /** @param isAborted - It was the client who ended it. */
    const end = (isAborted: boolean) => {
      if (isOver) return;
      isOver = true;
      this.#inFlight--;
      this.#dropping.signal.removeEventListener("abort", drop);
      record?.end(isAborted ? this.#clock.now() : undefined);
    };
    const drop = () => {
      end(false);
      over.abort(this.#dropping.signal.reason);
    };
    this.#dropping.signal.addEventListener("abort", drop, { once: true });
    response.once("close", () => {
      const isComplete = response.writableFinished;
      end(!isComplete);
      if (!isComplete) over.abort(new Error("The client left"));
    });

    const text = await bodyText(message);
    record = new RequestRecord(
      message,
      this.#requestCount + 1,
      text,
      this.#connectionNumbers.get(socket) ?? 0,
      this.#clock.now(),
    );
    // The client left while it was still sending.
    if (isOver) record.end(this.#clock.now());
    this.#note(record);
    if (isOver) return;

    const exchange: UpstreamExchange = {
      request: record,
      response,
      socket,
      clock: this.#clock,
      random: this.#random,
      signal: over.signal,
      end: () => end(false),
    };
    try {
      await perform(this.#behaviourFor(record), exchange);
    } catch (problem) {
      if (over.signal.aborted) return;
      // A mistake in the script: the client shall not wait for ever.
      if (response.headersSent) socket.destroy();
      else response.writeHead(500, { "content-type": "text/plain" }).end(`fake upstream: ${String(problem)}`);
    }
  }

  #note(record: RequestRecord): void {
    this.#requestCount++;
    this.#requests.push(record);
    if (this.#requests.length > this.#keepRequests) this.#requests.shift();
    this.#waiters.get(record.number)?.resolve(record);
    this.#waiters.delete(record.number);
  }

  #behaviourFor(request: ReceivedRequest): Behaviour {
    for (const rule of this.#rules) {
      const behaviour = rule(request);
      if (behaviour === undefined) continue;
      expectBehaviour("when", behaviour);
      return behaviour;
    }
    if (request.method === "POST") return this.#queue.shift() ?? this.#always ?? this.#answer(request);
    return this.#plainRoute(request);
  }

  #plainRoute({ method, path }: ReceivedRequest): Behaviour {
    if (method !== "GET") return error(405, { message: `${method} is not possible here` });
    switch (path.replace(/^\/v1(?=\/)/, "")) {
      case "/models":
        return respond({ body: { object: "list", data: this.#models.map(modelEntry) } });
      case "/health":
        return respond({ body: { status: "ok" } });
      default:
        return error(404, { message: `Nothing is found at ${path}` });
    }
  }
}

function modelEntry(id: string) {
  return { id, object: "model", created: 0, owned_by: "fake-upstream" };
}

/** The request's body as far as it came. */
async function bodyText(message: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  try {
    for await (const part of message) parts.push(part as Buffer); // no encoding is set
  } catch {
    // The connection broke: the response's `close` says so.
  }
  return Buffer.concat(parts).toString("utf8");
}
