/** What became of one request, as its caller saw it. */
export interface RequestResult {
  /** On the simulation's clock. */
  readonly arrivedAt: number;
  readonly isOk: boolean;
  /** The error's code; `undefined` where it succeeded. */
  readonly code: string | undefined;
  /** From the arrival to the first content, retries and waits included; `undefined`: none came. */
  readonly ttftMs: number | undefined;
  readonly durationMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly tenant: string | undefined;
  /** Who served it. */
  readonly deployment: string | undefined;
}

/** One call of an upstream. */
export interface CallResult {
  readonly startedAt: number;
  readonly deployment: string;
  /** HTTP status of a refusal. */
  status: number | undefined;
  cachedTokens: number;
  readonly promptTokens: number;
  /** Those that the answer has if nobody stops it. */
  readonly outputTokens: number;
}

/** An objective: what a caller is content with. */
export interface Objective {
  /** @default 2000 */
  readonly ttftMs?: number | undefined;
  /** From the first content to the last, per token. @default 60 */
  readonly msPerToken?: number | undefined;
}

/** Percentiles of a quantity. */
export interface Spread {
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** One stretch of a simulation in numbers. */
export interface Summary {
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** Share that met the objective, of all that were sent. */
  readonly good: number;
  /** Share that failed. */
  readonly errors: number;
  readonly errorCodes: Readonly<Record<string, number>>;
  readonly ttftMs: Spread;
  readonly durationMs: Spread;
  readonly msPerToken: Spread;
  /** Calls of upstreams per request: 1 without retries and hedges. */
  readonly callsPerRequest: number;
  /** Share of calls that were refused with 429. */
  readonly refusedCalls: number;
  /** Share of prompt tokens that a replica's prefix cache had. */
  readonly cacheHits: number;
  /** Share of successful requests by deployment. */
  readonly shares: Readonly<Record<string, number>>;
}

export function summarise(
  results: readonly RequestResult[],
  calls: readonly CallResult[],
  lengthMs: number,
  { ttftMs = 2_000, msPerToken = 60 }: Objective = {},
): Summary {
  const errorCodes: Record<string, number> = {};
  const served: Record<string, number> = {};
  let okCount = 0;
  let goodCount = 0;
  for (const result of results) {
    if (!result.isOk) {
      const code = result.code ?? "unknown";
      errorCodes[code] = (errorCodes[code] ?? 0) + 1;
      continue;
    }
    okCount += 1;
    if (result.deployment !== undefined) served[result.deployment] = (served[result.deployment] ?? 0) + 1;
    if ((result.ttftMs ?? Number.POSITIVE_INFINITY) <= ttftMs && paceOf(result) <= msPerToken) goodCount += 1;
  }
  const ok = results.filter(({ isOk }) => isOk);
  const share = (count: number, of: number) => (of === 0 ? 0 : count / of);
  const promptTokens = calls.reduce((sum, call) => sum + call.promptTokens, 0);
  return {
    requests: results.length,
    requestsPerSecond: lengthMs > 0 ? results.length / (lengthMs / 1_000) : 0,
    good: share(goodCount, results.length),
    errors: share(results.length - okCount, results.length),
    errorCodes,
    ttftMs: spreadOf(ok.flatMap((result) => result.ttftMs ?? [])),
    durationMs: spreadOf(ok.map((result) => result.durationMs)),
    msPerToken: spreadOf(ok.filter(({ outputTokens }) => outputTokens > 1).map(paceOf)),
    callsPerRequest: share(calls.length, results.length),
    refusedCalls: share(calls.filter(({ status }) => status === 429).length, calls.length),
    cacheHits: share(
      calls.reduce((sum, call) => sum + call.cachedTokens, 0),
      promptTokens,
    ),
    shares: Object.fromEntries(Object.entries(served).map(([id, count]) => [id, share(count, okCount)])),
  };
}

function paceOf({ durationMs, ttftMs = 0, outputTokens }: RequestResult): number {
  return outputTokens > 1 ? (durationMs - ttftMs) / (outputTokens - 1) : 0;
}

export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) return { mean: 0, p50: 0, p95: 0, p99: 0, max: 0 };
  const sorted = Float64Array.from(values).sort();
  // In range: a share below 1 of a length above 0.
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  return { mean, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
