import { z } from "zod";
import { InvalidOptionsError, type OptionsIssue } from "../../errors/router-error.js";
import { type Provider, ProviderOptionError } from "../../providers/provider.js";
import type { AiSdkEmbeddingModel, AiSdkLanguageModel, SpecificationVersion } from "../specification.js";
import { CallWriter } from "./call-writer.js";
import { EmbeddingModelUpstream } from "./embedding-model-upstream.js";
import { LanguageModelUpstream } from "./language-model-upstream.js";

/** How a model of the AI SDK is called. */
export interface AiSdkModelOptions {
  /** The provider's name in records and events: `[a-z0-9-]`, 1–64 characters. @default the model's own, such as `anthropic-messages` */
  readonly name?: string | undefined;
  /** Given to the model with every call, by provider: `{ anthropic: { effort: "low" } }`. @default {} */
  readonly providerOptions?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
  /** Sent with every call, in addition to the model's own headers. @default {} */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

const optionsSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, "expected 1 to 64 of a–z, 0–9 and -")
    .optional(),
  providerOptions: z.record(z.string(), z.record(z.string(), z.unknown())).optional(),
  headers: z.record(z.string(), z.string()).optional(),
});

const VERSIONS: readonly string[] = ["v2", "v3", "v4"] satisfies SpecificationVersion[];

/**
 * Makes a deployment's `provider` of a language or embedding model of Vercel's AI SDK, of specification 2, 3 or 4.
 *
 * @example { provider: aiSdkModel(anthropic("claude-sonnet-4-5")), model: "claude-sonnet-4-5" }
 * @throws {InvalidOptionsError} it is no such model, or an option is wrong.
 */
export function aiSdkModel(model: AiSdkLanguageModel | AiSdkEmbeddingModel, options: AiSdkModelOptions = {}): Provider {
  const version = versionOf(model);
  const parsed = optionsSchema.safeParse(options);
  if (!parsed.success) {
    throw new InvalidOptionsError(parsed.error.issues.map(({ path, message }) => ({ path: path.join("."), message })));
  }
  const { name, ...fixed } = parsed.data;
  return {
    name: name ?? providerName(model.provider),
    apiKey: "none",
    connect({ model: named, baseUrl, unknownFields }) {
      if (named !== model.modelId) {
        throw new ProviderOptionError("model", `expected "${model.modelId}", the model that was given as the provider`);
      }
      if (baseUrl !== undefined) throw new ProviderOptionError("baseUrl", "the model knows its own address");
      return isEmbeddingModel(model)
        ? new EmbeddingModelUpstream(model, version, fixed, unknownFields)
        : new LanguageModelUpstream(model, version, new CallWriter(version, fixed, unknownFields));
    },
  };
}

function isEmbeddingModel(model: AiSdkLanguageModel | AiSdkEmbeddingModel): model is AiSdkEmbeddingModel {
  return "doEmbed" in model;
}

/** Whatever JavaScript passes here. */
function versionOf(model: unknown): SpecificationVersion {
  if (typeof model === "string") {
    throw wrongModel(`expected a model object of the AI SDK, such as openai("gpt-5"), received the text "${model}"`);
  }
  if (typeof model !== "object" || model === null || !("specificationVersion" in model)) {
    throw wrongModel("expected a model object of the AI SDK");
  }
  const { specificationVersion: version } = model;
  if (typeof version !== "string" || !VERSIONS.includes(version)) {
    throw wrongModel(`expected a model of specification ${VERSIONS.join(", ")}, received ${JSON.stringify(version)}`);
  }
  const { modelId, doGenerate, doStream, doEmbed } = model as Partial<AiSdkLanguageModel & AiSdkEmbeddingModel>;
  const isLanguageModel = typeof doGenerate === "function" && typeof doStream === "function";
  if (typeof modelId !== "string" || !(isLanguageModel || typeof doEmbed === "function")) {
    throw wrongModel("expected a language model or an embedding model; other kinds have no place in a router");
  }
  return version as SpecificationVersion; // one of the list, see above
}

function wrongModel(message: string): InvalidOptionsError {
  const issue: OptionsIssue = { path: "model", message };
  return new InvalidOptionsError([issue]);
}

/** `anthropic.messages` → `anthropic-messages`. */
function providerName(provider: unknown): string {
  const name = String(provider ?? "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return name.slice(0, 64) || "ai-sdk";
}
