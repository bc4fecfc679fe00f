/** The simulator: real routers, modelled upstreams, virtual time. See docs/simulator.md. */
export { betterOfTwo, fewestStreams } from "./baselines.js";
export type { Scenario } from "./command-line.js";
export type { Lognormal } from "./distributions.js";
export { chartsOf, htmlReport, textReport } from "./html-report.js";
export type { Incident, Job, ModelAtWork, RunningJob, UpstreamModel } from "./model.js";
export { type ProgressOutput, progressBar } from "./progress-bar.js";
export { type ProviderIncident, type PublicProviderOptions, publicProvider } from "./public-provider.js";
export { type ReplicaOptions, replica } from "./replica.js";
export type { CallResult, Objective, RequestResult, Spread, Summary } from "./results.js";
export { saturatedRate } from "./saturated-rate.js";
export { type SimulationReport, simulate } from "./simulate.js";
export type { SimulationClock } from "./simulation-clock.js";
export type { SimulatedProcess, SimulatedRouterOptions, SimulationOptions } from "./simulation-options.js";
export { type ChartOptions, type ChartSeries, lineChart } from "./svg-chart.js";
export { parseTrace } from "./trace.js";
export {
  type ClosedLoopOptions,
  type ConversationOptions,
  chatMix,
  closedLoop,
  conversations,
  decodeHeavy,
  heavyPrompts,
  type PoissonOptions,
  poisson,
  type RequestSizes,
  replay,
  type SimulatedRequest,
  type TraceEntry,
  type Workload,
  type WorkloadContext,
} from "./workload.js";
