import type { DeploymentStatus, RouterStatus } from "../router/status.js";
import type { HedgeStatus } from "../routing/hedging/group-hedging.js";
import { type MetricValue, ReadFamily, type RegisteredMetric } from "./metric-family.js";

type Labels = MetricValue["labels"];
type Read = (status: RouterStatus) => readonly MetricValue[];

const NO_LABELS: Labels = {};
const PRIORITIES = ["interactive", "batch"] as const;
const STATES = ["closed", "open", "half-open"] as const;

const one = (value: number, labels: Labels = NO_LABELS): MetricValue[] => [{ value, labels }];
const flag = (isSet: boolean) => (isSet ? 1 : 0);

/**
 * What a router's status says, as gauges that are read when they are scraped.
 *
 * @param statusOf - `undefined` before the router has started.
 */
export function statusMetrics(prefix: string, statusOf: () => RouterStatus | undefined): readonly RegisteredMetric[] {
  // A scrape reads all of them in one turn: one status is enough.
  let latest: RouterStatus | undefined;
  const current = () => {
    if (latest === undefined) {
      latest = statusOf();
      queueMicrotask(() => {
        latest = undefined;
      });
    }
    return latest;
  };
  const family = (type: "gauge" | "counter", name: string, help: string, read: Read, aggregator?: "sum" | "max") =>
    new ReadFamily(
      prefix + name,
      help,
      type,
      () => {
        const status = current();
        return status ? read(status) : [];
      },
      aggregator,
    );
  const gauge = (name: string, help: string, read: Read, aggregator?: "sum" | "max") =>
    family("gauge", name, help, read, aggregator);
  const perDeployment = (
    name: string,
    help: string,
    read: (deployment: DeploymentStatus, labels: Labels) => readonly MetricValue[],
    aggregator?: "sum" | "max",
  ) =>
    gauge(
      name,
      help,
      ({ groups }) =>
        groups.flatMap((group) =>
          group.deployments.flatMap((deployment) =>
            read(deployment, { group: group.name, deployment: deployment.id, provider: deployment.provider }),
          ),
        ),
      aggregator,
    );
  const hedges = (name: string, help: string, read: (hedge: HedgeStatus) => number) =>
    family("counter", name, help, ({ groups }) =>
      groups.flatMap(({ name: group, hedge }) => (hedge ? one(read(hedge), { group }) : [])),
    );

  return [
    gauge("requests_in_flight", "Requests that have not ended.", ({ inFlight }) => one(inFlight)),
    gauge("leases", "Reservations of requests that have not ended.", ({ leases }) => one(leases)),
    gauge("buffered_bytes", "Bytes of answers that arrived and were not read yet.", (status) =>
      one(status.bufferedBytes),
    ),
    gauge("draining", "1 while the router closes.", ({ isDraining }) => one(flag(isDraining)), "max"),
    gauge("events_queued", "Events on their way to observers.", ({ queuedEvents }) => one(queuedEvents)),
    family("counter", "events_dropped_total", "Events that no observer got.", (status) => one(status.droppedEvents)),
    gauge("queue_length", "Requests that wait for a free slot.", ({ groups }) =>
      groups.flatMap(({ name, queued }) =>
        PRIORITIES.map((priority) => ({ value: queued[priority], labels: { group: name, priority } })),
      ),
    ),
    gauge("sink_queued", "Records that wait for a sink, or are on their way to it.", ({ sinks }) =>
      sinks.map(({ name, queued }) => ({ value: queued, labels: { sink: name } })),
    ),
    family("counter", "sink_delivered_total", "Records that a sink took.", ({ sinks }) =>
      sinks.map(({ name, delivered }) => ({ value: delivered, labels: { sink: name } })),
    ),
    family(
      "counter",
      "sink_dropped_total",
      "Records that were lost, because a sink was full, failed or refused them.",
      ({ sinks }) => sinks.map(({ name, dropped }) => ({ value: dropped, labels: { sink: name } })),
    ),

    perDeployment("deployment_available", "1 where a deployment may be used now.", ({ availability }, labels) =>
      one(flag(availability === "available"), labels),
    ),
    perDeployment("deployment_breaker", "1 for the state that a deployment's breaker is in.", ({ state }, labels) =>
      STATES.map((candidate) => ({ value: flag(candidate === state), labels: { ...labels, state: candidate } })),
    ),
    perDeployment("deployment_in_flight", "Upstream calls under way.", ({ streams }, labels) => one(streams, labels)),
    perDeployment("deployment_max_parallel", "Upstream calls that may be under way.", ({ maxParallel }, labels) =>
      Number.isFinite(maxParallel) ? one(maxParallel, labels) : [],
    ),
    perDeployment(
      "deployment_limit_headroom",
      "The smallest unused share of a deployment's rpm and tpm.",
      ({ headroom }, labels) => (headroom === undefined ? [] : one(headroom, labels)),
      "max",
    ),
    perDeployment(
      "deployment_success_rate",
      "Share of upstream calls that went well, the latest counting most.",
      ({ successRate }, labels) => one(successRate, labels),
      "max",
    ),
    hedges("hedges_total", "Second attempts that were sent beside slow ones.", ({ sent }) => sent),
    hedges("hedges_won_total", "Of these, the ones that answered first.", ({ won }) => won),
    gauge("group_retry_budget", "Retries that could be made now.", ({ groups }) =>
      groups.map(({ name, retryBudget }) => ({ value: retryBudget, labels: { group: name } })),
    ),

    gauge(
      "store_breaker",
      "1 for the state that the breaker of a store is in.",
      ({ accounting }) =>
        accounting.stores.flatMap(({ name, holds, breaker }) =>
          STATES.map((state) => ({ value: flag(state === breaker), labels: { store: name, holds, state } })),
        ),
      "max",
    ),
    gauge("unsettled", "Settlements that their store has not acknowledged yet.", ({ accounting }) =>
      one(accounting.unsettled),
    ),
    gauge("unbooked", "Requests whose ledger entries are not booked yet.", ({ accounting }) =>
      one(accounting.unbooked),
    ),
    gauge(
      "live_processes",
      "Processes that share the store, as far as is known.",
      ({ accounting }) => one(accounting.liveProcesses),
      "max",
    ),
    gauge(
      "control_info",
      "1 for each control in force, with what happens to it while its store cannot be asked.",
      ({ controls }) =>
        controls.map(({ kind, name, onStoreFailure = "" }) => ({
          value: 1,
          labels: { kind, name, on_store_failure: onStoreFailure },
        })),
      "max",
    ),
  ];
}
