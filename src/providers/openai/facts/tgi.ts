import { features } from "../../../protocol/features.js";
import { missingFeature } from "../../shared/invalid-request.js";
import { isJsonObject, type JsonObject } from "../../shared/json-object.js";
import type { OpenAiFacts } from "../facts.js";

/** Text Generation Inference. @see https://huggingface.co/docs/text-generation-inference */
export const tgi: OpenAiFacts = {
  name: "tgi",
  apiKey: "optional",
  addsVersion: "missing",
  healthPath: "/health",
  operations: {
    "chat.completions": {
      drops: features(
        "multipleChoices",
        "logitBias",
        "prediction",
        "webSearch",
        "reasoningEffort",
        "audioOutput",
        "legacyFunctions",
      ),
      rejects: features("audioInput", "file", "jsonObject"),
    },
    completions: { drops: features("multipleChoices", "logitBias"), rejects: features("tokenInput") },
  },
  request: {
    // Any other name is taken for a LoRA adapter.
    model: "tgi",
    renames: { max_completion_tokens: "max_tokens" },
    systemForDeveloper: true,
    stopAsArray: true,
    // Even an explicit 0 sets a repetition penalty of 2, and `top_p` must be below 1.
    leavesOutNeutral: ["top_p", "presence_penalty", "frequency_penalty"],
    translates: { "chat.completions": ["response_format"] },
    adapt: adaptGrammar,
  },
  loadMetrics: { path: "/metrics", running: ["tgi_batch_current_size"], waiting: ["tgi_queue_size"] },
};

/** Constrained output goes under `value`, and excludes tools. */
function adaptGrammar(body: JsonObject): void {
  const { response_format: format, tools } = body;
  if (!isJsonObject(format)) return;
  if (format.type === "text") {
    delete body.response_format;
    return;
  }
  if (Array.isArray(tools) && tools.length > 0) {
    throw missingFeature("TGI takes tools or a response format, not both", "response_format");
  }
  if (format.type === "json_object" && format.value === undefined) {
    throw missingFeature("TGI has no JSON mode without a schema", "response_format");
  }
  if (format.type !== "json_schema" || !isJsonObject(format.json_schema)) return;
  const { name, schema = {} } = format.json_schema;
  body.response_format = { type: "json_schema", value: name === undefined ? { schema } : { name, schema } };
}
