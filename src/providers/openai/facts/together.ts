import { errorClassOfText } from "../../../errors/classify.js";
import type { ErrorClass } from "../../../errors/upstream-error.js";
import { features } from "../../../protocol/features.js";
import type { JsonObject } from "../../shared/json-object.js";
import { TOGETHER_LIMITS } from "../../shared/rate-limit-headers.js";
import type { ReportedError } from "../../shared/reported-error.js";
import type { Adaptation, OpenAiFacts } from "../facts.js";

/** @see https://docs.together.ai/reference/chat-completions-1 */
export const together: OpenAiFacts = {
  name: "together",
  apiKey: "required",
  defaultBaseUrl: "https://api.together.xyz/v1",
  operations: {
    "chat.completions": { rejects: features("audioInput") },
    completions: {},
    embeddings: {},
  },
  rateLimitHeaders: TOGETHER_LIMITS,
  request: {
    renames: { max_completion_tokens: "max_tokens" },
    systemForDeveloper: true,
    stopAsArray: true,
    translates: { "chat.completions": ["logprobs", "top_logprobs"] },
    adapt: adaptLogprobs,
  },
  errors: { classify },
};

/** `logprobs` is a number here: how many alternatives. */
function adaptLogprobs(body: JsonObject, { operation }: Adaptation): void {
  if (operation !== "chat.completions") return;
  const { logprobs, top_logprobs: alternatives } = body;
  delete body.top_logprobs;
  if (logprobs === true) body.logprobs = typeof alternatives === "number" ? alternatives : 1;
  else if (logprobs === false || logprobs === null) delete body.logprobs;
}

function classify({ status, code, message }: ReportedError): ErrorClass | undefined {
  if (status === 403) {
    // Too many tokens are forbidden, not invalid.
    const isContext =
      errorClassOfText(code, message) === "context_length" || /\bmust be less than the context length\b/i.test(message);
    return isContext ? "context_length" : undefined;
  }
  if (code === "credit_limit") return "quota";
  return status === 524 ? "timeout" : undefined;
}
