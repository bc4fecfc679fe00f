import type { Clock } from "../internal/clock.js";
import { type Random, seededRandom } from "../internal/random.js";
import { drawFailure } from "../providers/simulated/index.js";
import { type SimulatedModel, type SimulatedOptions, simulatedModel } from "../providers/simulated/options.js";
import { checked, simulatedConditions, simulatedUpstreamOptions } from "./behaviour-options.js";
import { type Behaviour, error, type SimulatedAnswer } from "./behaviours.js";
import { type FakeUpstream, startScriptedServer } from "./fake-upstream.js";
import type { ReceivedRequest } from "./received-request.js";

/** What can change while a simulated upstream runs. */
export interface SimulatedConditions {
  /** Share of requests that fail, 0–1, over that of the models. Without it: as the models say. */
  readonly failureRate?: number | undefined;
  /** All waits of the models are this many times as long, 0–1000. @default 1 */
  readonly latencyFactor?: number | undefined;
}

export interface SimulatedUpstreamOptions extends SimulatedConditions {
  /** Model id → how it answers, in the options of provider `simulated`. Other models are not found. */
  readonly models: Readonly<Record<string, SimulatedOptions>>;
  /** Where to listen on 127.0.0.1. @default 0, any free port */
  readonly port?: number | undefined;
  /** What its waits go by. @default the system clock */
  readonly clock?: Clock | undefined;
  /** Source of failures, jitter and ids. @default a seeded one */
  readonly random?: Random | undefined;
  /** How many of the latest requests `requests` keeps. @default 1000 */
  readonly keepRequests?: number | undefined;
}

/** A server of simulated models; the script of a fake upstream goes before them. */
export interface SimulatedUpstream extends FakeUpstream {
  /** Replaces the conditions, for requests from now on. @throws {InvalidOptionsError} one is none, or out of its range. */
  setConditions(conditions: SimulatedConditions): void;
}

/**
 * Starts an OpenAI-shaped server of simulated models on 127.0.0.1: provider `simulated` behind real HTTP, with its token
 * timing, for demonstrations and load tests.
 *
 * @throws {InvalidOptionsError} an option is none, or cannot be that.
 * @throws {ProviderOptionError} an option of a model is wrong.
 */
export async function startSimulatedUpstream(options: SimulatedUpstreamOptions): Promise<SimulatedUpstream> {
  checked("startSimulatedUpstream", simulatedUpstreamOptions, options);
  const { models: modelOptions, port, clock, random = seededRandom(1), keepRequests = 1_000 } = options;
  const models = new Map(Object.entries(modelOptions).map(([id, own]) => [id, simulatedModel(own)]));
  const { failureRate, latencyFactor } = options;
  let conditions: SimulatedConditions = { failureRate, latencyFactor };
  const answer = (request: ReceivedRequest): Behaviour => {
    const id = String(request.body.model);
    const model = models.get(id);
    if (!model) return error(404, { message: `The model \`${id}\` does not exist`, code: "model_not_found" });
    return simulatedAnswer(model, conditions, random);
  };
  const upstream = await startScriptedServer({ models: [...models.keys()], port, clock, random, keepRequests }, answer);
  return Object.assign(upstream, {
    setConditions(changed: SimulatedConditions) {
      conditions = { ...checked("setConditions", simulatedConditions, changed) };
    },
  });
}

function simulatedAnswer(
  model: SimulatedModel,
  { failureRate = model.failureRate, latencyFactor = 1 }: SimulatedConditions,
  random: Random,
): SimulatedAnswer {
  return {
    kind: "answer",
    options: {
      firstTokenMs: model.ttftMs * latencyFactor,
      msPerToken: model.msPerToken * latencyFactor,
      jitter: model.jitter,
    },
    simulation: { model, failure: drawFailure({ ...model, failureRate }, random) },
  };
}
