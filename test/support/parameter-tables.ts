import type { Operation } from "../../src/protocol/operations.js";
import { parameters as anthropic } from "../../src/providers/anthropic/parameters.js";
import { parameters as bedrock } from "../../src/providers/bedrock/parameters.js";
import { parameters as gemini } from "../../src/providers/gemini/parameters.js";
import { parameters as ollama } from "../../src/providers/ollama/parameters.js";
import { parametersOf } from "../../src/providers/openai/parameters.js";
import type { ProviderSettings, WireUpstream } from "../../src/providers/provider.js";
import type { DialectParameters } from "../../src/providers/shared/parameters.js";
import { anAddress, connectOpenai, openaiFacts } from "./openai-providers.js";
import { connectWire } from "./wire-upstreams.js";

/** A dialect with its tables, and how to reach its encoder with a model that has all that the dialect knows. */
export interface TabledDialect {
  /** As the page's headings have it. */
  readonly name: string;
  readonly tables: DialectParameters;
  connect(operation: Operation, settings?: Partial<ProviderSettings>): WireUpstream;
}

/** Those that translate. */
export const translatingDialects: readonly TabledDialect[] = [
  translating("anthropic", anthropic, () => ({ model: "claude-sonnet-4-5" })),
  translating("gemini", gemini, (operation) => ({
    model: operation === "embeddings" ? "gemini-embedding-001" : "gemini-2.5-flash",
  })),
  translating("bedrock", bedrock, (operation) => ({
    model: operation === "embeddings" ? "cohere.embed-v4:0" : "anthropic.claude-sonnet-4-5-20250929-v1:0",
    region: "eu-central-1",
  })),
  translating("ollama", ollama, () => ({ model: "qwen3:8b" })),
];

/** Those of OpenAI's dialect. */
export const openaiDialects: readonly TabledDialect[] = openaiFacts.map((facts) => ({
  name: facts.name === "ollama" ? "ollama-openai" : facts.name,
  tables: parametersOf(facts),
  connect: (_operation, settings) => connectOpenai(facts.name, { baseUrl: anAddress(facts.name), ...settings }),
}));

function translating(
  name: string,
  tables: DialectParameters,
  settingsFor: (operation: Operation) => Partial<ProviderSettings>,
): TabledDialect {
  return {
    name,
    tables,
    connect: (operation, settings) => connectWire(name, { ...settingsFor(operation), ...settings }),
  };
}
