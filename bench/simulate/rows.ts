/** The rows of routing.md §14: which runs each compares, what was measured when it was written, and what is accepted. */
import type { Numbers } from "./fleet.js";
import { runs } from "./runs.js";

export interface Quantity {
  readonly name: string;
  /** Keys of `runs`. */
  readonly runs: readonly string[];
  /** Of the means over all seeds, in the order of `runs`. */
  value(...numbers: readonly Numbers[]): number;
  readonly unit: "ratio" | "share" | "points" | "usd";
  readonly documented: number;
  readonly accept: { readonly least?: number; readonly most?: number };
}

export interface Row {
  readonly number: number;
  readonly scenario: string;
  readonly quantities: readonly Quantity[];
  /** Cheap enough, and safe enough with its seed, for every change. */
  readonly isQuick?: boolean;
}

const NAN = Number.NaN;
const of = (numbers: Numbers | undefined, key: string): number => numbers?.[key] ?? NAN;

const ratio = (
  name: string,
  key: string,
  above: string,
  below: string,
  documented: number,
  accept: Quantity["accept"],
) =>
  ({
    name,
    runs: [above, below],
    value: (one, other) => of(one, key) / of(other, key),
    unit: "ratio",
    documented,
    accept,
  }) satisfies Quantity;

const plain = (
  name: string,
  key: string,
  run: string,
  unit: Quantity["unit"],
  documented: number,
  accept: Quantity["accept"],
) => ({ name, runs: [run], value: (numbers) => of(numbers, key), unit, documented, accept }) satisfies Quantity;

const share = (name: string, key: string, run: string, documented: number, accept: Quantity["accept"]) =>
  plain(name, key, run, "share", documented, accept);

export const rows: readonly Row[] = [
  {
    number: 1,
    scenario: "8 equal replicas, load 0.75",
    isQuick: true,
    quantities: [
      ratio("TTFT p99 least-busy / streams", "ttftP99", "equal/least-busy", "equal/streams", 0.68, { most: 0.78 }),
    ],
  },
  {
    number: 2,
    scenario: "same",
    isQuick: true,
    quantities: [
      ratio("TTFT p99 latency / streams", "ttftP99", "equal/latency", "equal/streams", 0.68, { most: 0.78 }),
      ratio("e2e p95 latency / streams", "durationP95", "equal/latency", "equal/streams", 1, { most: 1.03 }),
    ],
  },
  {
    number: 3,
    scenario: "same",
    quantities: [
      ratio("TTFT p99 P2C / streams", "ttftP99", "equal/better-of-two", "equal/streams", 1.15, { least: 1.05 }),
    ],
  },
  {
    number: 4,
    scenario: "prompts sigma 1.3 to 30,000, load 0.7",
    quantities: [
      ratio("TTFT p95 least-busy / streams", "ttftP95", "heavy/least-busy", "heavy/streams", 0.5, { most: 0.62 }),
    ],
  },
  {
    number: 5,
    scenario: "unequal replicas 1:2:4, weights unknown, load 0.75",
    isQuick: true,
    quantities: [
      ratio("TTFT p99 latency / streams", "ttftP99", "unequal/latency", "unequal/streams", 0.34, { most: 0.45 }),
      ratio("e2e p99 latency / streams", "durationP99", "unequal/latency", "unequal/streams", 0.74, { most: 0.85 }),
    ],
  },
  {
    number: 6,
    scenario: "same",
    isQuick: true,
    quantities: [
      {
        name: "good: latency - streams",
        runs: ["unequal/latency", "unequal/streams"],
        value: (latency, streams) => of(latency, "good") - of(streams, "good"),
        unit: "points",
        documented: 0.16,
        accept: { least: 0.1 },
      },
    ],
  },
  {
    number: 7,
    scenario: "same, weights known",
    quantities: [
      ratio(
        "TTFT p99 least-busy / streams, both weighted",
        "ttftP99",
        "weighted/least-busy",
        "weighted/streams",
        0.48,
        {
          most: 0.6,
        },
      ),
    ],
  },
  {
    number: 8,
    scenario: "one of 8 slower x6 for 3 of 5 min, load 0.65",
    quantities: [
      ratio("TTFT p99 latency / streams", "ttftP99", "one slow/latency", "one slow/streams", 0.54, { most: 0.7 }),
      ratio("e2e p99 latency / streams", "durationP99", "one slow/latency", "one slow/streams", 0.79, { most: 0.9 }),
    ],
  },
  {
    number: 9,
    scenario: "unequal replicas, decode-heavy, maxParallel 64",
    quantities: [
      ratio("TTFT p99 latency / streams", "ttftP99", "decode-heavy/latency", "decode-heavy/streams", 0.56, {
        most: 0.8,
      }),
      share("good, latency", "good", "decode-heavy/latency", 1, { least: 0.97 }),
    ],
  },
  {
    number: 10,
    scenario: "chat sessions, 40 Zipf system prompts, 8.5 sessions/s",
    quantities: [
      share("hit rate latency", "cacheHits", "sessions/latency", 0.915, { least: 0.87 }),
      ratio("TTFT p99 latency / CHWBL c=2", "ttftP99", "sessions/latency", "sessions/chwbl", 0.28, { most: 0.5 }),
    ],
  },
  {
    number: 11,
    scenario: "same, without prefix data",
    quantities: [
      share("good, least-busy", "good", "sessions/least-busy without prefixes", 0.36, { most: 0.6 }),
      share("good, streams", "good", "sessions/streams", 0.36, { most: 0.6 }),
    ],
  },
  {
    number: 12,
    scenario: "same, 8 processes, requests anywhere",
    quantities: [
      share("hit rate with hint", "cacheHits", "sessions/8 processes with hint", 0.91, { least: 0.85 }),
      share("hit rate without", "cacheHits", "sessions/8 processes without hint", 0.39, { most: 0.6 }),
    ],
  },
  {
    number: 13,
    scenario: "16 replicas, 8 processes, load 0.75",
    quantities: [
      ratio("TTFT p99 latency / streams, nothing shared", "ttftP99", "processes/latency", "processes/streams", 0.87, {
        most: 0.95,
      }),
    ],
  },
  {
    number: 14,
    scenario: "same",
    quantities: [
      ratio(
        "TTFT p99 streams shared every 1 s / not shared",
        "ttftP99",
        "processes/shared streams",
        "processes/streams",
        5.9,
        { least: 3 },
      ),
    ],
  },
  {
    number: 15,
    scenario: "64 replicas, best of 16 / full scan (latency)",
    quantities: [
      ratio("TTFT p99, equal", "ttftP99", "many/sample", "many/full", 1.01, { most: 1.05 }),
      ratio("TTFT p99, unequal", "ttftP99", "many unequal/sample", "many unequal/full", 1.06, { most: 1.15 }),
    ],
  },
  {
    number: 16,
    scenario: "one of 8 fails in 5 ms, no ejection, no success factor",
    isQuick: true,
    quantities: [share("errors of streams", "errors", "magnet/streams", 0.44, { least: 0.25 })],
  },
  {
    number: 17,
    scenario: "same, success factor only; full health",
    isQuick: true,
    quantities: [
      share("errors, success factor only", "errors", "magnet/success factor", 0, { most: 0.002 }),
      share("errors, full health", "errors", "magnet/full health", 0, { most: 0.001 }),
    ],
  },
  {
    number: 18,
    scenario: "6 of 8 fail for 60 s, load 0.22, full health",
    quantities: [
      share("errors with factor", "errors", "six of eight/with factor", 0.0025, { most: 0.01 }),
      share("errors without factor", "errors", "six of eight/without factor", 0.175, { least: 0.08 }),
    ],
  },
  {
    number: 19,
    scenario: "all fail 20% for 3 min, load 0.6",
    isQuick: true,
    quantities: [
      share("good", "good", "fifth fails", 0.989, { least: 0.97 }),
      share("errors", "errors", "fifth fails", 0.01, { most: 0.02 }),
    ],
  },
  {
    number: 20,
    scenario: "load 0.85, x1.5 for 60 s, TTFT timeout 4 s, streams",
    quantities: [
      share("good 60..90 s after, 2 retries with budget", "goodAfter", "surge/budget", 1, { least: 0.95 }),
      share("good 60..90 s after, 3 without", "goodAfter", "surge/no budget", 0.22, { most: 0.5 }),
    ],
  },
  {
    number: 21,
    scenario: "3 providers, 3% of calls 10x slow",
    isQuick: true,
    quantities: [
      ratio("TTFT p99 hedged / not", "ttftP99", "slow calls/hedged", "slow calls/not hedged", 0.27, { most: 0.4 }),
      {
        name: "extra calls",
        runs: ["slow calls/hedged"],
        value: (hedged) => of(hedged, "callsPerRequest") - 1,
        unit: "share",
        documented: 0.053,
        accept: { most: 0.065 },
      },
    ],
  },
  {
    number: 22,
    scenario: "8 replicas, load 0.97",
    quantities: [
      {
        name: "good hedged - not hedged",
        runs: ["busy/hedged", "busy/not hedged"],
        value: (hedged, not) => of(hedged, "good") - of(not, "good"),
        unit: "points",
        documented: -0.004,
        accept: { least: -0.015 },
      },
    ],
  },
  {
    number: 23,
    scenario: "providers 600/300/150 RPM, load 0.85",
    quantities: [
      share("errors, streams without cooldown", "errors", "rpm/streams", 0.39, { least: 0.2 }),
      share("429 per call, latency with limits known", "refusedCalls", "rpm/latency", 0, { most: 0.002 }),
    ],
  },
  {
    number: 24,
    scenario: "two tenants 90/10, load 1.4, cap 64",
    quantities: [
      share("good, no cap", "good", "overload/none", 0.003, { most: 0.05 }),
      share("good, FIFO 5 s", "good", "overload/first in, first out", 0, { most: 0.05 }),
      share("good, WFQ + adaptive LIFO", "good", "overload/fair queue", 0.685, { least: 0.62 }),
      share("good, light tenant", "goodLight", "overload/fair queue", 0.96, { least: 0.92 }),
    ],
  },
  {
    number: 25,
    scenario: "same, adaptive cap 400 ms",
    isQuick: true,
    quantities: [share("good", "good", "overload/adaptive cap", 0.687, { least: 0.62 })],
  },
  {
    number: 26,
    scenario: "4 own replicas at 1.1, one public behind",
    quantities: [
      share("good, spill 500 ms", "good", "own and public/spill", 0.98, { least: 0.95 }),
      share("paid share, spill 500 ms", "paidShare", "own and public/spill", 0.048, { most: 0.09 }),
      share("good, strict", "good", "own and public/strict", 0, { most: 0.1 }),
    ],
  },
  {
    number: 27,
    scenario: "provider 10x slow for 2 min, then well",
    quantities: [
      share("share back in the third half minute, 20/s", "fairShare", "forgiven/20", 0.59, { least: 0.3 }),
      share("the same, 1/s", "fairShare", "forgiven/1", 0.58, { least: 0.3 }),
    ],
  },
  {
    number: 28,
    scenario: "limiter, bursts of 2L each 45 s, Poisson 1.5x",
    isQuick: true,
    quantities: [
      plain("worst 60 s / L, 12+1", "worst", "window/sliding", "ratio", 1.02, { most: 1.03 }),
      plain("worst 60 s / L, strict", "worst", "window/strict", "ratio", 1, { most: 1 }),
      plain("worst 60 s / L, fixed window", "worst", "window/fixed", "ratio", 2, { least: 2, most: 2 }),
    ],
  },
  {
    number: 29,
    scenario: "tokens 1M/min, demand 1.5x",
    isQuick: true,
    quantities: [
      plain("worst minute, charge after", "worst", "tokens/after", "ratio", 1.17, { least: 1.1 }),
      plain("worst minute, reserve p95", "worst", "tokens/p95", "ratio", 1.004, { most: 1.02 }),
      plain("worst minute, reserve max", "worst", "tokens/max", "ratio", 0.998, { most: 1 }),
    ],
  },
  {
    number: 30,
    scenario: "$100, 8 processes, 25 in flight each, one crash",
    isQuick: true,
    quantities: [
      plain("overspend, reserve", "overspendUsd", "budget/reserve", "usd", 0, { most: 0 }),
      plain("overspend, check then charge", "overspendUsd", "budget/check", "usd", 9.5, { least: 5 }),
    ],
  },
];

/** Engine variants of routing.md §14: two of them nightly. */
export const variantRows: readonly Row[] = Object.keys(runs)
  .filter((key) => key.startsWith("variant ") && key.endsWith("/equal/streams"))
  .map((key, index) => {
    const prefix = key.slice(0, -"/equal/streams".length);
    return {
      number: 101 + index,
      scenario: prefix,
      quantities: [
        ratio("row 1", "ttftP99", `${prefix}/equal/least-busy`, `${prefix}/equal/streams`, NAN, {
          least: 0.59,
          most: 0.88,
        }),
        ratio("row 5, e2e p99", "durationP99", `${prefix}/unequal/latency`, `${prefix}/unequal/streams`, NAN, {
          least: 0.67,
          most: 0.78,
        }),
      ],
    };
  });

/** Measured and judged. */
export interface Measured {
  readonly row: number;
  readonly scenario: string;
  readonly quantity: string;
  readonly measured: number;
  /** Of each seed alone. */
  readonly perSeed: readonly number[];
  readonly documented: number;
  readonly accept: string;
  readonly unit: Quantity["unit"];
  readonly isOk: boolean;
}

/** @param results - By run, one for each seed. */
export function judge(row: Row, results: ReadonlyMap<string, readonly Numbers[]>): Measured[] {
  return row.quantities.map(({ name, runs: names, value, documented, accept, unit }) => {
    const bySeed = names.map((key) => results.get(key) ?? []);
    const measured = value(...bySeed.map(meanOf));
    const perSeed = (bySeed[0] ?? []).map((_, seed) => value(...bySeed.map((list) => list[seed] ?? {})));
    const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = accept;
    return {
      row: row.number,
      scenario: row.scenario,
      quantity: name,
      measured,
      perSeed,
      documented,
      accept: acceptText(accept, unit),
      unit,
      isOk: measured >= least && measured <= most,
    };
  });
}

function meanOf(list: readonly Numbers[]): Numbers {
  const keys = Object.keys(list[0] ?? {});
  return Object.fromEntries(
    keys.map((key) => [key, list.reduce((sum, numbers) => sum + (numbers[key] ?? NAN), 0) / list.length]),
  );
}

export function formatValue(value: number, unit: Quantity["unit"]): string {
  if (Number.isNaN(value)) return "-";
  switch (unit) {
    case "ratio":
      return value.toFixed(3);
    case "share":
      return `${(100 * value).toFixed(2)} %`;
    case "points":
      return `${(100 * value).toFixed(1)} points`;
    case "usd":
      return `$${value.toFixed(2)}`;
  }
}

function acceptText({ least, most }: Quantity["accept"], unit: Quantity["unit"]): string {
  if (least !== undefined && least === most) return `= ${formatValue(least, unit)}`;
  const parts = [];
  if (least !== undefined) parts.push(`>= ${formatValue(least, unit)}`);
  if (most !== undefined) parts.push(`<= ${formatValue(most, unit)}`);
  return parts.join(", ");
}
