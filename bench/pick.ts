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
}

const ROUNDS = 7;
const BATCHES_PER_ROUND = 40;
/** Choices between two changes of the state that they look at. */
const PICKS_PER_BATCH = 500;
const WORK = { uncachedTokens: 500, isStreaming: true, expectedOutputTokens: 180 };

/**
 * Measures one choice among `n` deployments that have served some traffic: unequal speeds, a few failures, about one of a
 * hundred withdrawn, `n` attempts under way. Only the choices are timed, in CPU time, which other processes disturb least;
 * between batches, attempts end and begin.
 */
export function measurePick(n: number, strategy: StrategyName = "latency"): PickMeasurement {
  const clock = handClock(1_000);
  const random = seededRandom(7);
  const deployments = Array.from({ length: n }, () => ({ price: { input: 1 + random.next(), output: 4 } }));
  const { pool, healths } = aPool(deployments, { clock, random, strategy: strategies[strategy] });
  for (const health of healths) {
    const speed = 0.5 + random.next();
    const start = clock.time;
    for (let sample = 0; sample < 5; sample++) {
      const attempt = health.begin(WORK);
      clock.time += 100 * speed;
      attempt.firstToken();
      clock.time += 300 * speed;
      attempt.end({ outcome: random.next() < 0.02 ? "hard" : "ok", outputTokens: 100 });
    }
    const failures = n >= 100 && random.next() < 0.01 ? 5 : 0;
    for (let failure = 0; failure < failures; failure++) health.begin(WORK).end({ outcome: "hard", outputTokens: 0 });
    clock.time = start + 1;
  }

  const request = { ...aChoice({ promptTokens: 500, random }), now: clock.time };
  const running: AttemptInFlight[] = [];
  const replaceSome = () => {
    clock.time += 1;
    request.now = clock.time;
    for (let change = 0; change < 4; change++) {
      const picked = pool.choose(request);
      if (picked === undefined) throw new Error("nothing is eligible");
      const attempt = picked.health.begin(WORK);
      clock.time += 0.1;
      attempt.firstToken();
      running.push(attempt);
      if (running.length > n) running.shift()?.end({ outcome: "ok", outputTokens: 100 });
    }
  };
  const round = () => {
    let us = 0;
    for (let batch = 0; batch < BATCHES_PER_ROUND; batch++) {
      replaceSome();
      const start = process.cpuUsage();
      for (let pick = 0; pick < PICKS_PER_BATCH; pick++) pool.choose(request);
      us += process.cpuUsage(start).user;
    }
    return (us * 1e3) / (BATCHES_PER_ROUND * PICKS_PER_BATCH);
  };
  round();
  const rounds = spread(Array.from({ length: ROUNDS }, round));
  return { nsPerPick: rounds.median, rounds };
}

function print(): void {
  const sizes = [10, 64, 256, 10_000];
  console.log(["ns (least)".padEnd(14), ...sizes.map((n) => String(n).padStart(14))].join(" "));
  for (const name of strategyNames) {
    const figures = sizes.map((n) => {
      const { rounds } = measurePick(n, name);
      return `${rounds.median.toFixed(0)} (${rounds.min.toFixed(0)})`.padStart(14);
    });
    console.log([name.padEnd(14), ...figures].join(" "));
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) print();
