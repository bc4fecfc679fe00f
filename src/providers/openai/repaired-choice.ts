import type { JsonObject } from "../shared/json-object.js";

/** A choice of a chunk under repair: `delta` in chat completions, `text` in legacy ones. */
export interface RepairedChoice extends JsonObject {
  readonly index: number;
  readonly delta?: JsonObject;
  readonly text?: string;
  readonly finish_reason: string | null;
}
