/** What a run says: a table for people, and one object for files. */
import { cpus, loadavg } from "node:os";
import type { Measurement, Plan, Spread } from "./measure.js";
import {
  type ChunkShape,
  COMPLETION_JSON,
  CONCURRENCY,
  REQUEST_BODY,
  STREAM_END,
  STREAM_EVENT_COUNT,
  streamEvents,
} from "./payloads.js";
import type { Goal, Scenario } from "./scenarios/scenario.js";

/** A scenario with what was measured. */
export interface ScenarioResult {
  readonly id: string;
  readonly title: string;
  /** What the rates count; an operation is `perOperation` of them. */
  readonly unit: string;
  readonly perOperation: number;
  readonly variants: readonly Measurement[];
  /**
   * How many times the rate of its fastest variant the upstream could serve, by the CPU time that it used meanwhile;
   * `undefined` without one. Below 3 it slows the variants that it is compared with.
   */
  readonly upstreamSustains: number | undefined;
  readonly goals: readonly (Goal & { readonly isMet: boolean })[];
  /** What was not measured, and why. */
  readonly skipped: readonly string[];
}

export function resultOf(
  scenario: Scenario,
  variants: readonly Measurement[],
  skipped: readonly string[],
): ScenarioResult {
  const fastest = variants.reduce((best, next) => (next.rate.median > best.rate.median ? next : best));
  return {
    id: scenario.id,
    title: scenario.title,
    unit: scenario.unit.name,
    perOperation: scenario.unit.perOperation,
    variants,
    upstreamSustains: fastest.upstreamBusy > 0 ? 1 / fastest.upstreamBusy : undefined,
    goals: scenario
      .goals(new Map(variants.map((variant) => [variant.name, variant])))
      .map((goal) => ({ ...goal, isMet: isMet(goal) })),
    skipped,
  };
}

function isMet({ measured, bound }: Goal): boolean {
  return "atLeast" in bound ? measured >= bound.atLeast : measured <= bound.atMost;
}

/** Everything that must be known to compare two runs. */
export function reportOf(results: readonly ScenarioResult[], plan: Plan, chunks: ChunkShape, eventsPerPiece: number) {
  const processors = cpus();
  return {
    measuredAt: new Date().toISOString(),
    machine: {
      cpus: processors.length,
      model: processors[0]?.model,
      platform: `${process.platform} ${process.arch}`,
      node: process.version,
      /** Of the last minute, at the end of the run: what else ran here. */
      loadAverage: loadavg()[0],
    },
    settings: {
      ...plan,
      concurrency: CONCURRENCY,
      requestBytes: Buffer.byteLength(JSON.stringify(REQUEST_BODY)),
      answerBytes: Buffer.byteLength(COMPLETION_JSON),
      streamEvents: STREAM_EVENT_COUNT,
      streamBytes: Buffer.byteLength(streamEvents(chunks).join("") + STREAM_END),
      chunks,
      eventsPerPiece,
    },
    scenarios: results,
  };
}
export type Report = ReturnType<typeof reportOf>;

export function headerText({ machine, settings }: Report): string {
  return [
    `Node ${machine.node} on ${machine.platform}, ${machine.cpus} × ${machine.model}, load average ${machine.loadAverage?.toFixed(2)}`,
    `concurrency ${settings.concurrency}; request ${settings.requestBytes} bytes, answer ${settings.answerBytes} bytes, ` +
      `stream ${settings.streamEvents} ${settings.chunks} events in ${settings.streamBytes} bytes, ${settings.eventsPerPiece} events per piece`,
    `median [minimum, maximum] of ${settings.rounds} rounds of ${settings.roundMs} ms in alternating order, after a warm-up of ${settings.warmUpMs} ms`,
  ].join("\n");
}

export function resultText(result: ScenarioResult): string {
  const rows = result.variants.map(({ name, version, rate, cpuUs, ofFloor, ofFloorByCpu, ownBusy }) => [
    name,
    version,
    spreadText(rate, (value) => count(value * result.perOperation)),
    spreadText(cpuUs, (value) => value.toFixed(1)),
    spreadText(ofFloor, (value) => value.toFixed(2)),
    spreadText(ofFloorByCpu, (value) => value.toFixed(2)),
    ownBusy.toFixed(2),
  ]);
  const cpuHeading = `CPU µs per ${result.perOperation === 1 ? result.unit.replace(/s$/, "") : "operation"}`;
  const lines = [
    "",
    `## ${result.title}`,
    ...columns([
      ["variant", "version", `${result.unit}/s`, cpuHeading, "× floor's rate", "× by CPU", "cores"],
      ...rows,
    ]),
  ];
  if (result.upstreamSustains !== undefined) {
    const warning = result.upstreamSustains < 3 ? " — LESS THAN 3, THE FASTEST VARIANT IS UNDERSTATED" : "";
    lines.push(`the upstream sustains ${result.upstreamSustains.toFixed(1)} × the fastest variant${warning}`);
  }
  for (const { name, latency } of result.variants) {
    if (!latency) continue;
    const text = (of: Spread) => spreadText(of, (value) => value.toFixed(2));
    lines.push(`${name}: p50 ${text(latency.p50)} ms, p99 ${text(latency.p99)} ms from when it was to be sent`);
  }
  for (const goal of result.goals) lines.push(goalText(goal));
  for (const reason of result.skipped) lines.push(`skipped: ${reason}`);
  return lines.join("\n");
}

function goalText(goal: ScenarioResult["goals"][number]): string {
  const bound = "atLeast" in goal.bound ? `≥ ${goal.bound.atLeast}` : `≤ ${goal.bound.atMost}`;
  return `${goal.isMet ? "met   " : "MISSED"} ${goal.id} ${goal.what}: ${goal.measured.toFixed(3)} ${goal.unit} (goal ${bound})`;
}

function spreadText({ median, min, max }: Spread, format: (value: number) => string): string {
  return `${format(median)} [${format(min)}, ${format(max)}]`;
}

/** `36200` as `36,200`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
