import type { JsonObject } from "../json-object.js";

/** A content block of Anthropic's messages. */
export type Block = JsonObject & { readonly type: string };

export interface Message {
  readonly role: "user" | "assistant";
  readonly content: readonly Block[];
}

/** Marks what comes from and goes to Anthropic in `reasoning_details` (wire C5). */
export const REASONING_FORMAT = "anthropic-claude-v1";

/** The tool whose input is the answer, for models without structured outputs. */
export const JSON_TOOL = "json";
