import { missingFeature } from "../invalid-request.js";
import type { ModelFacts } from "./model-facts.js";

/**
 * Newer models do not continue an answer that the caller began.
 * @throws {UpstreamError} class `invalid_request` with `lacksFeature`.
 */
export function refusePrefill(messages: readonly { readonly role: string }[], { takesPrefill }: ModelFacts): void {
  if (takesPrefill || messages.at(-1)?.role !== "assistant") return;
  throw missingFeature("this model does not continue an assistant message", "messages");
}
