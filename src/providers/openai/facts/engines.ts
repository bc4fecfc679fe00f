/** Inference engines that one runs oneself: they take OpenAI's newer fields without complaint. */
import type { OpenAiFacts } from "../facts.js";
import { features } from "../request.js";

/** @see https://docs.vllm.ai/en/latest/serving/openai_compatible_server */
export const vllm: OpenAiFacts = {
  name: "vllm",
  apiKey: "optional",
  addsVersion: "bare",
  healthPath: "/health",
  operations: {
    "chat.completions": { drops: features("prediction"), rejects: features("file") },
    completions: { rejects: features("suffix") },
    embeddings: {},
  },
  request: { systemForDeveloper: true, keepsReasoning: "always" },
  errors: { hasContextErrorsAt500: true },
};

/** @see https://docs.sglang.ai */
export const sglang: OpenAiFacts = {
  name: "sglang",
  apiKey: "optional",
  addsVersion: "bare",
  healthPath: "/health",
  operations: { "chat.completions": {}, completions: {}, embeddings: {} },
  request: { systemForDeveloper: true },
};

/** @see https://github.com/ggml-org/llama.cpp/tree/master/tools/server */
export const llamacpp: OpenAiFacts = {
  name: "llamacpp",
  apiKey: "optional",
  defaultBaseUrl: "http://127.0.0.1:8080",
  addsVersion: "missing",
  healthPath: "/health",
  operations: { "chat.completions": {}, completions: {}, embeddings: {} },
  request: { systemForDeveloper: true },
  errors: {
    hasContextErrorsAt500: true,
    // Builds without templates for tools say so with status 500.
    classify: ({ message }) => (/\brequires --jinja\b/.test(message) ? "invalid_request" : undefined),
  },
};

/** @see https://localai.io */
export const localai: OpenAiFacts = {
  name: "localai",
  apiKey: "optional",
  addsVersion: "bare",
  loadsModelsOnDemand: true,
  healthPath: "/readyz",
  operations: {
    "chat.completions": { drops: features("prediction"), rejects: features("file") },
    completions: {},
    embeddings: { drops: features("dimensions") },
  },
  request: { systemForDeveloper: true },
  // The message is the engine's, and so is the habit.
  errors: { hasContextErrorsAt500: true },
};

/** Proxies other engines, whose answers pass unchanged. @see https://docs.gpustack.ai */
export const gpustack: OpenAiFacts = {
  name: "gpustack",
  apiKey: "optional",
  addsVersion: "bare",
  healthPath: "/healthz",
  operations: { "chat.completions": {}, completions: {}, embeddings: {} },
  errors: { hasContextErrorsAt500: true },
};
