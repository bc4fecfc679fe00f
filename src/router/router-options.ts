import type { Directory } from "../access/directory.js";
import type { DeploymentOptions } from "../deployments/options.js";
import type { CooldownOption } from "../health/options.js";
import type { Clock } from "../internal/clock.js";
import type { Random } from "../internal/random.js";
import type { Ledger } from "../ledger/ledger.js";
import type { Plugin } from "../plugins/plugin.js";
import type { AnthropicOptions } from "../providers/anthropic/options.js";
import type { BedrockOptions } from "../providers/bedrock/options.js";
import type { GeminiOptions } from "../providers/gemini/options.js";
import type { OllamaOptions } from "../providers/ollama/options.js";
import type { Provider } from "../providers/provider.js";
import type { SimulatedOptions } from "../providers/simulated/options.js";
import type { AffinityOption } from "../routing/affinity/options.js";
import type { ExperimentOptions } from "../routing/experiment/options.js";
import type { HedgeOption } from "../routing/hedging/options.js";
import type { MidStreamOption } from "../routing/mid-stream/options.js";
import type { FallbackOption, StrategyOption } from "../routing/options.js";
import type { QueueOption } from "../routing/queue/options.js";
import type { ShadowOptions } from "../routing/shadow/options.js";
import type { SpillOption } from "../routing/spill.js";
import type { Store } from "../stores/store.js";
import type { PricesOptions, TokenCounting } from "../tokens/options.js";
import type { TimeoutOptions } from "../transport/options.js";
import type { Transport } from "../transport/transport.js";

/** A deployment of a provider that a user writes: the provider's own options stand beside the usual ones. */
export interface CustomDeploymentOptions extends DeploymentOptions {
  readonly provider: Provider;
  readonly [ownOption: string]: unknown;
}

/** A deployment at Azure OpenAI. */
export interface AzureDeploymentOptions extends DeploymentOptions {
  readonly provider: "azure";
  /** The name in `https://{resource}.openai.azure.com`, instead of `baseUrl`. */
  readonly resource?: string | undefined;
  /** Deployment URLs, or the `v1` surface. Without it: deployment URLs where `apiVersion` is a date. */
  readonly surface?: "deployments" | "v1" | undefined;
  /** Such as `2024-10-21`; `v1` and `preview` belong to the `v1` surface. */
  readonly apiVersion?: string | undefined;
  /** How the key is sent: `bearer` where it is an Entra ID token. @default "api-key" */
  readonly auth?: "api-key" | "bearer" | undefined;
}

/** A deployment at Anthropic. */
export interface AnthropicDeploymentOptions extends DeploymentOptions, AnthropicOptions {
  readonly provider: "anthropic";
}

/** A deployment at Google Gemini. */
export interface GeminiDeploymentOptions extends DeploymentOptions, GeminiOptions {
  readonly provider: "gemini";
}

/** A deployment at AWS Bedrock; `region` is required, unless `baseUrl` names it. */
export interface BedrockDeploymentOptions extends DeploymentOptions, BedrockOptions {
  readonly provider: "bedrock";
}

/** A deployment at a server of Ollama's. */
export interface OllamaDeploymentOptions extends DeploymentOptions, OllamaOptions {
  readonly provider: "ollama";
}

/** A model inside the process that only pretends to think. */
export interface SimulatedDeploymentOptions extends DeploymentOptions, SimulatedOptions {
  readonly provider: "simulated";
}

/** A deployment of any provider. */
export type AnyDeploymentOptions =
  | DeploymentOptions
  | AzureDeploymentOptions
  | AnthropicDeploymentOptions
  | GeminiDeploymentOptions
  | BedrockDeploymentOptions
  | OllamaDeploymentOptions
  | SimulatedDeploymentOptions
  | CustomDeploymentOptions;

/**
 * What groups share where they do not say otherwise.
 *
 * @typeParam Name - What may be named as another group; any text where the groups are not known.
 */
export interface GroupDefaults<Name extends string = string> {
  /** How one of the eligible deployments is picked: a name, or your own `{ name, pick }`. @default "latency" */
  readonly strategy?: StrategyOption | undefined;
  /** Names to go on with when the group cannot serve a request; a plain list is `onError` and `onContextWindow`. @default [] */
  readonly fallbacks?: FallbackOption<Name> | undefined;
  /** Further attempts in the group after the first, an integer, 0–10. @default 2 */
  readonly retries?: number | undefined;
  /** How long each wait may take, in milliseconds; a deployment's own win. */
  readonly timeouts?: TimeoutOptions | undefined;
  /** When a deployment is left alone after failures, and for how long; `false`: never. */
  readonly cooldown?: CooldownOption | undefined;
  /** A stream whose caller left is cancelled, or read to its end for at most 30 s, so that its cost is exact. @default "cancel" */
  readonly onDisconnect?: "cancel" | "drain" | undefined;
  /** A stream that breaks after its first content ends with an error, or is continued by another deployment, once. @default "error" */
  readonly midStream?: MidStreamOption | undefined;
  /** Conversations go on where their prompt was read before, as far as load allows; an object says for how long. @default true */
  readonly affinity?: AffinityOption | undefined;
  /** With every deployment at its `maxParallel`, requests wait for a slot; `false`: they are refused at once. @default true */
  readonly queue?: QueueOption | undefined;
  /** What takes unusually long to begin is asked of a second deployment, too, and the first answer counts. @default false */
  readonly hedge?: HedgeOption | undefined;
  /** A higher tier serves while the best predicted time to the first token of the lower ones is longer, in milliseconds, 1–600000. @default false */
  readonly spillMs?: SpillOption | undefined;
  /** Keep to the limits that upstreams tell in the headers of their answers, or do not; a deployment's own wins. @default "learn" */
  readonly providerLimits?: "learn" | "ignore" | undefined;
}

/** A model group: the deployments that share the name callers use. */
export interface GroupOptions<Name extends string = string> extends GroupDefaults<Name> {
  /** At least one. */
  readonly deployments: readonly AnyDeploymentOptions[];
  /** Other groups serve a share of the requests that name this one, so that they can be compared. */
  readonly experiment?: ExperimentOptions | undefined;
  /** A share of the requests is copied to another group, unnoticed by callers; the answers are thrown away. */
  readonly shadow?: ShadowOptions<Name> | undefined;
}

/** Bounds of what callers may send. */
export interface InputLimitOptions {
  /** Bytes of a body, 1–1073741824 (413). @default 10485760 */
  readonly bodyBytes?: number | undefined;
  /** How long a body may take to arrive over HTTP, in milliseconds, 1–600000 (408). @default 30000 */
  readonly bodyTimeMs?: number | undefined;
  /** Slowest pace of a body over HTTP after `bodyGraceMs`, in bytes per second, 0–1073741824 (408). @default 1024 */
  readonly bodyBytesPerSecond?: number | undefined;
  /** How long a body may be slower than that, in milliseconds, 0–600000. @default 10000 */
  readonly bodyGraceMs?: number | undefined;
  /** How deep arrays and objects of a body may nest, 1–512. @default 64 */
  readonly jsonDepth?: number | undefined;
  /** Messages of a chat, 1–1000000. @default 10000 */
  readonly messages?: number | undefined;
  /** Parts or tool calls of one message, 1–1000000. @default 1000 */
  readonly partsPerMessage?: number | undefined;
  /** Tools of a request, 1–100000. @default 128 */
  readonly tools?: number | undefined;
  /** Stop sequences of a request, 1–10000. @default 4 */
  readonly stopSequences?: number | undefined;
  /** Entries of `logit_bias`, 1–1000000. @default 1024 */
  readonly logitBiasEntries?: number | undefined;
  /** Most that `n` and `best_of` may ask for, 1–1024. @default 8 */
  readonly choices?: number | undefined;
  /** Texts of an embeddings request and prompts of a legacy completion, 1–1000000. @default 2048 */
  readonly inputs?: number | undefined;
  /** Pairs of `metadata`, 1–10000. @default 16 */
  readonly metadataPairs?: number | undefined;
  /** Characters of a key of `metadata`, 1–65536. @default 64 */
  readonly metadataKeyLength?: number | undefined;
  /** Characters of a value of `metadata`, 1–1048576. @default 512 */
  readonly metadataValueLength?: number | undefined;
}

/** What happens while a store cannot be asked; plugins' claims have a policy of their own. */
export interface StoreFailureOptions {
  /** Rate and concurrency limits: refuse, go by this process's share, or let through. @default "local-share" */
  readonly limits?: "closed" | "local-share" | "open" | undefined;
  /** Hard budgets: refuse, allow 0.5 % of the budget per process, or let through and count. @default "closed" */
  readonly budgets?: "closed" | "grace" | "open" | undefined;
}

/** What `new Router(…)` takes. Everything that is not named here is refused. */
export interface RouterOptions {
  /** Model groups by the name callers use, at least one; a bare array of deployments is a group of defaults. */
  readonly models: Readonly<Record<string, GroupOptions | readonly AnyDeploymentOptions[]>>;
  /** Other names: alias → the name of a group, or a name that a wildcard group takes. @default {} */
  readonly aliases?: Readonly<Record<string, string>> | undefined;
  /** What every group has unless it says otherwise. @default {} */
  readonly defaults?: GroupDefaults | undefined;
  /** Guards and observers, in the order in which a request meets them. @default [] */
  readonly plugins?: readonly Plugin[] | undefined;
  /** Who may use which models, and how much. Without it principals are names only. */
  readonly directory?: Directory | undefined;
  /** Where limits and budgets are kept, for several processes together. Without it: in this process's memory. */
  readonly store?: Store | undefined;
  /** Where hard budgets are kept, if not in `store`: drawn in parts, so that a request rarely waits for it. */
  readonly budgetStore?: Store | undefined;
  /** Where every attempt that used tokens is booked. Without it: nowhere. */
  readonly ledger?: Ledger | undefined;
  /** What tokens cost where deployments do not say. */
  readonly prices?: PricesOptions | undefined;
  /** How prompts are counted before the upstream has: bytes / 4, or by `js-tiktoken`, which is loaded then. @default "estimate" */
  readonly tokenCounting?: TokenCounting | undefined;
  /** How long one answer of a store may take, in milliseconds, 5–60000. @default 50 */
  readonly storeTimeoutMs?: number | undefined;
  /** What happens to the limits and budgets of directory and deployments while their store cannot be asked. */
  readonly onStoreFailure?: StoreFailureOptions | undefined;
  /** Bounds of what callers may send. */
  readonly inputLimits?: InputLimitOptions | undefined;
  /** Body fields that are passed on although they could steer where a request goes, by name. @default [] */
  readonly allowFields?: readonly string[] | undefined;
  /** How requests leave the process. Without it: the built-in one. */
  readonly transport?: Transport | undefined;
  /** Time, for tests. Without it: the machine's. */
  readonly clock?: Clock | undefined;
  /** Chance, for tests. Without it: the machine's. */
  readonly random?: Random | undefined;
}

/**
 * {@link RouterOptions} as `new Router(…)` takes them: the names are inferred and the rest is stated, so that a misspelt
 * option of a literal is an error of the compiler, and so is a name that nothing has.
 *
 * @typeParam Group - The keys of `models`.
 * @typeParam Alias - The keys of `aliases`.
 * @typeParam Reference - Every name that fallbacks, shadows and aliases refer to.
 */
export interface NamedRouterOptions<Group extends string, Alias extends string, Reference extends string>
  extends Omit<RouterOptions, "models" | "aliases" | "defaults"> {
  /** Model groups by the name callers use, at least one; a bare array of deployments is a group of defaults. */
  readonly models: {
    readonly [Name in Group]: GroupOptions<Referable<Reference, Group, Alias>> | readonly AnyDeploymentOptions[];
  };
  /** Other names: alias → the name of a group, or a name that a wildcard group takes. @default {} */
  readonly aliases?: { readonly [Name in Alias]: Referable<Reference, Group, never> } | undefined;
  /** What every group has unless it says otherwise. @default {} */
  readonly defaults?: GroupDefaults<Referable<Reference, Group, Alias>> | undefined;
}

/**
 * What may be referred to: the names that exist, or any text where one of those that are given could be anything.
 * `Reference` is found by what stands in its place; what is wrong is then compared with every name that exists.
 */
type Referable<Reference extends string, Group extends string, Alias extends string> = string extends Reference
  ? Reference
  : NoInfer<ServedName<Group, Alias>>;

/**
 * The names that callers may use.
 *
 * @typeParam Group - The keys of `models`: `openai/*` takes every name that begins with `openai/`.
 * @typeParam Alias - The keys of `aliases`.
 */
export type ServedName<Group extends string, Alias extends string> = NamesOf<Group> | Alias;

/** The name of a group as callers may write it. */
type NamesOf<Group extends string> = Group extends `${infer Prefix}*${infer Suffix}`
  ? `${Prefix}${string}${Suffix}`
  : Group;

/** The keys of an object; none where it is missing. */
type NamesIn<T> = [NonNullable<T>] extends [never] ? never : Extract<keyof NonNullable<T>, string>;

/**
 * The model names that a router with these options serves: groups, aliases, and whatever wildcard groups take. Plain
 * `string` where the options are not a literal.
 *
 * @typeParam Options - The type of the options, as inferred from a literal.
 */
export type ModelName<Options extends RouterOptions> = ServedName<
  NamesIn<Options["models"]>,
  Options extends { readonly aliases: infer Aliases } ? NamesIn<Aliases> : never
>;
