import type { EncodedRequest, EngineLoad, LoadSignals } from "../provider.js";
import { type MetricSample, samplesOf } from "./prometheus.js";

/** Which of an engine's metrics tell its load. Of several names the first that is there counts: builds rename them. */
export interface LoadMetrics {
  /** Below the server's root; `undefined`: elsewhere, so that a deployment has to say where. */
  readonly path: string | undefined;
  readonly running: readonly string[];
  readonly waiting: readonly string[];
  /** Share of the KV cache in use, 0–1. @default the engine does not tell */
  readonly kvUsed?: readonly string[] | undefined;
  /** Several models report there: only the series of the deployment's own count. */
  readonly isOfManyModels?: boolean | undefined;
}

/** Labels of which each process of one engine has its own, with the same numbers. */
const RANKS = ["tp_rank", "pp_rank"] as const;

/** @param model - The deployment's; a wildcard stands for all that report. */
export function loadSignalsOf(metrics: LoadMetrics, model: string, get: (path: string) => EncodedRequest): LoadSignals {
  const { path, running, waiting, kvUsed = [] } = metrics;
  const names = new Set([...running, ...waiting, ...kvUsed]);
  const isWanted = metrics.isOfManyModels && !model.includes("*") ? ofModel(model) : () => true;
  return {
    request: path === undefined ? undefined : get(path),
    decode(text) {
      const samples = ofOneRank(samplesOf(text, names).filter((sample) => isWanted(sample) && isTotal(sample)));
      const load: EngineLoad = {
        running: totalOf(samples, running),
        waiting: totalOf(samples, waiting),
        kvFree: freeShareOf(samples, kvUsed),
      };
      return load.running === undefined && load.waiting === undefined && load.kvFree === undefined ? undefined : load;
    },
  };
}

/** The name without an owner's prefix counts, too: engines behind a cluster's manager know nothing of owners. */
function ofModel(model: string): (sample: MetricSample) => boolean {
  const short = model.slice(model.lastIndexOf("/") + 1);
  return ({ labels }) => {
    const name = labels.get("model_name");
    return name === undefined || name === model || name === short;
  };
}

/** SGLang repeats its totals for each priority. */
function isTotal({ labels }: MetricSample): boolean {
  return (labels.get("priority") ?? "") === "";
}

/** The ranks of one engine each report the whole of it. */
function ofOneRank(samples: readonly MetricSample[]): readonly MetricSample[] {
  return RANKS.reduce((left, rank) => {
    const first = left.find(({ labels }) => labels.has(rank))?.labels.get(rank);
    return first === undefined ? left : left.filter(({ labels }) => (labels.get(rank) ?? first) === first);
  }, samples);
}

/** Over all engines of the server (data parallelism). @returns `undefined`: the series is missing, which is not 0. */
function totalOf(samples: readonly MetricSample[], names: readonly string[]): number | undefined {
  const values = valuesOf(samples, names);
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0);
}

function freeShareOf(samples: readonly MetricSample[], names: readonly string[]): number | undefined {
  const values = valuesOf(samples, names);
  if (values.length === 0) return undefined;
  const used = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.min(1, Math.max(0, 1 - used));
}

function valuesOf(samples: readonly MetricSample[], names: readonly string[]): number[] {
  for (const name of names) {
    const values = samples.filter((sample) => sample.name === name && sample.value >= 0).map(({ value }) => value);
    if (values.length > 0) return values;
  }
  return [];
}
