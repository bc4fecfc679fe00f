import { pathToFileURL } from "node:url";
import type { AttemptInFlight } from "../src/health/deployment-health.js";
import { seededRandom } from "../src/internal/random.js";
import { type StrategyName, strategies, strategyNames } from "../src/routing/strategies/index.js";
import { aChoice, aPool, handClock } from "../test/support/candidates.js";
import { type Spread, spread } from "./measure.js";

export interface PickMeasurement {
  /** Median of the rounds. */
  readonly nsPerPick: number;
  readonly rounds: Spread;
  /** What a pick allocates, in the round that allocated least: the compiler's own work is in the others. */
  readonly bytesPerPick: number;
}

const ROUNDS = 15;
const BATCHES_PER_ROUND = 10;
/** Choices between two changes of the state that they look at. */
const PICKS_PER_BATCH = 500;
/** Attempts that begin between two batches, and on average end. */
const CHANGES_PER_BATCH = 4;
const WORK = { uncachedTokens: 500, isStreaming: true, expectedOutputTokens: 180 };
const FIRST_TOKEN_MS = 100;
const DURATION_MS = 400;
const FAILURE_SHARE = 0.005;

/** An attempt under way. */
interface Running {
  readonly attempt: AttemptInFlight;
  readonly firstTokenAt: number;
  readonly endsAt: number;
}

/**
 * Measures one choice among `n` deployments under traffic: unequal speeds, a few failures, about one of a hundred withdrawn,
 * `n` attempts under way, a quarter of which wait for their first token. Only the choices are timed, in CPU time, which other
 * processes disturb least; between batches, attempts end and begin where the strategy puts them.
 */
export function measurePick(n: number, strategy: StrategyName = "latency"): PickMeasurement {
  const clock = handClock(1_000);
  const random = seededRandom(7);
  const deployments = Array.from({ length: n }, () => ({ price: { input: 1 + random.next(), output: 4 } }));
  const { pool, healths } = aPool(deployments, { clock, random, strategy: strategies[strategy] });
  const slowness = healths.map(() => 0.5 + random.next());
  const outcome = () => (random.next() < FAILURE_SHARE ? "hard" : "ok");
  for (const [index, health] of healths.entries()) {
    const start = clock.time;
    for (let sample = 0; sample < 5; sample++) {
      const attempt = health.begin(WORK);
      clock.time += FIRST_TOKEN_MS * slowness[index]!; // one for each
      attempt.firstToken();
      clock.time = start + (sample + 1) * DURATION_MS * slowness[index]!;
      attempt.end({ outcome: outcome(), outputTokens: 100 });
    }
    const failures = n >= 100 && random.next() < 0.01 ? 5 : 0;
    for (let failure = 0; failure < failures; failure++) health.begin(WORK).end({ outcome: "hard", outputTokens: 0 });
    clock.time = start + 1;
  }

  const request = { ...aChoice({ promptTokens: 500, random }), now: clock.time };
  let running: Running[] = [];
  const replace = (changes: number) => {
    // So that on average `n` are under way.
    clock.time += (changes * DURATION_MS) / n;
    const now = clock.time;
    request.now = now;
    const remaining: Running[] = [];
    for (const one of running) {
      if (now >= one.firstTokenAt) one.attempt.firstToken();
      if (now >= one.endsAt) one.attempt.end({ outcome: outcome(), outputTokens: 100 });
      else remaining.push(one);
    }
    running = remaining;
    for (let change = 0; change < changes; change++) {
      const picked = pool.choose(request);
      if (picked === undefined) throw new Error("nothing is eligible");
      const factor = slowness[picked.index]! * (1 + picked.streams / 4); // one for each
      const attempt = picked.health.begin(WORK);
      running.push({ attempt, firstTokenAt: now + FIRST_TOKEN_MS * factor, endsAt: now + DURATION_MS * factor });
    }
  };
  let bytesPerPick = Number.POSITIVE_INFINITY;
  const round = () => {
    let us = 0;
    for (let batch = 0; batch < BATCHES_PER_ROUND; batch++) {
      replace(CHANGES_PER_BATCH);
      const heap = process.memoryUsage().heapUsed;
      const start = process.cpuUsage();
      for (let pick = 0; pick < PICKS_PER_BATCH; pick++) pool.choose(request);
      const { user, system } = process.cpuUsage(start);
      us += user + system;
      const bytes = (process.memoryUsage().heapUsed - heap) / PICKS_PER_BATCH;
      // Less than none: a collection came in between.
      if (bytes >= 0 && bytes < bytesPerPick) bytesPerPick = bytes;
    }
    return (us * 1e3) / (BATCHES_PER_ROUND * PICKS_PER_BATCH);
  };
  // The traffic of some lifetimes; then the optimizer has seen all.
  for (let step = 0; step < 100; step++) replace(Math.ceil(n / 25));
  for (let warmUp = 0; warmUp < 5; warmUp++) round();
  bytesPerPick = Number.POSITIVE_INFINITY;
  const rounds = spread(Array.from({ length: ROUNDS }, round));
  return { nsPerPick: rounds.median, rounds, bytesPerPick };
}

function print(): void {
  const sizes = [10, 64, 256, 10_000];
  console.log(["ns (least), bytes".padEnd(18), ...sizes.map((n) => String(n).padStart(20))].join(" "));
  for (const name of strategyNames) {
    const figures = sizes.map((n) => {
      const { rounds, bytesPerPick } = measurePick(n, name);
      return `${rounds.median.toFixed(0)} (${rounds.min.toFixed(0)}), ${bytesPerPick.toFixed(0)}`.padStart(20);
    });
    console.log([name.padEnd(18), ...figures].join(" "));
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) print();
