import type { Directory } from "../access/directory.js";
import type { Cancellation } from "../internal/cancellation.js";
import type { Principal } from "../plugins/plugin.js";
import type { Chunk, Operation, Reply } from "../protocol/operations.js";
import type { RelayPiece } from "../providers/provider.js";
import type { RoutingFacts, RoutingRecord } from "./routing-record.js";

/** What a caller may say beside the body. */
export interface CallOptions {
  /** Whoever is charged: what the `directory` allows them, holds. Without one the host itself calls, unlimited. */
  readonly principal?: Principal | undefined;
  /** Labels: on every event and in the routing record. At most 16. */
  readonly tags?: readonly string[] | undefined;
  /** Text by name, for plugins and events; never sent upstream. At most 16 pairs. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Ends the request wherever it is; the upstream call is aborted within 100 ms. */
  readonly signal?: AbortSignal | undefined;
  /** The whole request, waits and fallbacks included, in milliseconds. @default the group's `timeouts.totalMs` */
  readonly deadlineMs?: number | undefined;
  /**
   * Only deployments that have all these tags, and this region; or the one with this id, of the named group, which is also
   * how a request says where the things exist that it refers to (files, cached contents).
   */
  readonly require?:
    | {
        readonly tags?: readonly string[] | undefined;
        readonly region?: string | undefined;
        readonly deployment?: string | undefined;
      }
    | undefined;
  /** A `batch` request gives way and waits, for a slot or a rate limit, as long as its deadline lets. @default "interactive" */
  readonly priority?: "interactive" | "batch" | undefined;
  /** What belongs together, however its prompts begin: goes on where it was served last, as far as load allows. */
  readonly sessionId?: string | undefined;
  /** Groups to try after the named one, instead of its own fallbacks. */
  readonly fallbacks?: readonly string[] | undefined;
  /** The routing record shows the numbers that each deployment was compared by. Costs time. @default false */
  readonly explain?: boolean | undefined;
  /** What caches may do for this request, where there are any; `false`: nothing. */
  readonly cache?: RequestCacheOptions | false | undefined;
}

/** What a host says of one HTTP request beside who is calling: the options of a call, set by its own code only. */
export type HostCallOptions = Omit<CallOptions, "principal" | "signal">;

/** What a host tells an HTTP handler of one request. Nothing of it comes from the client. */
export interface HandlerContext {
  /** Whoever is calling; `authenticate` is not asked then. */
  readonly principal?: Principal | undefined;
  /** Options of the call: `tags`, `metadata`, `sessionId`, `deadlineMs`, `priority`, `require` and the others. */
  readonly options?: HostCallOptions | undefined;
}

/** What a caller says to caches. */
export interface RequestCacheOptions {
  /** Ask for a new answer, which may be stored. @default false */
  readonly noCache?: boolean | undefined;
  /** Do not store the answer. @default false */
  readonly noStore?: boolean | undefined;
  /** Take stored answers up to this age, in milliseconds. @default as long as the cache keeps them */
  readonly maxAgeMs?: number | undefined;
}

/** One request, as the surfaces hand it to the router. */
export interface Call {
  readonly operation: Operation;
  /** Checked by the router: anything may arrive here. */
  readonly body: unknown;
  readonly options: CallOptions | undefined;
  /** `text`: stream chunks as a relay writes them. Whole replies are objects in either form. */
  readonly form: "chunks" | "text";
  /**
   * The wish to end the request, where the entry point has made one: the router may take it for its own, which also
   * cancels. `options.signal` is the same wish then; making and following it costs more than routing a short request.
   */
  readonly cancellation?: Cancellation | undefined;
  /**
   * What a client of the host's calls the session that the request belongs to. Affinity goes by it like by
   * `options.sessionId`; experiments do not, for a client could try names until it likes its variant (S1).
   */
  readonly session?: string | undefined;
}

/** A stream that has reached its commit point. */
export interface AnswerStream<T = Chunk | RelayPiece> {
  /**
   * The next chunks, at least one, as they arrived together; `undefined` at the end. One call at a time.
   * @throws {RouterError} the stream broke (`interrupted`); nothing follows.
   */
  next(): Promise<readonly T[] | undefined>;
  /** What `next` gave last was all: it has ended well, and the next call says so at once. May stay `undefined`. */
  readonly isOver?: boolean | undefined;
  /** The consumer leaves: the upstream is aborted and what was used is settled. Does nothing at the end. */
  cancel(): void;
}

export type Answer = (
  | {
      readonly kind: "reply";
      readonly reply: Reply;
      /** The JSON text of the same, in UTF-8, where a relay can have it as it came. */
      readonly bytes?: Uint8Array | undefined;
    }
  | { readonly kind: "stream"; readonly stream: AnswerStream }
) & {
  readonly routing: RoutingRecord;
  /** What a reply says of it in its headers; without it, the record has that, too. */
  readonly facts?: RoutingFacts | undefined;
};

/** The key under which a router takes calls from other entry points of this package, whichever copy they come from. */
export const answerCall: unique symbol = Symbol.for("llm-switchyard.answerCall");

/** The key under which a router tells handlers of this package what they have to know of it. */
export const handlerPort: unique symbol = Symbol.for("llm-switchyard.handlerPort");

export interface HandlerPort {
  /** The one that is in force: a reload may bring another. */
  directory(): Directory | undefined;
  /** Warns, once per minute of each `subject`. */
  report(subject: string, message: string): void;
}

/** What the HTTP handler needs of a router. */
export interface CallTarget {
  /** @throws {RouterError} the request ended before its commit point. */
  [answerCall](call: Call): Promise<Answer>;
}
