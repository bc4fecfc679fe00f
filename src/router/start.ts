import { InvalidOptionsError, routerError } from "../errors/router-error.js";
import { type CooldownTransition, DeploymentHealth } from "../health/deployment-health.js";
import { GroupHealth } from "../health/group-health.js";
import { systemClock } from "../internal/clock.js";
import { systemRandom } from "../internal/random.js";
import { LocalLimits } from "../limits/local-limits.js";
import type { Plugin } from "../plugins/plugin.js";
import { PluginRunner } from "../plugins/run-plugins.js";
import { CandidatePool } from "../routing/candidates.js";
import { RetryBudget } from "../routing/retry-budget.js";
import { defaultTransport } from "../transport/default.js";
import { Requests } from "./requests.js";
import { type GroupState, type Runtime, Snapshot } from "./runtime.js";
import type { GroupSettings, Settings } from "./settings.js";

/** How long running requests may take when a router closes (R7). */
const DRAIN_MS = 30_000;
/** How long what was aborted may take to end, and leases and plugins to finish. */
const CLOSE_MS = 5_000;

/**
 * Brings a router to life: nothing is sent, and no timer runs. {@link startPlugins} is to follow.
 */
export function openRuntime(settings: Settings): Runtime {
  const { clock, random } = settings;
  const healths = new Map<string, DeploymentHealth>();
  const groupHealths = new Map<string, GroupHealth>();
  const plugins = new PluginRunner({ plugins: settings.plugins, clock });
  const runtime: Runtime = {
    clock,
    random,
    transport: settings.transport ?? defaultTransport(),
    ownsTransport: settings.transport === undefined,
    limits: new LocalLimits(),
    requests: new Requests(),
    healths,
    groupHealths,
    retired: new Set(),
    isDraining: false,
    snapshot: new Snapshot(settings, new Map(), plugins, clock.wallNow()),
  };
  install(runtime, settings, plugins);
  return runtime;
}

/** @param router - What plugins get: it must be ready to serve. @throws what the `start` of a plugin throws. */
export function startPlugins({ snapshot }: Runtime, router: object): void {
  snapshot.plugins.start(router);
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
  const plugins = new PluginRunner({ plugins: settings.plugins, clock: runtime.clock });
  // May throw: before anything has changed.
  plugins.start(router, new Set(runtime.snapshot.settings.plugins));
  const old = runtime.snapshot;
  install(runtime, settings, plugins);
  old.isRetired = true;
  runtime.retired.add(old);
  if (old.running === 0) void closeRetired(runtime, old);
  for (const warning of settings.warnings) plugins.warn(warning);
}

/** What every request of a router goes by from its start to its end cannot be replaced under way. */
function refuseOtherSeams(runtime: Runtime, { transport, clock, random }: Settings): void {
  const message = "is the router's for as long as it lives; leave it out, or give the same object";
  const issues = [
    { path: "transport", isOther: transport !== undefined && transport !== runtime.transport },
    { path: "clock", isOther: clock !== systemClock && clock !== runtime.clock },
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
  await idle(runtime, drainMs);
  if (requests.inFlight > 0) {
    const message = "The router closed before the request had finished.";
    requests.cancelAll((requestId) => routerError("draining", { requestId, message }));
    await idle(runtime, CLOSE_MS);
  }
  const snapshots = [runtime.snapshot, ...runtime.retired];
  await Promise.all(snapshots.map(({ plugins }) => plugins.leases.drained(CLOSE_MS)));
  const closed = new Set<Plugin>();
  for (const { plugins, settings } of snapshots) {
    await plugins.close(CLOSE_MS, closed);
    for (const plugin of settings.plugins) closed.add(plugin);
  }
  if (runtime.ownsTransport) await runtime.transport.close();

  /** Resolves when nothing is in flight, or after `limitMs`. */
  function idle({ requests: running }: Runtime, limitMs: number): Promise<void> {
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
function install(runtime: Runtime, settings: Settings, plugins: PluginRunner): void {
  const healthOf = deploymentHealths(runtime, settings);
  const groups = new Map<string, GroupState>();
  for (const group of settings.groups.values()) groups.set(group.name, groupState(runtime, group, healthOf));
  for (const name of runtime.groupHealths.keys()) if (!groups.has(name)) dropGroup(runtime, name);
  for (const id of runtime.healths.keys()) if (!settings.deployments.has(id)) runtime.healths.delete(id);
  runtime.snapshot = new Snapshot(settings, groups, plugins, runtime.clock.wallNow());
}

function dropGroup(runtime: Runtime, name: string): void {
  runtime.groupHealths.get(name)?.reconfigure({ members: [], hasFallbackChain: false, maxOpenShare: 0 });
  runtime.groupHealths.delete(name);
}

/** The account of each deployment: the one it had, or a new one. A deployment in several groups goes by the first's. */
function deploymentHealths(runtime: Runtime, settings: Settings): ReadonlyMap<string, DeploymentHealth> {
  const { clock, random, healths } = runtime;
  const seen = new Set<string>();
  for (const { deployments, cooldown } of settings.groups.values()) {
    for (const { id, fingerprint, maxParallel, provider } of deployments) {
      if (seen.has(id)) continue;
      seen.add(id);
      const onTransition = (transition: CooldownTransition) => announce(runtime, provider.name, transition);
      const options = { id, fingerprint, maxParallel, clock, random, settings: cooldown, onTransition };
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
  return {
    name: settings.name,
    settings,
    health,
    pool: new CandidatePool({ members, group: health, createStrategy: settings.strategy.create }),
    // Kept over reloads: each would grant another burst otherwise.
    retryBudget: runtime.snapshot.groups.get(settings.name)?.retryBudget ?? new RetryBudget(runtime.clock.now()),
  };
}

/** Tells observers that a deployment is left alone, or back. */
function announce(runtime: Runtime, provider: string, transition: CooldownTransition): void {
  const { plugins } = runtime.snapshot;
  const { type, deployment, cause, until } = transition;
  const { clock } = runtime;
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
