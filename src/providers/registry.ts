import { anthropic } from "./anthropic/index.js";
import { bedrock } from "./bedrock/index.js";
import { gemini } from "./gemini/index.js";
import { ollama } from "./ollama/index.js";
import { azure } from "./openai/facts/azure.js";
import { deepseek } from "./openai/facts/deepseek.js";
import { gpustack, llamacpp, localai, sglang, vllm } from "./openai/facts/engines.js";
import { groq } from "./openai/facts/groq.js";
import { huggingface } from "./openai/facts/huggingface.js";
import { mistral } from "./openai/facts/mistral.js";
import { openai, openaiCompatible } from "./openai/facts/openai.js";
import { openrouter } from "./openai/facts/openrouter.js";
import { tgi } from "./openai/facts/tgi.js";
import { together } from "./openai/facts/together.js";
import { openaiProvider } from "./openai/index.js";
import type { Provider } from "./provider.js";
import { simulated } from "./simulated/index.js";

const all: readonly Provider[] = [
  openaiProvider(openai),
  openaiProvider(openaiCompatible),
  openaiProvider(azure),
  openaiProvider(vllm),
  openaiProvider(sglang),
  openaiProvider(llamacpp),
  ollama,
  openaiProvider(localai),
  openaiProvider(gpustack),
  openaiProvider(tgi),
  openaiProvider(huggingface),
  openaiProvider(mistral),
  openaiProvider(groq),
  openaiProvider(openrouter),
  openaiProvider(deepseek),
  openaiProvider(together),
  anthropic,
  gemini,
  bedrock,
  simulated,
];

/** The providers that deployments can name. */
export const knownProviders: ReadonlyMap<string, Provider> = new Map(all.map((provider) => [provider.name, provider]));
