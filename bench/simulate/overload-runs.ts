/** Simulations of more work than the replicas can do, for a minute and for long. */
import { fewestStreams } from "../../src/testing/simulator/baselines.js";
import { type RequestResult, summarise } from "../../src/testing/simulator/results.js";
import { poisson, type SimulatedRequest, type Workload } from "../../src/testing/simulator/workload.js";
import { CHAT_RATE, EQUAL, type Fleet, NO_COOLDOWN, numbersOf, type Run, runFleet, WARM_UP_MS } from "./fleet.js";

/** Load 0.85, half as much again for a minute: does it come back? */
export function surge(group: Readonly<Record<string, unknown>>, clientRetries: number): Run {
  return async (context) => {
    const base = 8 * CHAT_RATE * 0.85;
    // A minute is a minute: this one is not cut short.
    const [fromMs, untilMs] = [60_000, 120_000];
    const rate = (nowMs: number) => (nowMs >= WARM_UP_MS + fromMs && nowMs < WARM_UP_MS + untilMs ? 1.5 * base : base);
    const report = await runFleet(
      {
        replicas: EQUAL,
        strategy: fewestStreams(),
        group: { ...NO_COOLDOWN, ...group, timeouts: { firstTokenMs: 4_000 } },
        clientRetries,
        workload: poisson({ rate, mostRate: 1.5 * base }),
      },
      { ...context, scale: 1 },
    );
    return { ...numbersOf(report), goodAfter: report.between(untilMs + 60_000, untilMs + 90_000).good };
  };
}

/** Nine tenths of the requests are one tenant's; load 1.4 is more than eight replicas can do. */
const TENANTS = [
  { name: "heavy", share: 0.9 },
  { name: "light", share: 0.1 },
];

const overloaded = () => poisson({ rate: 8 * CHAT_RATE * 1.4, tenants: TENANTS });

export function overload(maxParallel?: Fleet["maxParallel"]): Run {
  return async (context) => {
    const fleet = { replicas: EQUAL, strategy: "latency", maxParallel, workload: overloaded() } as const;
    const report = await runFleet(fleet, context);
    const light = report.between(0, report.durationMs, ({ tenant }) => tenant === "light");
    return { ...numbersOf(report), goodLight: light.good };
  };
}

/** Everybody in one line, whoever they are: as many under way as all replicas take, and whoever has waited for 5 s leaves. */
export function firstInFirstOut(): Run {
  return async (context) => {
    const SLOTS = 8 * 64;
    const MOST_WAIT_MS = 5_000;
    const results: RequestResult[] = [];
    const requests = overloaded();
    const line: Workload = {
      start(workload) {
        const { clock, send } = workload;
        const waiting: { readonly since: number; begin(): void; leave(): void }[] = [];
        let underWay = 0;
        const expire = () => {
          for (let oldest = waiting[0]; oldest && clock.now() - oldest.since >= MOST_WAIT_MS; oldest = waiting[0]) {
            waiting.shift();
            oldest.leave();
          }
          return true;
        };
        const turn = (): Promise<boolean> => {
          if (underWay < SLOTS) return Promise.resolve(true);
          clock.after(MOST_WAIT_MS, expire);
          return new Promise((resolve) => {
            waiting.push({ since: clock.now(), begin: () => resolve(true), leave: () => resolve(false) });
          });
        };
        const queued = async (request: SimulatedRequest): Promise<RequestResult> => {
          const arrivedAt = clock.now();
          const isServed = await turn();
          const waitedMs = clock.now() - arrivedAt;
          const common = { arrivedAt, promptTokens: request.promptTokens, outputTokens: request.outputTokens };
          if (!isServed) {
            const refused = { ...common, isOk: false, code: "overloaded", ttftMs: undefined, durationMs: waitedMs };
            return { ...refused, tenant: request.tenant, deployment: undefined };
          }
          underWay += 1;
          const result = await send(request);
          underWay -= 1;
          waiting.shift()?.begin();
          const ttftMs = result.ttftMs === undefined ? undefined : result.ttftMs + waitedMs;
          return { ...result, arrivedAt, ttftMs, durationMs: result.durationMs + waitedMs };
        };
        requests.start({
          ...workload,
          async send(request) {
            const result = await queued(request);
            results.push(result);
            return result;
          },
        });
      },
    };
    const report = await runFleet({ replicas: EQUAL, strategy: "latency", maxParallel: 64, workload: line }, context);
    const inTime = results.filter(({ arrivedAt }) => arrivedAt >= report.warmUpMs);
    const light = inTime.filter(({ tenant }) => tenant === "light");
    return {
      good: summarise(inTime, [], report.durationMs).good,
      goodLight: summarise(light, [], report.durationMs).good,
    };
  };
}
