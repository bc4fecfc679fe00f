import type { IncomingMessage } from "node:http";
import { deferred } from "../internal/deferred.js";
import type { Operation } from "../protocol/operations.js";

/** One request as a fake upstream received it. */
export interface ReceivedRequest {
  /** 1 for the first that this upstream received. */
  readonly number: number;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Names in lower case; repeated headers joined with `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body as text. */
  readonly text: string;
  /** The body as JSON; empty where it is no object. */
  readonly body: Readonly<Record<string, unknown>>;
  /** What the path asks for; `undefined` on other paths. */
  readonly operation: Operation | undefined;
  readonly isStreaming: boolean;
  /** Requests with the same number came over the same connection; 1 is the first connection. */
  readonly connection: number;
  /** The client left before the answer was complete. */
  readonly isAborted: boolean;
  /** When it left, in milliseconds after the request had arrived. */
  readonly abortedAfterMs: number | undefined;
  /** The answer is complete, or the client has left, or the connection is broken. */
  readonly isEnded: boolean;
  /** Resolves at that moment. Never rejects. */
  readonly ended: Promise<void>;
}

const OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  ["/chat/completions", "chat.completions"],
  ["/completions", "completions"],
  ["/embeddings", "embeddings"],
]);

/** Keeps the record of a request up to date. */
export class RequestRecord implements ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
  readonly operation: Operation | undefined;
  isAborted = false;
  abortedAfterMs: number | undefined = undefined;
  isEnded = false;
  readonly #ended = deferred<void>();
  readonly ended = this.#ended.promise;

  constructor(
    message: IncomingMessage,
    readonly number: number,
    readonly text: string,
    readonly connection: number,
    private readonly receivedAtMs: number,
  ) {
    this.method = message.method ?? "";
    const target = message.url ?? "/";
    const queryAt = target.indexOf("?");
    this.path = queryAt === -1 ? target : target.slice(0, queryAt);
    this.query = new URLSearchParams(queryAt === -1 ? "" : target.slice(queryAt));
    this.headers = joinedHeaders(message.rawHeaders);
    this.body = parsedObject(text);
    this.operation = this.method === "POST" ? OPERATIONS.get(this.path.replace(/^\/v1(?=\/)/, "")) : undefined;
  }

  get isStreaming(): boolean {
    return this.body.stream === true;
  }

  /** @param abortedAtMs - The client left, at this moment. */
  end(abortedAtMs: number | undefined): void {
    if (this.isEnded) return;
    this.isEnded = true;
    if (abortedAtMs !== undefined) {
      this.isAborted = true;
      this.abortedAfterMs = abortedAtMs - this.receivedAtMs;
    }
    this.#ended.resolve();
  }
}

function joinedHeaders(rawHeaders: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null);
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? "").toLowerCase();
    const value = rawHeaders[i + 1] ?? "";
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return headers;
}

function parsedObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : {}; // an object, checked
  } catch {
    return {};
  }
}
