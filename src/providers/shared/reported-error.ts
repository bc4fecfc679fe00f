import type { JsonObject } from "./json-object.js";

/** An upstream's error as it was found: in the body of a failed call, of a successful one, or in a stream. */
export interface ReportedError {
  /** HTTP status of the answer; in a stream or a 200 the number that the body gives instead, where it gives one. */
  readonly status: number | undefined;
  /** It came with status 2xx or inside a stream. */
  readonly isEmbedded: boolean;
  readonly message: string;
  /** The upstream's code where it is a word; numbers only repeat the status. */
  readonly code: string | null;
  /** `error.type` and its kin: `BadRequestError`, `exceed_context_size_error`. */
  readonly type: string | null;
  readonly param: string | null;
  /** The whole body, where it is an object. */
  readonly body: JsonObject;
  /** The object that holds message and code: `body.error`, or the body itself. */
  readonly details: JsonObject;
  readonly headers: ReadonlyMap<string, string>;
}
