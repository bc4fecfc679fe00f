import { azure } from "../../src/providers/openai/facts/azure.js";
import { deepseek } from "../../src/providers/openai/facts/deepseek.js";
import { gpustack, llamacpp, localai, sglang, vllm } from "../../src/providers/openai/facts/engines.js";
import { groq } from "../../src/providers/openai/facts/groq.js";
import { huggingface } from "../../src/providers/openai/facts/huggingface.js";
import { mistral } from "../../src/providers/openai/facts/mistral.js";
import { ollamaV1 } from "../../src/providers/openai/facts/ollama.js";
import { openai, openaiCompatible } from "../../src/providers/openai/facts/openai.js";
import { openrouter } from "../../src/providers/openai/facts/openrouter.js";
import { tgi } from "../../src/providers/openai/facts/tgi.js";
import { together } from "../../src/providers/openai/facts/together.js";
import { openaiProvider } from "../../src/providers/openai/index.js";
import type { Provider, ProviderSettings, WireUpstream } from "../../src/providers/provider.js";

const engines = [vllm, sglang, llamacpp, localai, gpustack, ollamaV1, tgi];
const services = [openai, openaiCompatible, azure, huggingface, mistral, groq, openrouter, deepseek, together];

/** What is known of each of them. */
export const openaiFacts = [...engines, ...services];

/** The providers of OpenAI's dialect by name; `ollama` is its `/v1` surface here. */
export const openaiProviders: ReadonlyMap<string, Provider> = new Map(
  openaiFacts.map((facts) => [facts.name, openaiProvider(facts)]),
);
export const openaiProviderNames: readonly string[] = [...openaiProviders.keys()];

/** A deployment's upstream, with settings that hold for any of them. */
export function connectOpenai(name: string, settings: Partial<ProviderSettings> = {}): WireUpstream {
  const provider = openaiProviders.get(name);
  const upstream = provider?.connect({
    model: "wire-model",
    baseUrl: undefined,
    unknownFields: "forward",
    own: {},
    ...settings,
  });
  if (upstream?.kind !== "wire") throw new Error(`${name} is no wire upstream`);
  return upstream;
}

/** An address that the provider takes. */
export function anAddress(name: string): string {
  return (
    openaiProviders.get(name)?.defaultBaseUrl ?? (name === "azure" ? "https://r.openai.azure.com" : "http://up:1/v1")
  );
}
