import type { ErrorClass } from "../../../errors/upstream-error.js";
import { features } from "../../../protocol/features.js";
import { isJsonObject, type JsonObject } from "../../shared/json-object.js";
import { EVEN_LIMITS } from "../../shared/rate-limit-headers.js";
import type { ReportedError } from "../../shared/reported-error.js";
import type { OpenAiFacts } from "../facts.js";

/** @see https://console.groq.com/docs/openai */
export const groq: OpenAiFacts = {
  name: "groq",
  apiKey: "required",
  defaultBaseUrl: "https://api.groq.com/openai/v1",
  operations: {
    "chat.completions": {
      drops: features("multipleChoices", "logprobs", "logitBias"),
      rejects: features("audioInput"),
    },
  },
  rateLimitHeaders: EVEN_LIMITS,
  answer: {
    errorIn: (event) => ownMembers(event)?.error,
    usageIn: (event) => ownMembers(event)?.usage,
  },
  errors: { classify, isHopeless: ({ status }) => status === 413 },
};

function ownMembers({ x_groq: own }: JsonObject): JsonObject | undefined {
  return isJsonObject(own) ? own : undefined;
}

function classify({ status, code, type }: ReportedError): ErrorClass | undefined {
  switch (status) {
    case 400:
      // The model wrote a call or an object that does not parse: the next try may succeed.
      return code === "tool_use_failed" || code === "json_validate_failed" ? "server" : undefined;
    case 413:
      return code === "rate_limit_exceeded" || type === "tokens" ? "rate_limit" : undefined;
    case 498:
      return "overloaded";
    default:
      return undefined;
  }
}
