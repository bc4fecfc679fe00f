import { deploymentSchema } from "../../deployments/options.js";
import { InvalidOptionsError, RouterError } from "../../errors/router-error.js";
import { type Clock, sleepOn, type Timer } from "../../internal/clock.js";
import { formatPath } from "../../internal/option-issues.js";
import { type Random, seededRandom } from "../../internal/random.js";
import type { ChatMessage } from "../../protocol/chat.js";
import type { CallOptions } from "../../router/call.js";
import { Router } from "../../router/router.js";
import type { RouterOptions } from "../../router/router-options.js";
import { EventLog } from "./event-log.js";
import { expectDeployments } from "./expect-deployments.js";
import type { ModelAtWork } from "./model.js";
import { type CallResult, type Objective, type RequestResult, type Summary, summarise } from "./results.js";
import { MODEL_OPTION, type RequestUnderWay, simulationProvider } from "./simulated-calls.js";
import { SimulationClock } from "./simulation-clock.js";
import {
  expectModelsAreUsed,
  expectSimulation,
  type SimulatedRouterOptions,
  type SimulationOptions,
} from "./simulation-options.js";
import { type SimulatedRequest, textOf } from "./workload.js";

/** What a simulation showed. */
export interface SimulationReport {
  readonly seed: number;
  /** Of every event, in order: equal for equal options and seeds. */
  readonly hash: string;
  /** Events of requests and calls that are in the hash. */
  readonly events: number;
  /** The measured time, warm-up left out. */
  readonly measured: Summary;
  /** Every request, warm-up included, in the order in which they ended. */
  readonly results: readonly RequestResult[];
  readonly calls: readonly CallResult[];
  readonly warmUpMs: number;
  readonly durationMs: number;
  readonly objective: Objective;
  /** Those that arrived from `fromMs` to `untilMs` of the measured time, or only some of them. */
  between(fromMs: number, untilMs: number, isIn?: (result: RequestResult) => boolean): Summary;
}

/** Virtual time that running requests get after the last arrival. */
const DRAIN_MS = 1_500_000;
/** What the simulation brings itself. */
const REPLACED = new Set([
  "provider",
  "baseUrl",
  "apiKey",
  "headers",
  "isolation",
  "discover",
  "loadSignals",
  "healthProbe",
]);

/**
 * Sends a workload through real routers to modelled upstreams, in virtual time.
 *
 * Everything between the request and the call of the upstream is what production runs; the models, the callers and the
 * clock are the simulation's.
 *
 * @throws {InvalidOptionsError} the options are wrong, those of the router included, or name a deployment that no model stands for.
 */
export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  expectSimulation(options);
  const { seed = 1, durationMs = 300_000, warmUpMs = 60_000, processes = 1, clientRetries = 0 } = options;
  const { objective = {}, workload, onProgress, crashes = [] } = options;
  const clock = new SimulationClock();
  const log = new EventLog();
  const models = new Map<string, ModelAtWork>();
  const requests = new Map<string, RequestUnderWay>();
  const calls: CallResult[] = [];
  const results: RequestResult[] = [];
  const provider = simulationProvider({ clock, log, models, requests, calls });

  const routers = Array.from({ length: processes }, (_, index) => {
    const raw = typeof options.router === "function" ? options.router({ index, clock }) : options.router;
    expectDeployments(raw);
    const random = randomOf(seed, `router ${index}`);
    const ownClock = new ProcessClock(clock);
    // The deployments' type is the user's; what is put in the place of their provider fits it.
    const router = new Router({ ...withModels(raw), clock: ownClock, random });
    return { router, clock: ownClock, defaultModel: Object.keys(raw.models)[0] ?? "" };
  });
  expectModelsAreUsed(options.upstreams, models);
  for (const { process, atMs } of crashes) {
    clock.after(atMs, () => {
      routers[process]?.clock.stop();
      return true;
    });
  }

  function withModels(raw: SimulatedRouterOptions): RouterOptions {
    const groups = Object.entries(raw.models).map(([name, group]) => {
      const isList = Array.isArray(group);
      // Checked above.
      const listed: readonly unknown[] = isList ? group : (group as { deployments: readonly unknown[] }).deployments;
      const deployments = listed.map((deployment, position) =>
        modelled(deployment, [name, ...(isList ? [] : ["deployments"]), position]),
      );
      return [name, isList ? deployments : { ...group, deployments }] as const;
    });
    // Built of the user's own groups, deployment by deployment.
    return { ...raw, models: Object.fromEntries(groups) as RouterOptions["models"] };
  }

  function modelled(deployment: unknown, at: readonly (string | number)[]): object {
    const fields = deployment as Readonly<Record<string, unknown>>; // checked above
    const { id } = fields;
    if (typeof id !== "string") {
      const path = formatPath(["models", ...at, "id"]);
      throw new InvalidOptionsError([{ path, message: "is how a simulation finds the deployment's model" }]);
    }
    const model = options.upstreams[id] ?? options.upstreams["*"];
    if (!model) throw new InvalidOptionsError([{ path: "upstreams", message: `no model stands for "${id}"` }]);
    if (!models.has(id)) models.set(id, model.create(clock, randomOf(seed, `model ${id}`)));
    const kept = Object.entries(fields).filter(
      ([name]) => Object.hasOwn(deploymentSchema.shape, name) && !REPLACED.has(name),
    );
    return { ...Object.fromEntries(kept), provider, [MODEL_OPTION]: id };
  }

  const callers = randomOf(seed, "callers");
  let count = 0;
  const send = async (request: SimulatedRequest): Promise<RequestResult> => {
    const number = count++;
    const arrivedAt = clock.now();
    // In range: `next` is below 1, and there is at least one.
    const chosen = routers[request.process ?? Math.floor(callers.next() * processes)] as (typeof routers)[number];
    const { router, defaultModel } = chosen;
    const isOrphaned = () => chosen.clock.isStopped;
    const underWay: RequestUnderWay = { number, request, deployment: undefined, isOrphaned };
    const user = String(number);
    requests.set(user, underWay);
    log.add(arrivedAt, "arrival", number, request.promptTokens, request.outputTokens);
    const messages: ChatMessage[] = request.messages ?? [
      { role: "user", content: textOf(number, request.promptTokens) },
    ];
    const body = {
      model: request.model ?? defaultModel,
      messages,
      stream: true as const,
      user,
      ...(request.maxOutputTokens !== undefined && { max_completion_tokens: request.maxOutputTokens }),
    };
    let ttftMs: number | undefined;
    let code: string | undefined;
    const ask = async () => {
      for (let retry = 0; ; retry++) {
        code = undefined;
        try {
          const stream = await router.chat.completions.create(body, callOptions(request));
          ttftMs = clock.now() - arrivedAt;
          for await (const _ of stream);
          return;
        } catch (error) {
          if (!RouterError.isRouterError(error) || error.code === "internal_error") throw error;
          code = error.code;
          if (retry >= clientRetries) return;
        }
      }
    };
    if (chosen.clock.isStopped) code = "crashed";
    else if (crashes.length === 0) await ask();
    else if (await Promise.race([ask(), chosen.clock.stopped])) code = "crashed";
    requests.delete(user);
    const result: RequestResult = {
      arrivedAt,
      isOk: code === undefined,
      code,
      ttftMs,
      durationMs: clock.now() - arrivedAt,
      promptTokens: request.promptTokens,
      outputTokens: request.outputTokens,
      tenant: request.tenant,
      deployment: underWay.deployment,
    };
    log.add(clock.now(), "result", number, code ?? "ok");
    results.push(result);
    return result;
  };

  const endMs = warmUpMs + durationMs;
  let defect: { readonly thrown: unknown } | undefined;
  // A defect inside a request ends the simulation instead of being one more failed request.
  const sendOrStop = (request: SimulatedRequest) =>
    send(request).catch((thrown: unknown) => {
      defect ??= { thrown };
      return new Promise<never>(() => {});
    });
  workload.start({ clock, random: randomOf(seed, "workload"), endMs, send: sendOrStop });
  if (onProgress) reportProgress(clock, endMs, onProgress);
  clock.after(endMs, () => false);
  await clock.run(() => defect !== undefined || (clock.now() >= endMs && requests.size === 0), endMs + DRAIN_MS);
  if (defect) throw defect.thrown;

  let isClosed = false;
  const alive = routers.filter((router) => !router.clock.isStopped);
  const closing = Promise.all(alive.map(({ router }) => router.close({ drainMs: 0 }))).then(() => {
    isClosed = true;
  });
  await clock.run(() => isClosed, clock.now() + DRAIN_MS);
  await closing;

  const between: SimulationReport["between"] = (fromMs, untilMs, isIn = () => true) => {
    const [from, until] = [warmUpMs + fromMs, warmUpMs + untilMs];
    return summarise(
      results.filter((result) => result.arrivedAt >= from && result.arrivedAt < until && isIn(result)),
      calls.filter(({ startedAt }) => startedAt >= from && startedAt < until),
      untilMs - fromMs,
      objective,
    );
  };
  const measured = between(0, durationMs);
  return {
    seed,
    hash: log.hash,
    events: log.count,
    measured,
    results,
    calls,
    warmUpMs,
    durationMs,
    objective,
    between,
  };
}

/** The clock of one process: after a crash nothing of it happens any more. */
class ProcessClock implements Clock {
  isStopped = false;
  /** Resolves, with true, at the crash. */
  readonly stopped: Promise<true>;
  #onStop: () => void = () => {};

  constructor(private readonly clock: SimulationClock) {
    this.stopped = new Promise((resolve) => {
      this.#onStop = () => resolve(true);
    });
  }

  stop(): void {
    this.isStopped = true;
    this.#onStop();
  }

  now(): number {
    return this.clock.now();
  }
  wallNow(): number {
    return this.clock.wallNow();
  }
  schedule(delayMs: number, run: () => void): Timer {
    return this.clock.schedule(delayMs, () => {
      if (!this.isStopped) run();
    });
  }
  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }
}

function callOptions({ tenant, priority }: SimulatedRequest): CallOptions | undefined {
  if (tenant === undefined && priority === undefined) return undefined;
  return { ...(tenant !== undefined && { principal: { organization: tenant } }), ...(priority && { priority }) };
}

/** Chance of its own for each part, so that a change of one leaves the others alone. */
function randomOf(seed: number, part: string): Random {
  let state = Math.imul(seed + 1, 0x9e3779b1);
  for (let position = 0; position < part.length; position++) {
    state = Math.imul(state ^ part.charCodeAt(position), 0x01000193);
  }
  return seededRandom(state);
}

const PROGRESS_STEPS = 100;

function reportProgress(clock: SimulationClock, endMs: number, onProgress: (share: number) => void): void {
  const next = () => {
    onProgress(Math.min(1, clock.now() / endMs));
    if (clock.now() < endMs) clock.after(endMs / PROGRESS_STEPS, next);
    return false;
  };
  next();
}
