import { UpstreamError } from "../../errors/upstream-error.js";
import type { ErrorFacts } from "../shared/errors.js";

/**
 * Errors are `{"error": "text"}`: the status tells the class, in a stream the text does.
 * @see https://docs.ollama.com/api/errors
 */
export const errorFacts: ErrorFacts = {
  classify: ({ status, message }) => {
    if (status !== undefined) return undefined;
    // In a stream there is no status: the texts are those that come with one elsewhere.
    if (/\bmaximum pending requests exceeded\b/i.test(message)) return "overloaded";
    if (/^model\b.{1,300}\bnot found\b/i.test(message)) return "not_found";
    if (/\bdoes not support (?:tools|thinking|insert|chat)\b/i.test(message)) return "invalid_request";
    return undefined;
  },
};

/** A prompt that fills the whole context has been cut: Ollama says so in no other way. */
export function promptWasCut(promptTokens: number, contextTokens: number): UpstreamError {
  return new UpstreamError(
    `the prompt exceeds the context of ${contextTokens} tokens: Ollama cut it to ${promptTokens} before it answered`,
    { errorClass: "context_length", param: "messages" },
  );
}
