/** Vercel's AI SDK over its provider for OpenAI-compatible upstreams; installed in `bench/` alone. */
import { createRequire } from "node:module";
import { REQUEST_BODY, SYSTEM_MESSAGE, USER_MESSAGE } from "../payloads.js";
import type { Variant } from "./variant.js";

/** What is used of `ai`: its own types are there only where `bench/` has been installed. */
interface AiSdk {
  generateText(options: object): Promise<{ readonly text: string }>;
  streamText(options: object): { readonly textStream: AsyncIterable<string> };
}
interface AiSdkProvider {
  createOpenAICompatible(options: object): (model: string) => unknown;
}

// The names are not literals, so that neither compiler nor bundler looks for the packages.
const [sdkName, providerName] = ["ai", "@ai-sdk/openai-compatible"];
const sdk = (await import(sdkName as string)) as AiSdk; // see the interface
const provider = (await import(providerName as string)) as AiSdkProvider; // see the interface
const { version } = createRequire(import.meta.url)("ai/package.json") as { version: string }; // as packages are

function optionsOf(origin: string): object {
  const model = provider.createOpenAICompatible({ name: "upstream", apiKey: "sk-bench", baseURL: `${origin}/v1` });
  return {
    model: model(REQUEST_BODY.model),
    system: SYSTEM_MESSAGE.content,
    messages: [USER_MESSAGE],
    temperature: REQUEST_BODY.temperature,
    maxOutputTokens: REQUEST_BODY.max_tokens,
    maxRetries: 0,
  };
}

function completion(origin: string) {
  const options = optionsOf(origin);
  return async () => (await sdk.generateText(options)).text.length;
}

function stream(origin: string) {
  const options = optionsOf(origin);
  return async () => {
    let length = 0;
    for await (const text of sdk.streamText(options).textStream) length += text.length;
    return length;
  };
}

export const aiSdk: Variant = { version: `ai ${version}`, completion, stream };
