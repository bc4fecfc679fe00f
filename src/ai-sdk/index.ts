/** Vercel's AI SDK, both ways: its models as deployments of a router, and a router as one of its providers. */

export { type AiSdkModelOptions, aiSdkModel } from "./deployment/ai-sdk-model.js";
export type { SwitchyardModelSettings, SwitchyardProviderOptions } from "./provider/call-settings.js";
export { createSwitchyard, type SwitchyardOptions, type SwitchyardProvider } from "./provider/create-switchyard.js";
export type { SwitchyardEmbeddingModel } from "./provider/embedding-model.js";
export type { SwitchyardLanguageModel } from "./provider/language-model.js";
export type { AiSdkEmbeddingModel, AiSdkLanguageModel, SpecificationVersion } from "./specification.js";
