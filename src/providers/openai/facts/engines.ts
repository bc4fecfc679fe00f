/** Inference engines that one runs oneself: they take OpenAI's newer fields without complaint. */

import { features } from "../../../protocol/features.js";
import type { OpenAiFacts } from "../facts.js";

/** OpenAI's features that these engines ignore without a word: left out, and reported. */
const UNKNOWN = features("prediction", "webSearch", "audioOutput", "legacyFunctions");

/** @see https://docs.vllm.ai/en/latest/serving/openai_compatible_server */
export const vllm: OpenAiFacts = {
  name: "vllm",
  apiKey: "optional",
  defaultBaseUrl: "http://127.0.0.1:8000/v1",
  addsVersion: "bare",
  healthPath: "/health",
  operations: {
    "chat.completions": { drops: UNKNOWN, rejects: features("file", "customTools") },
    completions: { rejects: features("suffix") },
    embeddings: {},
  },
  takesPrefill: true,
  request: {
    systemForDeveloper: true,
    keepsReasoning: "always",
    continueAnswer(body) {
      body.continue_final_message = true;
      // On by default, and refused together with the other.
      body.add_generation_prompt = false;
    },
  },
  errors: { hasContextErrorsAt500: true },
  loadMetrics: {
    path: "/metrics",
    running: ["vllm:num_requests_running"],
    waiting: ["vllm:num_requests_waiting"],
    // A share in spite of its name; `gpu_…` up to 0.9.
    kvUsed: ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
  },
};

/** @see https://docs.sglang.ai */
export const sglang: OpenAiFacts = {
  name: "sglang",
  apiKey: "optional",
  defaultBaseUrl: "http://127.0.0.1:30000/v1",
  addsVersion: "bare",
  healthPath: "/health",
  operations: { "chat.completions": { drops: UNKNOWN }, completions: {}, embeddings: {} },
  takesPrefill: true,
  request: {
    systemForDeveloper: true,
    continueAnswer(body) {
      body.continue_final_message = true;
    },
  },
  // Only with `--enable-metrics`.
  loadMetrics: {
    path: "/metrics",
    running: ["sglang:num_running_reqs"],
    waiting: ["sglang:num_queue_reqs"],
    kvUsed: ["sglang:token_usage"],
  },
};

/** @see https://github.com/ggml-org/llama.cpp/tree/master/tools/server */
export const llamacpp: OpenAiFacts = {
  name: "llamacpp",
  apiKey: "optional",
  defaultBaseUrl: "http://127.0.0.1:8080",
  addsVersion: "missing",
  healthPath: "/health",
  operations: { "chat.completions": { drops: UNKNOWN }, completions: {}, embeddings: {} },
  request: { systemForDeveloper: true },
  errors: {
    hasContextErrorsAt500: true,
    // Builds without templates for tools say so with status 500.
    classify: ({ message }) => (/\brequires --jinja\b/.test(message) ? "invalid_request" : undefined),
  },
  // Only with `--metrics`; newer builds keep the cache's use to themselves.
  loadMetrics: {
    path: "/metrics",
    running: ["llamacpp:requests_processing"],
    waiting: ["llamacpp:requests_deferred"],
    kvUsed: ["llamacpp:kv_cache_usage_ratio"],
  },
};

/** Tells nothing of its load. @see https://localai.io */
export const localai: OpenAiFacts = {
  name: "localai",
  apiKey: "optional",
  defaultBaseUrl: "http://127.0.0.1:8080/v1",
  addsVersion: "bare",
  loadsModelsOnDemand: true,
  healthPath: "/readyz",
  operations: {
    "chat.completions": { drops: features("prediction", "webSearch", "audioOutput"), rejects: features("file") },
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
  // On the port of the workers, of all instances that one has.
  loadMetrics: {
    path: undefined,
    running: ["gpustack:num_requests_running"],
    waiting: ["gpustack:num_requests_waiting"],
    kvUsed: ["gpustack:kv_cache_usage_ratio"],
    isOfManyModels: true,
  },
};
