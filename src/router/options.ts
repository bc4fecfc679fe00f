import { z } from "zod";
import type { Directory } from "../access/directory.js";
import { connectDeployment } from "../deployments/connect.js";
import type { Deployment } from "../deployments/deployment.js";
import { DeploymentIds, type UnnamedDeployment } from "../deployments/deployment-ids.js";
import { deploymentSchema, type ParsedDeployment } from "../deployments/options.js";
import { isModelId, type NamedGroup, Registry, wildcardOf } from "../deployments/registry.js";
import type { FallbackChain } from "../errors/classify.js";
import { InvalidOptionsError } from "../errors/router-error.js";
import { cooldownOption, defaultCooldown } from "../health/options.js";
import { type Clock, systemClock } from "../internal/clock.js";
import { objectWith } from "../internal/object-with.js";
import { type Random, systemRandom } from "../internal/random.js";
import type { Ledger } from "../ledger/ledger.js";
import { pluginsSchema } from "../plugins/options.js";
import type { Provider } from "../providers/provider.js";
import { knownProviders } from "../providers/registry.js";
import { affinityOption, defaultAffinity } from "../routing/affinity/options.js";
import { type ExperimentSettings, experimentNames, experimentOption } from "../routing/experiment/options.js";
import { fallbackCycles } from "../routing/fallbacks.js";
import { defaultHedge, hedgeOption } from "../routing/hedging/options.js";
import { midStreamNames, midStreamOption } from "../routing/mid-stream/options.js";
import { type FallbackSettings, fallbackOption, noFallbacks, strategyOption } from "../routing/options.js";
import { defaultQueue, queueOption } from "../routing/queue/options.js";
import { type ShadowSettings, shadowNames, shadowOption } from "../routing/shadow/options.js";
import { spillOption } from "../routing/spill.js";
import { type StrategyName, strategyNames } from "../routing/strategies/index.js";
import type { Store } from "../stores/store.js";
import { createCounterLoader } from "../tokens/counter.js";
import { pricesSchema, tokenCountingSchema } from "../tokens/options.js";
import { createPriceBook } from "../tokens/price-book.js";
import { timeoutsSchema } from "../transport/options.js";
import type { Transport } from "../transport/transport.js";
import { inputLimitsSchema } from "./input-limits.js";
import { checkMentionedModels } from "./mentioned-models.js";
import { formatPath, isSecretName, OptionIssues, type OptionPath } from "./option-issues.js";
import { type Custody, copyOptions } from "./options-copy.js";
import { PrincipalRules } from "./principal-rules.js";
import type { GroupSettings, Settings } from "./settings.js";

/** Options whose fields a schema of their own parses: the names that misspelt ones are held against. */
const NESTED_NAMES: ReadonlyMap<string, readonly string[]> = new Map([
  ["cooldown", Object.keys(defaultCooldown).filter((name) => name !== "isEnabled")],
  ["fallbacks", Object.keys(noFallbacks)],
  ["affinity", Object.keys(defaultAffinity).filter((name) => name !== "isEnabled")],
  ["queue", Object.keys(defaultQueue).filter((name) => name !== "isEnabled")],
  ["hedge", Object.keys(defaultHedge).filter((name) => name !== "isEnabled")],
  ["midStream", midStreamNames],
  ["experiment", experimentNames],
  ["shadow", shadowNames],
]);

type Fields = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** What a group says beside its deployments, and what `defaults` says for all. */
export const groupDefaultsSchema = z.strictObject({
  strategy: strategyOption.prefault("latency"),
  fallbacks: fallbackOption.prefault([]),
  retries: z.int().min(0).max(10).default(2),
  timeouts: timeoutsSchema.prefault({}),
  cooldown: cooldownOption.prefault({}),
  onDisconnect: z.enum(["cancel", "drain"]).default("cancel"),
  midStream: midStreamOption.prefault("error"),
  affinity: affinityOption.prefault(true),
  queue: queueOption.prefault(true),
  hedge: hedgeOption.prefault(false),
  spillMs: spillOption,
  providerLimits: z.enum(["learn", "ignore"]).default("learn"),
});
/** What each group says for itself alone, beside its deployments. */
const ownGroupSchema = z.strictObject({
  ...groupDefaultsSchema.shape,
  experiment: experimentOption.optional(),
  shadow: shadowOption.optional(),
});
export const groupSchema = z.strictObject({
  deployments: z.custom<readonly unknown[]>(
    (deployments) => Array.isArray(deployments) && deployments.length > 0,
    "expected an array of at least one deployment",
  ),
  ...ownGroupSchema.shape,
});
export const onStoreFailureSchema = z.strictObject({
  limits: z.enum(["closed", "local-share", "open"]).default("local-share"),
  budgets: z.enum(["closed", "grace", "open"]).default("closed"),
});
export const routerSchema = z.strictObject({
  models: z.custom<Fields>(
    (models) => isRecord(models) && Object.keys(models).length > 0,
    "expected an object of at least one model group",
  ),
  aliases: z.custom<Fields>(isRecord, "expected an object: alias → name of a group").default({}),
  defaults: z.custom<Fields>(isRecord, "expected an object of group options").default({}),
  plugins: pluginsSchema.prefault([]),
  directory: objectWith<Directory>("a directory", "resolve", "authenticateKey").optional(),
  store: objectWith<Store>("a store", "admit", "adjust", "settle", "sweep").optional(),
  budgetStore: objectWith<Store>("a store", "admit", "adjust", "settle", "sweep").optional(),
  ledger: objectWith<Ledger>("a ledger", "append", "report", "entriesOf").optional(),
  prices: pricesSchema.prefault({}),
  tokenCounting: tokenCountingSchema.default("estimate"),
  storeTimeoutMs: z.int().min(5).max(60_000).default(50),
  onStoreFailure: onStoreFailureSchema.prefault({}),
  inputLimits: inputLimitsSchema.prefault({}),
  allowFields: z.array(z.string().min(1).max(256)).max(1_000).default([]),
  transport: objectWith<Transport>("a transport", "send", "close").optional(),
  clock: objectWith<Clock>("a clock", "now", "wallNow", "schedule", "sleep").optional(),
  random: objectWith<Random>("a source of chance", "next").optional(),
});

/**
 * Checks the options of a router and completes them. The caller's object is read once and left as it is.
 *
 * @throws {InvalidOptionsError} listing every problem with its path; no message contains a key.
 */
export function parseOptions(options: unknown): Settings {
  const issues = new OptionIssues(NESTED_NAMES);
  const copy = copyOptions(options, custodyOf, issues);
  if (!isRecord(copy)) {
    issues.add([], "expected an object with `models`");
    throw new InvalidOptionsError(issues.list);
  }
  keepSecrets(copy.models, issues);

  const router = issues.parseFields(routerSchema, copy, []);
  const clock = router.clock ?? systemClock;
  const defaults = usableDefaults(router.defaults ?? {}, issues);
  const groups = Object.entries(router.models ?? {}).flatMap(([name, raw]) => {
    const group = parseGroup(name, raw, defaults, clock, issues);
    return group ? [group] : [];
  });
  nameDeployments(
    groups.flatMap(({ deployments }) => deployments),
    issues,
  );
  const aliases = parseAliases(router.aliases ?? {}, groups, issues);
  const names = new Registry(groups, aliases);
  const fallbacks = groups.map((group) => parseFallbacks(group, names, aliases, issues));
  const trials = groups.map((group) => ({
    experiment: parseExperiment(group, names, aliases, issues),
    shadow: parseShadow(group, names, aliases, issues),
  }));
  const mentionWarnings = checkMentionedModels(router.plugins ?? [], names, issues);
  if (issues.list.length > 0) throw new InvalidOptionsError(issues.list);

  // One chain for each group.
  const settings = groups.map((group, index) => settingsOf(group, fallbacks[index]!, trials[index]!));
  const registry = new Registry(settings, aliases);
  const deployments = new Map<string, Deployment>();
  for (const group of settings) {
    for (const deployment of group.deployments) {
      if (!deployments.has(deployment.id)) deployments.set(deployment.id, deployment);
    }
  }
  return Object.freeze({
    groups: new Map(settings.map((group) => [group.name, group])),
    wildcards: registry.wildcards,
    registry,
    deployments,
    aliases,
    // Nothing is wrong, so that every field was parsed.
    plugins: router.plugins!,
    inputLimits: Object.freeze(router.inputLimits!),
    directory: router.directory,
    principalRules: new PrincipalRules(router.onStoreFailure!),
    onStoreFailure: Object.freeze(router.onStoreFailure!),
    store: router.store,
    budgetStore: router.budgetStore,
    storeTimeoutMs: router.storeTimeoutMs!,
    ledger: router.ledger,
    priceBook: createPriceBook(router.prices!),
    counterLoader: createCounterLoader(router.tokenCounting!),
    allowFields: new Set(router.allowFields),
    transport: router.transport,
    clock,
    random: router.random ?? systemRandom,
    warnings: [
      ...warningsOf(settings, registry),
      ...shadowWarnings(settings, registry),
      ...groups.flatMap(spillWarning),
      ...groups.flatMap(hedgeWarning),
      ...mentionWarnings,
    ],
  });
}

/** Options that are objects of the user's that work. */
const WORKING_OBJECTS: ReadonlySet<unknown> = new Set([
  ...["directory", "store", "budgetStore", "ledger"],
  ...["transport", "clock", "random"],
]);

/** Objects of the user's that work are kept; everything else is data. */
function custodyOf(path: OptionPath): Custody {
  const [first, second] = path;
  if (first === "plugins") return path.length === 2 ? "object" : "data";
  // A list of thousands of prices, which its own check copies.
  if (first === "prices" && second === "map") return path.length === 2 ? "object" : "data";
  if (WORKING_OBJECTS.has(first)) return path.length === 1 ? "object" : "data";
  if (first === "defaults") return path.length === 2 && second === "strategy" ? "object" : "data";
  if (first !== "models" || path.length < 3) return "data";
  if (path.length === 3 && path[2] === "strategy") return "object";
  // `models.chat.deployments[0].provider`, or `models.chat[0].provider` in a bare array.
  const option = typeof path[2] === "number" ? path[3] : path[2] === "deployments" ? path[4] : undefined;
  if (option === undefined) return "data";
  if (option === "provider") return "object";
  return Object.hasOwn(deploymentSchema.shape, option) ? "data" : "own";
}

/** Keeps what deployments hold as secrets out of every message, wherever else the same text stands. */
function keepSecrets(models: unknown, issues: OptionIssues): void {
  const keep = (value: unknown): void => {
    if (typeof value === "object" && value !== null) for (const inner of Object.values(value)) keep(inner);
    else issues.keepSecret(value);
  };
  if (!isRecord(models)) return;
  for (const raw of Object.values(models)) {
    const list = isRecord(raw) ? raw.deployments : raw;
    if (!Array.isArray(list)) continue;
    for (const deployment of list.filter(isRecord)) {
      for (const [name, value] of Object.entries(deployment)) if (isSecretName(name)) keep(value);
    }
  }
}

/** The defaults of groups that are right in themselves, still unparsed: a group's own fields go over them. */
function usableDefaults(defaults: Fields, issues: OptionIssues): Fields {
  issues.parseFields(groupDefaultsSchema, defaults, ["defaults"]);
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => !issues.has(["defaults", name])));
}

/** A group on its way to {@link GroupSettings}; what is `undefined` was wrong. */
interface ParsedGroup extends NamedGroup {
  readonly at: OptionPath;
  readonly deployments: readonly NamedDeployment[];
  readonly fields: Partial<z.output<typeof ownGroupSchema>>;
  /** As they were written, by the group itself or in `defaults`. */
  readonly fallbacks: unknown;
  readonly isFallbacksOwn: boolean;
  readonly isSpillOwn: boolean;
  readonly isHedgeOwn: boolean;
}

interface NamedDeployment {
  readonly at: OptionPath;
  readonly group: string;
  readonly model: string;
  readonly explicitId: string | undefined;
  readonly connected: UnnamedDeployment | undefined;
  /** Set when ids are given out. */
  deployment?: Deployment;
}

function parseGroup(
  name: string,
  raw: unknown,
  defaults: Fields,
  clock: Clock,
  issues: OptionIssues,
): ParsedGroup | undefined {
  const at = ["models", name];
  checkName(name, at, "group", issues);
  if (!isRecord(raw) && !Array.isArray(raw)) {
    issues.addWrongValue(at, "an array of deployments, or a group with `deployments`", raw);
    return undefined;
  }
  const { deployments: list, ...own } = isRecord(raw) ? raw : { deployments: raw };
  const listAt = isRecord(raw) ? [...at, "deployments"] : at;
  const merged = withDefaults(own, defaults);
  const { strategy: strategyName } = merged;
  if (typeof strategyName === "string" && !strategyNames.includes(strategyName as StrategyName)) {
    issues.addUnknownName([...at, "strategy"], "strategy", strategyName, strategyNames);
  }
  const fields = issues.parseFields(ownGroupSchema, merged, at);
  const entries = issues.parse(groupSchema.shape.deployments, list, listAt) ?? [];
  const wildcard = wildcardOf(name);
  const deployments = entries.map((entry, index) => {
    const deploymentAt = [...listAt, index];
    return parseDeployment(entry, name, wildcard !== undefined, deploymentAt, clock, issues);
  });
  const { strategy } = fields;
  if (strategy && !strategy.usesWeights) {
    for (const { connected, at: deploymentAt } of deployments) {
      if (!connected || connected.weight === 1) continue;
      issues.add(
        [...deploymentAt, "weight"],
        `the strategy "${strategy.name}" ignores weights, so that only 1 is allowed, received ${connected.weight}`,
      );
    }
  }
  const { fallbacks } = merged;
  const [isFallbacksOwn, isSpillOwn, isHedgeOwn] = ["fallbacks" in own, "spillMs" in own, "hedge" in own];
  return { name, wildcard, at, deployments, fields, fallbacks, isFallbacksOwn, isSpillOwn, isHedgeOwn };
}

/** The name of a group or an alias, as callers write it. */
function checkName(name: string, at: OptionPath, what: "group" | "alias", issues: OptionIssues): void {
  if (name === "" || name.length > 256 || /\p{Cc}/u.test(name) || name.trim() !== name) {
    issues.add(
      at,
      `expected the name of ${what === "group" ? "a group" : "an alias"} to have 1 to 256 characters, no control characters and no surrounding blanks`,
    );
  } else if (what === "group" && name.indexOf("*") !== name.lastIndexOf("*")) {
    issues.add(at, "the name of a wildcard group has one `*`");
  } else if (what === "alias" && name.includes("*")) {
    issues.add(at, "an alias stands for one name; name a group with `*` to take many");
  }
}

/** A group's own fields over the defaults; `timeouts` and `cooldown` field by field. */
function withDefaults(own: Fields, defaults: Fields): Fields {
  const merged: Record<string, unknown> = { ...defaults, ...own };
  for (const name of ["timeouts", "cooldown"]) {
    const [base, over] = [defaults[name], own[name]];
    if (isRecord(base) && isRecord(over)) merged[name] = { ...base, ...over };
  }
  return merged;
}

function parseDeployment(
  raw: unknown,
  group: string,
  isWildcard: boolean,
  at: OptionPath,
  clock: Clock,
  issues: OptionIssues,
): NamedDeployment {
  if (!isRecord(raw)) {
    issues.addWrongValue(at, "a deployment with `provider` and `model`", raw);
    return { at, group, model: "", explicitId: undefined, connected: undefined };
  }
  const provider = findProvider(raw.provider, [...at, "provider"], issues);
  const ownNames = new Set(provider?.ownOptions);
  // Which options an unknown provider has of its own cannot be told.
  const fields = issues.parseFields(deploymentSchema, raw, at, provider ? ownNames : "any");
  const { model, id } = fields;
  if (model !== undefined) checkModel(model, group, isWildcard, [...at, "model"], issues);
  const connected =
    provider && !Object.keys(raw).some((name) => issues.has([...at, name])) && model !== undefined
      ? connectDeployment(
          // Every field is right, and those that are missing have a default.
          fields as ParsedDeployment,
          provider,
          ownOptions(raw, ownNames),
          clock,
          (path, message) => issues.add([...at, ...path], message),
        )
      : undefined;
  return { at, group, model: model ?? "", explicitId: id, connected };
}

function ownOptions(raw: Fields, names: ReadonlySet<string>): Fields {
  const own: Record<string, unknown> = Object.create(null);
  for (const name of names) {
    if (Object.hasOwn(raw, name) && !Object.hasOwn(deploymentSchema.shape, name)) own[name] = raw[name];
  }
  return Object.freeze(own);
}

function findProvider(provider: unknown, at: OptionPath, issues: OptionIssues): Provider | undefined {
  if (typeof provider === "string") {
    const known = knownProviders.get(provider);
    if (!known) issues.addUnknownName(at, "provider", provider, knownProviders.keys());
    return known;
  }
  if (isProvider(provider)) return provider;
  if (provider !== undefined) {
    issues.addWrongValue(at, "the name of a provider, or an object with `name`, `apiKey` and `connect`", provider);
  }
  return undefined;
}

function isProvider(value: unknown): value is Provider {
  if (typeof value !== "object" || value === null) return false;
  const { name, apiKey, connect, ownOptions: own } = value as Partial<Provider>;
  return (
    typeof name === "string" &&
    /^[a-z0-9-]{1,64}$/.test(name) &&
    (apiKey === "required" || apiKey === "optional" || apiKey === "none") &&
    typeof connect === "function" &&
    (own === undefined || (Array.isArray(own) && own.every((option) => typeof option === "string")))
  );
}

function checkModel(model: string, group: string, isWildcard: boolean, at: OptionPath, issues: OptionIssues): void {
  if (!model.includes("*")) return;
  if (!isWildcard) {
    issues.add(
      at,
      `\`*\` takes the model's name from the caller, which only a wildcard group such as "${group}/*" does`,
    );
  } else if (model.indexOf("*") !== model.lastIndexOf("*")) issues.add(at, "expected at most one `*`");
  else if (model.length > 128 || !isModelId(model.replace("*", "x"))) {
    issues.add(
      at,
      "expected `*` with letters, digits and `._:@/-` around it, at most 128 characters, and no dot segments",
    );
  }
}

/** Gives every deployment its id: the explicit ones first, so that no default takes one of them. */
function nameDeployments(entries: readonly NamedDeployment[], issues: OptionIssues): void {
  const ids = new DeploymentIds();
  for (const entry of entries) {
    const { explicitId, connected, group, at } = entry;
    if (explicitId === undefined || !connected) continue;
    const named = ids.claim(explicitId, group, connected, formatPath(at));
    if (typeof named === "string") issues.add([...at, "id"], named);
    else entry.deployment = named;
  }
  for (const entry of entries) {
    const { explicitId, connected, group } = entry;
    if (explicitId === undefined && connected) entry.deployment = ids.nameByDefault(group, connected);
  }
}

function parseAliases(raw: Fields, groups: readonly ParsedGroup[], issues: OptionIssues): ReadonlyMap<string, string> {
  const registry = new Registry<NamedGroup>(groups, new Map());
  const groupNames = new Set(groups.map(({ name }) => name));
  const aliases = new Map<string, string>();
  for (const [alias, target] of Object.entries(raw)) {
    const at = ["aliases", alias];
    checkName(alias, at, "alias", issues);
    if (groupNames.has(alias)) issues.add(at, "is also the name of a group");
    else if (typeof target !== "string") issues.addWrongValue(at, "the name of a group", target);
    else if (registry.resolve(target)) aliases.set(alias, target);
    else if (Object.hasOwn(raw, target)) issues.add(at, `"${target}" is an alias itself; name its group`);
    else addUnknownGroup(at, target, groupNames, issues);
  }
  return aliases;
}

function addUnknownGroup(at: OptionPath, name: string, groupNames: ReadonlySet<string>, issues: OptionIssues): void {
  if (groupNames.has(name)) {
    issues.add(at, "a wildcard group stands for no single model; give a name that it takes");
  } else {
    const plain = [...groupNames].filter((known) => !known.includes("*"));
    issues.addUnknownName(at, "group", name, name.includes("*") ? groupNames : plain);
  }
}

const CHAINS: readonly FallbackChain[] = ["onError", "onContextWindow", "onContentPolicy", "onBudget"];

/**
 * The chains of a group, with aliases replaced: the router tells by name which groups a request has been in.
 */
function parseFallbacks(
  group: ParsedGroup,
  names: Registry<ParsedGroup>,
  aliases: ReadonlyMap<string, string>,
  issues: OptionIssues,
): FallbackSettings {
  const chains: Record<FallbackChain, string[]> = {
    onError: [],
    onContextWindow: [],
    onContentPolicy: [],
    onBudget: [],
  };
  const { fallbacks, isFallbacksOwn } = group;
  if (!group.fields.fallbacks) return chains;
  // A wildcard group can hand what it captured to another one; any name stands for that here.
  const from = { group, captured: group.wildcard && "x" };
  for (const chain of CHAINS) {
    const at = isFallbacksOwn ? [...group.at, "fallbacks"] : ["defaults", "fallbacks"];
    const listAt = Array.isArray(fallbacks) ? at : [...at, chain];
    for (const [index, name] of group.fields.fallbacks[chain].entries()) {
      const target = aliases.get(name) ?? name;
      const resolved = names.resolveFallback(target, from);
      if (!resolved) addUnknownGroup([...listAt, index], name, new Set(names.names), issues);
      else if (resolved.group === group) {
        // Defaults reach the groups that they name, too.
        if (isFallbacksOwn) issues.add([...listAt, index], "is the group itself");
      } else if (chains[chain].includes(target)) issues.add([...listAt, index], "is given twice");
      else chains[chain].push(target);
    }
  }
  return chains;
}

/** Variants are groups like any other, with one thing less: they do not hand requests on themselves. */
function parseExperiment(
  group: ParsedGroup,
  names: Registry<ParsedGroup>,
  aliases: ReadonlyMap<string, string>,
  issues: OptionIssues,
): ExperimentSettings | undefined {
  const { experiment } = group.fields;
  if (!experiment) return undefined;
  const at = [...group.at, "experiment"];
  if (group.wildcard) {
    issues.add(at, "a wildcard group has no experiment: its callers choose the model");
    return undefined;
  }
  const arms = new Map<string, number>();
  for (const [name, share] of experiment.variants) {
    const variantAt = [...at, "variants", name];
    const target = aliases.get(name) ?? name;
    const resolved = names.resolve(target);
    if (!resolved) addUnknownGroup(variantAt, name, new Set(names.names), issues);
    else if (resolved.group === group) issues.add(variantAt, "is the group itself, which has what the others leave");
    else if (resolved.group.fields.experiment) {
      issues.add(variantAt, "has an experiment of its own: a request takes part in one");
    } else if (arms.has(target)) issues.add(variantAt, "is given twice");
    else arms.set(target, share);
  }
  const rest = Math.max(0, 1 - [...arms.values()].reduce((sum, share) => sum + share, 0));
  return Object.freeze({
    name: experiment.name ?? group.name,
    stickyBy: experiment.stickyBy,
    arms: Object.freeze([
      { variant: group.name, share: rest },
      ...[...arms].map(([variant, share]) => ({ variant, share })),
    ]),
  });
}

function parseShadow(
  group: ParsedGroup,
  names: Registry<ParsedGroup>,
  aliases: ReadonlyMap<string, string>,
  issues: OptionIssues,
): ShadowSettings | undefined {
  const { shadow } = group.fields;
  if (!shadow) return undefined;
  const at = [...group.at, "shadow", "group"];
  const target = aliases.get(shadow.group) ?? shadow.group;
  const resolved = names.resolve(target);
  if (!resolved) addUnknownGroup(at, shadow.group, new Set(names.names), issues);
  else if (resolved.group === group) issues.add(at, "is the group itself");
  return Object.freeze({ ...shadow, group: target });
}

/** Copies are to cost the group nothing: neither slots nor limits, and no failures. */
function shadowWarnings(groups: readonly GroupSettings[], registry: Registry<GroupSettings>): string[] {
  return groups.flatMap(({ name, shadow, deployments }) => {
    const target = shadow && registry.resolve(shadow.group);
    if (!target) return [];
    const shared = target.group.deployments.filter(({ id }) => deployments.some((own) => own.id === id));
    return shared.map(
      ({ id }) =>
        `The group "${name}" and its shadow "${target.group.name}" share the deployment ${id}: copies take its slots and limits from callers.`,
    );
  });
}

/** Warnings about fallbacks that lead back to where they came from. */
function warningsOf(groups: readonly GroupSettings[], registry: Registry<GroupSettings>): string[] {
  const links = groups.map((group) => {
    const from = { group, captured: group.wildcard && "x" };
    const groupsOf = (names: readonly string[]) =>
      names.map((name) => registry.resolveFallback(name, from)?.group.name ?? name);
    const { onError, onContextWindow, onContentPolicy, onBudget } = group.fallbacks;
    return [
      group.name,
      {
        onError: groupsOf(onError),
        onContextWindow: groupsOf(onContextWindow),
        onContentPolicy: groupsOf(onContentPolicy),
        onBudget: groupsOf(onBudget),
      },
    ] as const;
  });
  return [...fallbackCycles(new Map(links)).map(({ warning }) => warning), ...groups.flatMap(continuationWarning)];
}

/** Nobody there continues. */
function continuationWarning({ name, midStream, deployments }: GroupSettings): string[] {
  const isPossible = midStream.prompt !== undefined || deployments.some(({ takesPrefill }) => takesPrefill);
  if (!midStream.isContinued || isPossible) return [];
  return [
    `The group "${name}" has midStream "continue", but no deployment that takes a prefill: give a \`prompt\`, or \`prefill: true\` to those that do.`,
  ];
}

/** One tier has nothing to spill to: most likely the `tier` of the others was forgotten. What `defaults` says is for the other groups. */
function spillWarning({ name, fields, isSpillOwn, deployments }: ParsedGroup): string[] {
  if (!isSpillOwn || !fields.spillMs || new Set(deployments.map(({ deployment }) => deployment?.tier)).size > 1)
    return [];
  return [
    `The group "${name}" has \`spillMs\`, but all its deployments are of one tier: give a higher \`tier\` to those that are to help.`,
  ];
}

/** Nobody else can be asked. What `defaults` says is for the other groups. */
function hedgeWarning({ name, fields, isHedgeOwn, deployments }: ParsedGroup): string[] {
  if (!isHedgeOwn || !fields.hedge?.isEnabled || deployments.length > 1) return [];
  return [`The group "${name}" has \`hedge\`, but only one deployment: there is none to ask beside it.`];
}

/** @param group - Parsed without a problem: each field, and each deployment, is there. */
function settingsOf(
  group: ParsedGroup,
  fallbacks: FallbackSettings,
  { experiment, shadow }: Pick<GroupSettings, "experiment" | "shadow">,
): GroupSettings {
  const { name, wildcard, deployments, fields } = group;
  const {
    strategy,
    retries,
    timeouts,
    cooldown,
    onDisconnect,
    midStream,
    affinity,
    queue,
    hedge,
    spillMs,
    providerLimits,
  } = fields as z.output<typeof groupDefaultsSchema>;
  return Object.freeze({
    name,
    wildcard,
    isWildcard: wildcard !== undefined,
    deployments: Object.freeze(deployments.map(({ deployment }) => deployment!).sort((a, b) => a.tier - b.tier)),
    strategy,
    fallbacks,
    retries,
    timeouts: Object.freeze({ ...timeouts, firstTokenMs: timeouts.firstTokenMs, idleMs: timeouts.idleMs }),
    cooldown,
    onDisconnect,
    midStream,
    affinity,
    queue,
    hedge,
    spillMs: spillMs === false ? undefined : spillMs,
    providerLimits,
    experiment,
    shadow,
  });
}
