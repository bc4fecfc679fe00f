import { z } from "zod";
import type { Provider } from "../providers/provider.js";
import { priceSchema } from "../tokens/options.js";
import type { Price } from "../tokens/pricing.js";
import { ownTimeoutsSchema, type TimeoutOptions } from "../transport/options.js";
import type { ApiKey } from "./credential.js";
import {
  type DiscoverOption,
  discoverOption,
  healthProbeOption,
  type LoadSignalsOption,
  loadSignalsOption,
} from "./upkeep.js";

/** The providers that a deployment can name. */
export type ProviderName =
  | "openai"
  | "openai-compatible"
  | "azure"
  | "vllm"
  | "sglang"
  | "llamacpp"
  | "ollama"
  | "localai"
  | "gpustack"
  | "tgi"
  | "huggingface"
  | "mistral"
  | "groq"
  | "openrouter"
  | "deepseek"
  | "together"
  | "anthropic"
  | "gemini"
  | "bedrock"
  | "simulated";

/** A limit of concurrency. */
export interface MaxParallelOptions {
  /** Most requests at the same time, an integer, 1–1000000. Without it, where `ttftTargetMs` is given: 1024. */
  readonly max?: number | undefined;
  /** Of all processes that share the router's `store`, rather than of this one. @default false */
  readonly shared?: boolean | undefined;
  /**
   * Finds out how many requests at the same time have their first token within this time on average, in milliseconds,
   * 1–600000: at least 4, from 20 on, at most `max`. Without it: always `max`.
   */
  readonly ttftTargetMs?: number | undefined;
}

/** One callable target, as a group lists it. A provider's own options stand beside these. */
export interface DeploymentOptions {
  /** Whom to call: the name of a known provider, or a `Provider` object. */
  readonly provider: ProviderName | Provider;
  /** The model as the provider names it, 1–256 characters; `*` in a wildcard group is what the caller's name puts there. */
  readonly model: string;
  /** The root of the provider's API, `http` or `https`, as the provider's page gives it. Without it: the provider's own. */
  readonly baseUrl?: string | undefined;
  /** The API key, or a function, also async, that gets one for each attempt; `{ value, ttlMs }` is kept that long. */
  readonly apiKey?: ApiKey | undefined;
  /** Headers sent with each request. `undefined` is for types alone: a header without a value is refused, by name. */
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined;
  /** Name in events and records, 1–256 printable ASCII characters; one id in several groups shares health and limits. Without it: `provider/model@host`. */
  readonly id?: string | undefined;
  /** Share of traffic relative to the others of the group, 0.001–1000000, where the strategy uses weights. @default 1 */
  readonly weight?: number | undefined;
  /** An integer, 0–1000; the lower tier is used while any deployment of it is eligible. @default 0 */
  readonly tier?: number | undefined;
  /** Most requests at the same time from this process, an integer, 1–1000000; `{ max, shared, ttftTargetMs }`: from all processes of the `store`, or found out. Without it: no limit. */
  readonly maxParallel?: number | MaxParallelOptions | undefined;
  /** Most requests per minute that the provider takes, an integer, 1–1000000000; of all processes of the `store`. Without it: no limit. */
  readonly rpm?: number | undefined;
  /** Most tokens per minute, input and output, an integer, 1–1000000000000; of all processes of the `store`. Without it: no limit. */
  readonly tpm?: number | undefined;
  /** Keep to the limits that the upstream tells in its answers, or do not. Without it: as the group says. */
  readonly providerLimits?: "learn" | "ignore" | undefined;
  /** What this deployment has other timeouts for than its group, in milliseconds. */
  readonly timeouts?: TimeoutOptions | undefined;
  /** Labels that a request can require, at most 64, 1–128 characters each. @default [] */
  readonly tags?: readonly string[] | undefined;
  /** Where it runs, 1–128 characters; a request can require it. */
  readonly region?: string | undefined;
  /** Tokens that prompt and answer may have together, an integer, 1–1000000000. Without it: not checked. */
  readonly contextWindow?: number | undefined;
  /** Inputs of one embeddings call, an integer, 1–1000000; more become several calls. Without it, or larger: the provider's own limit. */
  readonly maxEmbeddingInputs?: number | undefined;
  /** What tokens cost, in USD per million, 0–1000000. Without it: unpriced, which is not free. */
  readonly price?: Price | undefined;
  /** Body fields sent where the caller gives none. @default {} */
  readonly defaults?: Readonly<Record<string, unknown>> | undefined;
  /** Fields that the provider cannot take: leave them out and report it, or prefer another deployment. @default "drop" */
  readonly unsupported?: "drop" | "error" | undefined;
  /** It continues an assistant message that ends the conversation, which `midStream` needs. Without it: as its provider states. */
  readonly prefill?: boolean | undefined;
  /** Fields that nobody here knows: send them on, leave them out, or refuse the request. @default "forward" */
  readonly unknownFields?: "forward" | "drop" | "reject" | undefined;
  /** `strict`: each request has a connection of its own. @default "shared" */
  readonly isolation?: "shared" | "strict" | undefined;
  /** With `*` in `model`: list and take only the models that the upstream's own list has, read again and again. @default false */
  readonly discover?: DiscoverOption | undefined;
  /** Read how busy the engine is, and spare it as its KV cache fills up. @default false */
  readonly loadSignals?: LoadSignalsOption | undefined;
  /** After failures, ask after its health before requests come back. @default false */
  readonly healthProbe?: boolean | undefined;
}

const label = (most: number) =>
  z
    .string()
    .max(most)
    .regex(
      /^[^\p{Cc}\s](?:[^\p{Cc}]*[^\p{Cc}\s])?$/u,
      "expected text without control characters or surrounding blanks",
    );

/** Fields that a deployment cannot have a say in: they make the request. */
const REQUEST_FIELDS = ["model", "messages", "prompt", "input", "stream", "stream_options"];

const bodyFields = z.custom<Readonly<Record<string, unknown>>>().superRefine((fields, context) => {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    context.addIssue({ code: "custom", message: "expected an object of body fields" });
    return;
  }
  for (const name of Object.keys(fields)) {
    if (REQUEST_FIELDS.includes(name)) {
      context.addIssue({ code: "custom", path: [name], message: "is the caller's to give: it cannot have a default" });
      continue;
    }
    const problem = problemOfJson(fields[name], name);
    if (problem) context.addIssue({ code: "custom", ...problem });
  }
});

/** What keeps a value, already free of class instances and cycles, from being JSON. */
function problemOfJson(
  value: unknown,
  name: string | number,
): { path: (string | number)[]; message: string } | undefined {
  if (name === "__proto__") return { path: [name], message: "cannot be the name of a field" };
  if (typeof value === "object" && value !== null) {
    const entries = Array.isArray(value) ? value.entries() : Object.entries(value);
    for (const [key, inner] of entries) {
      const problem = problemOfJson(inner, key);
      if (problem) return { path: [name, ...problem.path], message: problem.message };
    }
    return undefined;
  }
  const isJson = typeof value === "string" || typeof value === "boolean" || value === null || Number.isFinite(value);
  return isJson ? undefined : { path: [name], message: "expected a value that JSON can carry" };
}

const parallelCount = z.int().min(1).max(1_000_000);
const maxParallel = z.union([
  parallelCount,
  z
    .strictObject({
      max: parallelCount.optional(),
      shared: z.boolean().default(false),
      ttftTargetMs: z.number().min(1).max(600_000).optional(),
    })
    .refine(({ max, shared, ttftTargetMs }) => max !== undefined || (ttftTargetMs !== undefined && !shared), {
      message: "expected `max`, which is needed unless `ttftTargetMs` is given, and always with `shared`",
      path: ["max"],
    }),
]);

/** The options that every deployment has. `provider` is looked up, `baseUrl` and `headers` are checked, by `connectDeployment`. */
export const deploymentSchema = z.strictObject({
  provider: z.custom<string | Provider>((provider) => provider !== undefined, "is required"),
  model: label(256),
  baseUrl: z.string().optional(),
  apiKey: z
    .custom<ApiKey>((key) => typeof key === "string" || typeof key === "function", "expected a string or a function")
    .optional(),
  headers: z.custom<Readonly<Record<string, string>>>().optional(),
  id: z
    .string()
    .regex(/^[\x21-\x7e]{1,256}$/, "expected 1 to 256 printable ASCII characters without blanks")
    .optional(),
  weight: z.number().min(0.001).max(1_000_000).default(1),
  tier: z.int().min(0).max(1_000).default(0),
  maxParallel: maxParallel.optional(),
  rpm: z.int().min(1).max(1_000_000_000).optional(),
  tpm: z.int().min(1).max(1_000_000_000_000).optional(),
  providerLimits: z.enum(["learn", "ignore"]).optional(),
  timeouts: ownTimeoutsSchema.default({}),
  tags: z.array(label(128)).max(64).default([]),
  region: label(128).optional(),
  contextWindow: z.int().min(1).max(1_000_000_000).optional(),
  maxEmbeddingInputs: z.int().min(1).max(1_000_000).optional(),
  price: priceSchema.optional(),
  defaults: bodyFields.default({}),
  unsupported: z.enum(["drop", "error"]).default("drop"),
  prefill: z.boolean().optional(),
  unknownFields: z.enum(["forward", "drop", "reject"]).default("forward"),
  isolation: z.enum(["shared", "strict"]).default("shared"),
  discover: discoverOption,
  loadSignals: loadSignalsOption,
  healthProbe: healthProbeOption,
});

/** A deployment's options, parsed; not yet connected to its provider. */
export type ParsedDeployment = z.output<typeof deploymentSchema>;
