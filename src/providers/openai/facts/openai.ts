import type { EmbeddingLimits } from "../../provider.js";
import { foreignExtensions } from "../../shared/foreign-extensions.js";
import { EVEN_LIMITS, OPENAI_NAMED_LIMITS } from "../../shared/rate-limit-headers.js";
import type { OpenAiFacts } from "../facts.js";
import { joinContentParts } from "./content-parts.js";

/** Of one embeddings call, also at Azure. @see https://platform.openai.com/docs/api-reference/embeddings/create */
export const EMBEDDING_LIMITS: EmbeddingLimits = { inputs: 2_048, tokens: 300_000 };

/** @see https://platform.openai.com/docs/api-reference */
export const openai: OpenAiFacts = {
  name: "openai",
  apiKey: "required",
  defaultBaseUrl: "https://api.openai.com/v1",
  operations: { "chat.completions": {}, completions: {}, embeddings: {} },
  embeddingLimits: EMBEDDING_LIMITS,
  rateLimitHeaders: EVEN_LIMITS,
  request: { leavesOut: foreignExtensions },
};

/** A server of which nothing is known but that it speaks OpenAI's dialect. */
export const openaiCompatible: OpenAiFacts = {
  name: "openai-compatible",
  apiKey: "optional",
  operations: { "chat.completions": {}, completions: {}, embeddings: {} },
  rateLimitHeaders: OPENAI_NAMED_LIMITS,
  answer: { repairMessage: joinContentParts },
  errors: { hasContextErrorsAt500: true },
};
