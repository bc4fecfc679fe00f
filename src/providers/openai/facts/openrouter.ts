import { errorClassOfText } from "../../../errors/classify.js";
import type { ErrorClass } from "../../../errors/upstream-error.js";
import { isJsonObject, type JsonObject, textOf } from "../../shared/json-object.js";
import { OPENROUTER_LIMITS } from "../../shared/rate-limit-headers.js";
import type { ReportedError } from "../../shared/reported-error.js";
import type { OpenAiFacts } from "../facts.js";

/** @see https://openrouter.ai/docs/api-reference/overview */
export const openrouter: OpenAiFacts = {
  name: "openrouter",
  apiKey: "required",
  defaultBaseUrl: "https://openrouter.ai/api/v1",
  operations: { "chat.completions": {}, embeddings: {} },
  rateLimitHeaders: OPENROUTER_LIMITS,
  answer: { errorIn: choiceError },
  errors: { classify, isHopeless: ({ message }) => /\bper[- ]day\b/i.test(message) },
};

function choiceError({ choices }: JsonObject): unknown {
  if (!Array.isArray(choices)) return undefined;
  for (const choice of choices) if (isJsonObject(choice) && isJsonObject(choice.error)) return choice.error;
  return undefined;
}

/** `metadata.error_type`, of newer answers. */
const ERROR_TYPES: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["context_length_exceeded", "context_length"],
  ["token_limit_exceeded", "context_length"],
  ["max_tokens_exceeded", "invalid_request"],
  ["string_too_long", "invalid_request"],
  ["authentication", "authentication"],
  ["permission_denied", "permission"],
  ["payment_required", "quota"],
  ["rate_limit_exceeded", "rate_limit"],
  ["provider_overloaded", "overloaded"],
  ["provider_unavailable", "overloaded"],
  ["invalid_request", "invalid_request"],
  ["invalid_prompt", "invalid_request"],
  ["not_found", "not_found"],
  ["payload_too_large", "too_large"],
  ["unprocessable", "invalid_request"],
  ["content_policy_violation", "content_filter"],
  ["refusal", "content_filter"],
  ["server", "server"],
  ["timeout", "timeout"],
]);

function classify({ status, details, headers }: ReportedError): ErrorClass | undefined {
  const metadata = isJsonObject(details.metadata) ? details.metadata : {};
  const errorType = textOf(metadata.error_type);
  // A budget that other requests hold is free again soon.
  if (status === 402 && headers.has("retry-after")) return "rate_limit";
  const known = errorType === undefined ? undefined : ERROR_TYPES.get(errorType);
  if (known) return known;
  switch (status) {
    case 403:
      return metadata.reasons !== undefined || metadata.flagged_input !== undefined ? "content_filter" : undefined;
    case 400:
    case 413:
    case 422: {
      const raw = typeof metadata.raw === "string" ? metadata.raw : JSON.stringify(metadata.raw ?? "");
      return errorClassOfText(null, raw.slice(0, 4_096));
    }
    case 524:
      return "timeout";
    default:
      return undefined;
  }
}
