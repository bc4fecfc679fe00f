import type { OpenAiFacts } from "../facts.js";
import { joinContentParts } from "./content-parts.js";

/** The router in front of many inference providers. @see https://huggingface.co/docs/inference-providers */
export const huggingface: OpenAiFacts = {
  name: "huggingface",
  apiKey: "required",
  defaultBaseUrl: "https://router.huggingface.co/v1",
  operations: { "chat.completions": {} },
  request: { systemForDeveloper: true },
  answer: { repairMessage: joinContentParts },
  errors: { classify: ({ code }) => (code === "model_not_supported" ? "not_found" : undefined) },
};
