/** Rounds in alternating order, and what they say. */

/** One round of one contestant. */
export interface Sample {
  /** Completed operations. */
  readonly operations: number;
  readonly wallMs: number;
  /** CPU time of the measured process, all its threads. */
  readonly cpuUs: number;
  /** CPU time of the upstream meanwhile; 0 where there is none. */
  readonly upstreamCpuUs: number;
  /** CPU time of the load generator meanwhile; 0 where the measured process makes its own load. */
  readonly loadCpuUs: number;
  /** Of requests that come on a schedule: how long each took, from when it was to be sent. */
  readonly latenciesMs?: readonly number[] | undefined;
}

/** Something that can be measured, ready to run. */
export interface Contestant {
  readonly name: string;
  readonly version: string;
  round(durationMs: number): Promise<Sample>;
  /** After the last round: what has become of all of it, by name. */
  finish?(): Promise<Readonly<Record<string, number>>>;
  stop(): Promise<void>;
}

export interface Plan {
  readonly rounds: number;
  readonly roundMs: number;
  readonly warmUpMs: number;
}

/** Middle and extremes over the rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Measurement {
  readonly name: string;
  readonly version: string;
  /** Operations per second. */
  readonly rate: Spread;
  /** CPU microseconds per operation. */
  readonly cpuUs: Spread;
  /** This rate over that of the first contestant, round by round. */
  readonly ofFloor: Spread;
  /** The first contestant's CPU per operation over this one's: what `ofFloor` is on a machine with nothing else to do. */
  readonly ofFloorByCpu: Spread;
  /**
   * Shares of one core that the measured process, the upstream and the load generator used; median over the rounds. A
   * process that could have used a whole core and got less had to share the machine.
   */
  readonly ownBusy: number;
  readonly upstreamBusy: number;
  readonly loadBusy: number;
  /** Where requests come on a schedule. */
  readonly latency?: Latency | undefined;
  /** See {@link Contestant.finish}. */
  readonly findings: Readonly<Record<string, number>>;
}

/** Milliseconds; what is added is on top of the first contestant's, round by round. */
export interface Latency {
  readonly p50: Spread;
  readonly p99: Spread;
  readonly addedP50: Spread;
  readonly addedP99: Spread;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const median = sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2;
  return { median, min: at(0), max: at(sorted.length - 1) };
}

/**
 * Warms each contestant up, then lets them take turns. Each round begins with another one, and every second round
 * goes backwards, so that none always follows the same neighbour or owns the quiet end of a run.
 *
 * @param contestants - The floor first.
 */
export async function measure(
  contestants: readonly Contestant[],
  plan: Plan,
  onProgress: (step: string) => void,
): Promise<Measurement[]> {
  const samples = new Map<Contestant, Sample[]>(contestants.map((contestant) => [contestant, []]));
  for (const contestant of contestants) {
    onProgress(`warming up ${contestant.name}`);
    await warmUp(contestant, plan.warmUpMs);
  }
  for (let round = 0; round < plan.rounds; round++) {
    onProgress(`round ${round + 1} of ${plan.rounds}`);
    const start = round % contestants.length;
    const order = [...contestants.slice(start), ...contestants.slice(0, start)];
    if (round % 2 === 1) order.reverse();
    for (const contestant of order) samples.get(contestant)?.push(await contestant.round(plan.roundMs));
  }

  const findings = new Map<Contestant, Readonly<Record<string, number>>>();
  for (const contestant of contestants) findings.set(contestant, (await contestant.finish?.()) ?? {});

  const cpuPerOperation = (contestant: Contestant | undefined) =>
    (contestant && samples.get(contestant))?.map(({ cpuUs, operations }) => cpuUs / operations) ?? [];
  const floorCpu = cpuPerOperation(contestants[0]);
  const rates = (contestant: Contestant | undefined) =>
    (contestant && samples.get(contestant))?.map(({ operations, wallMs }) => (operations / wallMs) * 1_000) ?? [];
  const floorRates = rates(contestants[0]);
  return contestants.map((contestant) => {
    const own = samples.get(contestant) ?? [];
    const ownRates = rates(contestant);
    const ownCpu = cpuPerOperation(contestant);
    const busy = (cpuUsOf: (sample: Sample) => number) =>
      spread(own.map((sample) => cpuUsOf(sample) / sample.wallMs / 1_000)).median;
    return {
      name: contestant.name,
      version: contestant.version,
      rate: spread(ownRates),
      cpuUs: spread(ownCpu),
      ofFloor: spread(ownRates.map((rate, round) => rate / (floorRates[round] ?? Number.NaN))),
      ofFloorByCpu: spread(ownCpu.map((cpuUs, round) => (floorCpu[round] ?? Number.NaN) / cpuUs)),
      ownBusy: busy(({ cpuUs }) => cpuUs),
      upstreamBusy: busy(({ upstreamCpuUs }) => upstreamCpuUs),
      loadBusy: busy(({ loadCpuUs }) => loadCpuUs),
      latency: latencyOf(own, samples.get(contestants[0] as Contestant) ?? []), // there is this one at least
      findings: findings.get(contestant) ?? {},
    };
  });
}

/** @returns `undefined`: nothing came on a schedule. */
function latencyOf(own: readonly Sample[], floor: readonly Sample[]): Latency | undefined {
  const quantiles = (samples: readonly Sample[], share: number) =>
    samples.flatMap(({ latenciesMs }) => (latenciesMs ? [quantile(latenciesMs, share)] : []));
  const [p50, p99] = [quantiles(own, 0.5), quantiles(own, 0.99)];
  if (p50.length === 0) return undefined;
  const onTopOf = (floors: readonly number[], values: readonly number[]) =>
    spread(values.map((value, round) => value - (floors[round] ?? Number.NaN)));
  return {
    p50: spread(p50),
    p99: spread(p99),
    addedP50: onTopOf(quantiles(floor, 0.5), p50),
    addedP99: onTopOf(quantiles(floor, 0.99), p99),
  };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
}

/** Until the contestant has had `warmUpMs` of CPU time: on a busy machine wall time warms nobody. */
async function warmUp(contestant: Contestant, warmUpMs: number): Promise<void> {
  let cpuMs = 0;
  for (let round = 0; round < 8 && cpuMs < warmUpMs; round++) {
    cpuMs += (await contestant.round(warmUpMs / 2)).cpuUs / 1_000;
  }
}
