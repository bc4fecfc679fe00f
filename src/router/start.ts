import { InvalidOptionsError, routerError } from "../errors/router-error.js";
import { type CooldownTransition, DeploymentHealth } from "../health/deployment-health.js";
import { GroupHealth } from "../health/group-health.js";
import { systemClock } from "../internal/clock.js";
import { systemRandom } from "../internal/random.js";
import { DeploymentLimits } from "../limits/deployment-limits.js";
import type { Plugin } from "../plugins/plugin.js";
import { PluginRunner } from "../plugins/run-plugins.js";
import type { AffinitySettings } from "../routing/affinity/options.js";
import { PrefixMemory } from "../routing/affinity/prefix-memory.js";
import { CandidatePool } from "../routing/candidates.js";
import { GroupHedging } from "../routing/hedging/group-hedging.js";
import { GroupQueue } from "../routing/queue/group-queue.js";
import { RetryBudget } from "../routing/retry-budget.js";
import type { SharedCooldown } from "../stores/store.js";
import { defaultTransport } from "../transport/default.js";
import { AccountOwners } from "./account-owners.js";
import { openAccounting } from "./accounting.js";
import { Background } from "./background/background.js";
import { GroupModels } from "./background/discovery.js";
import { CHECK_HOLD_MS } from "./background/health-checks.js";
import { deploymentBudgets, deploymentRates, type RatesOf } from "./deployment-rates.js";
import { Drains } from "./drains.js";
import { pricedModel, priceOf } from "./prices.js";
import { Requests } from "./requests.js";
import { type GroupState, type Runtime, Snapshot } from "./runtime.js";
import type { GroupSettings, Settings } from "./settings.js";
import { Shadow } from "./shadow.js";

/** How long running requests may take when a router closes (R7). */
const DRAIN_MS = 30_000;
/** How long what was aborted may take to end, and leases and plugins to finish. */
const CLOSE_MS = 5_000;

/**
 * Brings a router to life: nothing is sent, and no timer runs. {@link startRuntime} is to follow.
 *
 * @throws {InvalidOptionsError} a plugin states what is no limit of a deployment.
 */
export function openRuntime(settings: Settings): Runtime {
  const { clock, random } = settings;
  const idle: string[] = [];
  const ratesOf = deploymentRates(settings.plugins, settings.deployments.values(), (warning) => idle.push(warning));
  const healths = new Map<string, DeploymentHealth>();
  const groupHealths = new Map<string, GroupHealth>();
  const plugins = new PluginRunner({ plugins: settings.plugins, clock });
  const transport = settings.transport ?? defaultTransport();
  const requests = new Requests();
  const runtime: Runtime = {
    clock,
    random,
    transport,
    ownsTransport: settings.transport === undefined,
    ...openAccounting(
      settings,
      (message) => runtime.snapshot.plugins.warn(message),
      (cooldowns) => receiveCooldowns(runtime, cooldowns),
    ),
    deploymentLimits: new Map(),
    pricesAreComing: undefined,
    requests,
    drains: new Drains(clock),
    shadows: new Requests(),
    prefixes: new PrefixMemory(),
    owners: new AccountOwners(clock),
    background: new Background({ clock, transport }, random, requests),
    healths,
    groupHealths,
    groupHedgings: new Map(),
    retired: new Set(),
    startedPlugins: new Set(),
    isDraining: false,
    snapshot: new Snapshot(settings, new Map(), plugins, clock.wallNow(), undefined),
  };
  install(runtime, settings, plugins, ratesOf);
  // Delivered a turn later, when plugins have been started.
  for (const warning of idle) plugins.warn(warning);
  return runtime;
}

/** @param router - What plugins get: it must be ready to serve. @throws what the `start` of a plugin throws. */
export function startRuntime(runtime: Runtime, router: object): void {
  const { snapshot, background, accounts } = runtime;
  startPlugins(runtime, snapshot.plugins, snapshot.settings.plugins, router);
  background.start();
  accounts.start();
  for (const warning of snapshot.settings.warnings) snapshot.plugins.warn(warning);
}

/**
 * Puts a new configuration in the place of the old one, as a whole (R17). Requests under way finish on the old one;
 * what was learned about deployments that stay is kept, and so are plugins that are the same objects.
 *
 * @throws {RouterError} `draining`: the router closes.
 */
export function reloadRuntime(runtime: Runtime, settings: Settings, router: object): void {
  if (runtime.isDraining) throw routerError("draining", { message: "A closing router takes no new configuration." });
  refuseOtherSeams(runtime, settings);
  const idle: string[] = [];
  const ratesOf = deploymentRates(settings.plugins, settings.deployments.values(), (warning) => idle.push(warning));
  const plugins = new PluginRunner({ plugins: settings.plugins, clock: runtime.clock });
  // May throw: before anything has changed.
  startPlugins(runtime, plugins, settings.plugins, router);
  const old = runtime.snapshot;
  install(runtime, settings, plugins, ratesOf);
  old.isRetired = true;
  runtime.retired.add(old);
  if (old.running === 0) void closeRetired(runtime, old);
  // More may be served at the same time now.
  for (const { queue } of old.groups.values()) queue?.dispatch();
  for (const warning of [...settings.warnings, ...idle]) plugins.warn(warning);
}

/** A plugin that requests of another configuration still need has been started: it is the same object. */
function startPlugins(
  { startedPlugins }: Runtime,
  runner: PluginRunner,
  plugins: readonly Plugin[],
  router: object,
): void {
  runner.start(router, startedPlugins);
  for (const plugin of plugins) startedPlugins.add(plugin);
}

/** What every request of a router goes by from its start to its end cannot be replaced under way. */
function refuseOtherSeams(runtime: Runtime, settings: Settings): void {
  const { transport, clock, random, store, budgetStore, ledger } = settings;
  const message = "is the router's for as long as it lives: give the same object";
  const issues = [
    { path: "transport", isOther: transport !== undefined && transport !== runtime.transport },
    { path: "clock", isOther: clock !== systemClock && clock !== runtime.clock },
    { path: "store", isOther: store !== runtime.snapshot.settings.store },
    { path: "budgetStore", isOther: budgetStore !== runtime.snapshot.settings.budgetStore },
    { path: "ledger", isOther: ledger !== runtime.snapshot.settings.ledger },
    { path: "random", isOther: random !== systemRandom && random !== runtime.random },
  ].flatMap(({ path, isOther }) => (isOther ? [{ path, message }] : []));
  if (issues.length > 0) throw new InvalidOptionsError(issues);
}

/** A retired configuration's last request has ended: plugins that no other configuration has are closed. */
export async function closeRetired(runtime: Runtime, snapshot: Snapshot): Promise<void> {
  snapshot.isClosing = true;
  await snapshot.plugins.leases.drained(CLOSE_MS);
  const inUse = new Set<Plugin>(runtime.snapshot.settings.plugins);
  for (const other of runtime.retired) {
    // Of two that close at the same time, the later one closes what they share.
    if (!other.isClosing) for (const plugin of other.settings.plugins) inUse.add(plugin);
  }
  // One that is put back from here on is started again.
  for (const plugin of snapshot.settings.plugins) if (!inUse.has(plugin)) runtime.startedPlugins.delete(plugin);
  const problems = await snapshot.plugins.close(CLOSE_MS, inUse);
  runtime.retired.delete(snapshot);
  for (const problem of problems) runtime.snapshot.plugins.warn(problem);
}

/**
 * Refuses new requests, lets running ones finish for `drainMs`, aborts the rest, and gives everything back.
 */
export async function closeRuntime(runtime: Runtime, drainMs = DRAIN_MS): Promise<void> {
  const { requests, clock } = runtime;
  runtime.isDraining = true;
  runtime.background.stop();
  await idle(requests, drainMs);
  if (requests.inFlight > 0) {
    const message = "The router closed before the request had finished.";
    requests.cancelAll((requestId) => routerError("draining", { requestId, message }));
    // Their requests were cancelled before: they hear of nothing more.
    runtime.drains.stopAll(routerError("draining", { message }));
    await idle(requests, CLOSE_MS);
  }
  await endShadows(Math.min(drainMs, CLOSE_MS));
  const snapshots = [runtime.snapshot, ...runtime.retired];
  await Promise.all(snapshots.map(({ plugins }) => plugins.leases.drained(CLOSE_MS)));
  await runtime.ledger?.drain(CLOSE_MS);
  await runtime.accounts.close(CLOSE_MS);
  const closed = new Set<Plugin>();
  for (const { plugins, settings } of snapshots) {
    await plugins.close(CLOSE_MS, closed);
    for (const plugin of settings.plugins) closed.add(plugin);
  }
  if (runtime.ownsTransport) await runtime.transport.close();

  /** Copies, which nobody waits for, are not waited for long either. */
  async function endShadows(limitMs: number): Promise<void> {
    const { shadows } = runtime;
    await idle(shadows, limitMs);
    if (shadows.inFlight === 0) return;
    const message = "The router closed before the copy had its answer.";
    shadows.cancelAll((requestId) => routerError("draining", { requestId, message }));
    await idle(shadows, CLOSE_MS);
  }

  /** Resolves when nothing is in flight, or after `limitMs`. */
  function idle(running: Requests, limitMs: number): Promise<void> {
    if (running.inFlight === 0 || limitMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = clock.schedule(limitMs, resolve);
      running.onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

/** Makes the states of all groups, and puts the configuration in force. */
function install(runtime: Runtime, settings: Settings, plugins: PluginRunner, ratesOf: RatesOf): void {
  runtime.background.configure(settings.deployments);
  configureLimits(runtime, settings, ratesOf);
  configurePrefixes(runtime, settings);
  const healthOf = deploymentHealths(runtime, settings);
  const groups = new Map<string, GroupState>();
  for (const group of settings.groups.values()) groups.set(group.name, groupState(runtime, group, healthOf));
  for (const name of runtime.groupHealths.keys()) if (!groups.has(name)) dropGroup(runtime, name);
  for (const id of runtime.healths.keys()) if (!settings.deployments.has(id)) runtime.healths.delete(id);
  const budgets = deploymentBudgets(settings.deployments.values(), ratesOf);
  runtime.snapshot = new Snapshot(settings, groups, plugins, runtime.clock.wallNow(), budgets);
  loadTables(runtime, settings);
}

/** Price lists and tokenizers come when they are needed: prices are unknown, and counts estimated, until they are there. */
function loadTables(runtime: Runtime, settings: Settings): void {
  const { priceBook, counterLoader, deployments } = settings;
  const warn = (what: string) => () => runtime.snapshot.plugins.warn(`${what} could not be loaded.`);
  counterLoader.load()?.catch(warn("The tokenizer"));
  const models = [...deployments.values()].map((deployment) => pricedModel(deployment, undefined));
  const coming = priceBook.load(models)?.catch(warn("The price list"));
  runtime.pricesAreComing = coming?.then(() => {
    if (runtime.snapshot.settings !== settings) return;
    runtime.pricesAreComing = undefined;
    for (const { pool } of runtime.snapshot.groups.values()) setPrices(runtime, settings, pool);
  });
  for (const { pool } of runtime.snapshot.groups.values()) setPrices(runtime, settings, pool);
}

function setPrices({ clock }: Runtime, settings: Settings, { candidates }: CandidatePool): void {
  for (const candidate of candidates) {
    candidate.price = priceOf(settings, candidate.deployment, undefined, clock.wallNow());
  }
}

/** The limits of each deployment that has some: what was counted is kept while they stay the same. */
function configureLimits({ deploymentLimits, accounts }: Runtime, settings: Settings, ratesOf: RatesOf): void {
  const { deployments } = settings;
  const listened = listenedAccounts(settings);
  for (const id of deploymentLimits.keys()) if (!deployments.has(id)) deploymentLimits.delete(id);
  for (const deployment of deployments.values()) {
    const { id, sharedParallel } = deployment;
    const { rpm, tpm } = ratesOf(deployment);
    // In one process the count of its own is all there is.
    const shared = accounts.areDeploymentsShared ? sharedParallel : undefined;
    const account = listened.get(id);
    const options = { id, rpm, tpm, sharedParallel: shared, account };
    const known = deploymentLimits.get(id);
    if (rpm === undefined && tpm === undefined && shared === undefined && account === undefined) {
      deploymentLimits.delete(id);
    } else if (!known?.isLike(options)) deploymentLimits.set(id, new DeploymentLimits(options, known));
  }
}

/** Of deployments whose upstreams tell their limits, and are listened to; one in several groups goes by the first's. */
function listenedAccounts({ groups }: Settings): ReadonlyMap<string, string | undefined> {
  const accounts = new Map<string, string | undefined>();
  for (const { deployments, providerLimits } of groups.values()) {
    for (const { id, upstream, account, providerLimits: own = providerLimits } of deployments) {
      const isTold = upstream.kind === "wire" && upstream.rateLimitHeaders !== undefined;
      if (!accounts.has(id)) accounts.set(id, isTold && own === "learn" ? account : undefined);
    }
  }
  return accounts;
}

/** Deployments of groups that go by what was read where; one in several groups goes by the first's settings. */
function configurePrefixes({ prefixes }: Runtime, { groups }: Settings): void {
  const remembered = new Map<string, { fingerprint: string; settings: AffinitySettings }>();
  for (const group of groups.values()) {
    if (affinityKind(group) !== "prefix") continue;
    for (const { id, fingerprint } of group.deployments) {
      if (!remembered.has(id)) remembered.set(id, { fingerprint, settings: group.affinity });
    }
  }
  prefixes.configure(remembered);
}

function affinityKind({ affinity, deployments, strategy }: GroupSettings): "prefix" | "fingerprint" | "none" {
  if (strategy.affinity === "fingerprint") return "fingerprint";
  return affinity.isEnabled && deployments.length > 1 ? strategy.affinity : "none";
}

function dropGroup(runtime: Runtime, name: string): void {
  const { queue, settings } = runtime.snapshot.groups.get(name) ?? {};
  if (settings) queue?.configure(undefined, settings.queue.maxLength);
  runtime.groupHealths.get(name)?.reconfigure({ members: [], hasFallbackChain: false, maxOpenShare: 0 });
  runtime.groupHealths.delete(name);
  runtime.groupHedgings.delete(name);
}

/** The account of each deployment: the one it had, or a new one. A deployment in several groups goes by the first's. */
function deploymentHealths(runtime: Runtime, settings: Settings): ReadonlyMap<string, DeploymentHealth> {
  const { clock, random, healths } = runtime;
  const seen = new Set<string>();
  for (const { deployments, cooldown } of settings.groups.values()) {
    for (const { id, fingerprint, maxParallel, ttftTargetMs, provider, upkeep } of deployments) {
      if (seen.has(id)) continue;
      seen.add(id);
      const onTransition = (transition: CooldownTransition) => {
        announce(runtime, provider.name, transition);
        const health = healths.get(id);
        if (!health) return;
        runtime.background.checks.onTransition(health, transition);
        runtime.background.refusedKeys.onTransition(health, transition);
      };
      const checkMs = upkeep.healthProbe ? CHECK_HOLD_MS : 0;
      const limits = { maxParallel, ttftTargetMs };
      const options = { id, fingerprint, ...limits, clock, random, settings: cooldown, checkMs, onTransition };
      const known = healths.get(id);
      if (known) known.reconfigure(options);
      else healths.set(id, new DeploymentHealth(options));
    }
  }
  return healths;
}

function groupState(
  runtime: Runtime,
  settings: GroupSettings,
  healthOf: ReadonlyMap<string, DeploymentHealth>,
): GroupState {
  const members = settings.deployments.map((deployment) => ({
    deployment,
    // Made just before, for every deployment of the settings.
    health: healthOf.get(deployment.id) as DeploymentHealth,
    limits: runtime.deploymentLimits.get(deployment.id),
    engine: runtime.background.loadOf(deployment),
    models: runtime.background.discoveryOf(deployment)?.known,
    prefixes: runtime.prefixes.of(deployment.id),
  }));
  const groupOptions = {
    members: members.map(({ health }) => health),
    hasFallbackChain: settings.fallbacks.onError.length > 0,
    maxOpenShare: settings.cooldown.maxOpenShare,
  };
  let health = runtime.groupHealths.get(settings.name);
  if (health) health.reconfigure(groupOptions);
  else {
    health = new GroupHealth(groupOptions);
    runtime.groupHealths.set(settings.name, health);
  }
  const kind = affinityKind(settings);
  const hasLimits = members.some(({ limits }) => limits !== undefined);
  const pool = new CandidatePool({
    members,
    group: health,
    createStrategy: settings.strategy.create,
    ...(kind === "prefix" && { prefixes: runtime.prefixes.index }),
    spillMs: settings.spillMs,
  });
  return {
    name: settings.name,
    settings,
    health,
    hasLimits,
    sharesLimits: runtime.accounts.areDeploymentsShared && members.some(({ limits }) => limits?.rules.length),
    pool,
    queue: groupQueue(runtime, settings, pool),
    hedging: groupHedging(runtime, settings),
    shadow: groupShadow(runtime, settings),
    affinity: kind === "none" ? undefined : { kind, ttlMs: settings.affinity.ttlMs },
    // Kept over reloads: each would grant another burst otherwise.
    models: groupModels(runtime, settings),
    retryBudget: runtime.snapshot.groups.get(settings.name)?.retryBudget ?? new RetryBudget(runtime.clock.now()),
  };
}

/** What the group's copies have taken so far is kept while they go to the same group. */
function groupShadow({ snapshot, clock }: Runtime, { name, shadow }: GroupSettings): Shadow | undefined {
  if (!shadow) return undefined;
  const known = snapshot.groups.get(name)?.shadow;
  if (known?.settings.group !== shadow.group) return new Shadow(shadow, clock.now());
  known.configure(shadow);
  return known;
}

/** The queue that the group had, with all who wait in it, or a new one. */
function groupQueue(
  { snapshot, clock }: Runtime,
  settings: GroupSettings,
  pool: CandidatePool,
): GroupQueue | undefined {
  const { isEnabled, maxLength } = settings.queue;
  const known = snapshot.groups.get(settings.name)?.queue;
  if (!isEnabled) {
    known?.configure(undefined, maxLength);
    return undefined;
  }
  const queue = known ?? new GroupQueue(clock, maxLength);
  queue.configure(pool, maxLength);
  return queue;
}

/** What the group learned before, also where it has not hedged in between: each reload would grant another burst otherwise. */
function groupHedging({ groupHedgings, clock }: Runtime, { name, hedge }: GroupSettings): GroupHedging | undefined {
  if (!hedge.isEnabled) return undefined;
  const known = groupHedgings.get(name);
  if (known) {
    known.reconfigure(clock.now(), hedge);
    return known;
  }
  const hedging = new GroupHedging(clock.now(), hedge);
  groupHedgings.set(name, hedging);
  return hedging;
}

function groupModels({ background }: Runtime, { deployments }: GroupSettings): GroupModels | undefined {
  const discoveries = deployments.flatMap((deployment) => background.discoveryOf(deployment) ?? []);
  if (discoveries.length === 0) return undefined;
  return new GroupModels(discoveries, discoveries.length < deployments.length);
}

/** What other processes found out about deployments that this one has, too. */
function receiveCooldowns({ healths, clock }: Runtime, cooldowns: readonly SharedCooldown[]): void {
  const now = clock.now();
  for (const { deployment, kind, remainingMs } of cooldowns) {
    // A refused credential may be this process's alone.
    if (kind !== "config")
      healths.get(deployment)?.receive(kind === "open" ? "failures" : "limited", now + remainingMs);
  }
}

/** Tells observers and the other processes that a deployment is left alone, or observers that it is back. */
function announce(runtime: Runtime, provider: string, transition: CooldownTransition): void {
  const { plugins } = runtime.snapshot;
  const { type, deployment, cause, until, isReceived } = transition;
  const { clock } = runtime;
  if (type === "deployment-cooled" && cause === "failures") runtime.prefixes.forget(deployment, clock.now());
  if (type === "deployment-cooled" && cause !== "config" && until !== undefined && !isReceived) {
    const kind = cause === "failures" ? "open" : "limited";
    const remainingMs = Math.max(0, Math.round(until - clock.now()));
    void runtime.accounts.publishCooldown({ deployment, kind, remainingMs });
  }
  if (plugins.listensTo(type)) {
    const untilMs = until === undefined ? undefined : Math.round(clock.wallNow() + until - clock.now());
    plugins.emit({ type, at: clock.wallNow(), deployment, provider, cause, untilMs });
  }
  if (type === "deployment-cooled" && cause === "config") {
    plugins.warn(
      `${deployment} is parked: its credential, model or quota was refused. It is tried again later, or after a reload that changes it.`,
    );
  }
}
