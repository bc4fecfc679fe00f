import { z } from "zod";
import { InvalidOptionsError } from "../../errors/router-error.js";
import type { Router } from "../../router/router.js";
import type { ServedName } from "../../router/router-options.js";
import type { SpecificationVersion } from "../specification.js";
import { NoSuchSwitchyardModelError } from "./api-call-error.js";
import type { SwitchyardModelSettings } from "./call-settings.js";
import { SwitchyardEmbeddingModel } from "./embedding-model.js";
import { SwitchyardLanguageModel } from "./language-model.js";

export interface SwitchyardOptions<V extends SpecificationVersion = SpecificationVersion> {
  /** Of the models: `v3` for versions 6 and 7 of the package `ai`, `v2` for version 5, `v4` for version 7 alone. @default "v3" */
  readonly specification?: V | undefined;
  /** The provider's name in the SDK's telemetry and errors. @default "switchyard" */
  readonly name?: string | undefined;
  /** What every call says to the router, unless the model or the call says otherwise. @default {} */
  readonly settings?: SwitchyardModelSettings | undefined;
}

/** A provider of the AI SDK over a router. Called, it gives a language model. */
export interface SwitchyardProvider<Model extends string, V extends SpecificationVersion> {
  (modelId: Model, settings?: SwitchyardModelSettings): SwitchyardLanguageModel<V>;
  readonly specificationVersion: V;
  languageModel(modelId: Model, settings?: SwitchyardModelSettings): SwitchyardLanguageModel<V>;
  /** The same as {@link languageModel}. */
  chat(modelId: Model, settings?: SwitchyardModelSettings): SwitchyardLanguageModel<V>;
  embeddingModel(modelId: Model, settings?: SwitchyardModelSettings): SwitchyardEmbeddingModel<V>;
  /** The name that version 5 has for {@link embeddingModel}. */
  textEmbeddingModel(modelId: Model, settings?: SwitchyardModelSettings): SwitchyardEmbeddingModel<V>;
  /** @throws always: routers have no such models. */
  imageModel(modelId: string): never;
}

const optionsSchema = z.strictObject({
  specification: z.enum(["v2", "v3", "v4"]).optional(),
  name: z.string().min(1).max(64).optional(),
  // Its members are checked with every call, by the router.
  settings: z.custom<SwitchyardModelSettings>(isRecord, "expected an object").optional(),
});

/**
 * Makes a router a provider of Vercel's AI SDK: `generateText({ model: switchyard("chat"), … })`.
 *
 * @throws {InvalidOptionsError} with every problem of the options.
 */
export function createSwitchyard<Group extends string, Alias extends string, V extends SpecificationVersion = "v3">(
  router: Router<Group, Alias>,
  options: SwitchyardOptions<V> = {},
): SwitchyardProvider<ServedName<Group, Alias>, V> {
  const parsed = optionsSchema.safeParse(options);
  if (!parsed.success) {
    throw new InvalidOptionsError(parsed.error.issues.map(({ path, message }) => ({ path: path.join("."), message })));
  }
  // The default of the type parameter is the default of the option.
  const version = (options.specification ?? "v3") as V;
  const { name = "switchyard", settings: shared = {} } = options;
  const languageModel = (modelId: string, settings: SwitchyardModelSettings = {}) =>
    new SwitchyardLanguageModel(version, name, modelId, router, { ...shared, ...settings });
  const embeddingModel = (modelId: string, settings: SwitchyardModelSettings = {}) =>
    new SwitchyardEmbeddingModel(version, name, modelId, router, { ...shared, ...settings });
  const switchyard = (modelId: string, settings?: SwitchyardModelSettings) => languageModel(modelId, settings);
  return Object.assign(switchyard, {
    specificationVersion: version,
    languageModel,
    chat: languageModel,
    embeddingModel,
    textEmbeddingModel: embeddingModel,
    imageModel(modelId: string): never {
      throw new NoSuchSwitchyardModelError(modelId, "imageModel");
    },
  });
}

function isRecord(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
