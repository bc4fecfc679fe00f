import type { Cancellation } from "../internal/cancellation.js";
import type { Clock } from "../internal/clock.js";
import type { Principal } from "../plugins/plugin.js";
import type { HostCallOptions } from "../router/call.js";
import type { HttpReply } from "./reply.js";

/** What a request body may be (S22, S37). */
export interface BodyLimits {
  readonly maxBodyBytes: number;
  readonly bodyTimeoutMs: number;
  /** After `bodyGraceMs`; 0 takes any pace. */
  readonly minBodyBytesPerSecond: number;
  readonly bodyGraceMs: number;
  readonly maxJsonDepth: number;
}

/** A body that has arrived: its bytes, or what a parser in front of the handler has made of them. */
export type ReadBody =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "value"; readonly value: unknown };

/** One request as the core sees it; the web and the node adapter each have theirs. */
export interface HttpRequest {
  readonly method: string;
  /** Whoever the host says is calling. `authenticate` is not asked then. */
  readonly principal: Principal | undefined;
  /** What else the host says of the call. */
  readonly hostOptions?: HostCallOptions | undefined;
  /** The client has left. */
  readonly isGone: boolean;
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal;
  /** The same, where it comes cheaper than as a signal. */
  readonly cancellation: Cancellation | undefined;
  /** @param name - In lower case. */
  header(name: string): string | undefined;
  /** Was the header sent more than once, where that can be told? */
  repeatsHeader(name: string): boolean;
  /**
   * Reads the whole body. Called at most once.
   * @throws {RouterError} `request_too_large`, `request_timeout`, or `cancelled`: the client left.
   */
  readBody(limits: BodyLimits): Promise<ReadBody>;
}

/** What the adapters serve: the OpenAI-shaped routes of a router, or the management routes of a directory. */
export interface HttpService<R extends { readonly kind: string } = { readonly kind: string }> {
  readonly settings: { readonly clock: Clock; readonly stallTimeoutMs: number };
  /**
   * What a request target names: found once, and from nothing else (S8).
   *
   * @returns `kind: "outside"`: not under the base path.
   */
  findRoute(target: string, mountPath: string): R;
  /** @returns `undefined` when the client has left: nobody is there to read a reply. */
  answer(route: R, request: HttpRequest): Promise<HttpReply | undefined>;
}
