/** Simulations of limits and budgets: the store's windows alone, and eight processes that share a budget. */
import { createDirectory } from "../../src/access/create-directory.js";
import { GroupHealth } from "../../src/health/group-health.js";
import { seededRandom } from "../../src/internal/random.js";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import type { Store } from "../../src/stores/store.js";
import { drawExponential, drawLognormal } from "../../src/testing/simulator/distributions.js";
import { publicProvider } from "../../src/testing/simulator/public-provider.js";
import { SimulationClock } from "../../src/testing/simulator/simulation-clock.js";
import { chatMix, closedLoop, type Workload } from "../../src/testing/simulator/workload.js";
import { commonStore, DURATION_MS, numbersOf, type Run, type RunContext, simulateFor, WARM_UP_MS } from "./fleet.js";

/** The most of `amounts` within any stretch of `windowMs`. */
function worstWindow(amounts: readonly { readonly at: number; readonly amount: number }[], windowMs: number): number {
  let [worst, sum, first] = [0, 0, 0];
  for (const { at, amount } of amounts) {
    sum += amount;
    for (let oldest = amounts[first]; oldest && oldest.at <= at - windowMs; oldest = amounts[++first]) {
      sum -= oldest.amount;
    }
    worst = Math.max(worst, sum);
  }
  return worst;
}

/** The store's windows under bursts of twice the limit, and under a steady demand of half as much again as it: the worse. */
export function limiter(kind: "sliding" | "strict" | "fixed"): Run {
  return async (context) => {
    const worst = Math.max(await worstUnder(kind, "bursts", context), await worstUnder(kind, "steady", context));
    return { worst };
  };
}

async function worstUnder(
  kind: "sliding" | "strict" | "fixed",
  demand: "bursts" | "steady",
  { seed, scale }: RunContext,
): Promise<number> {
  const LIMIT = 600;
  const clock = new SimulationClock();
  const random = seededRandom(seed);
  const store = createMemoryStore({ clock });
  const admitted: { at: number; amount: number }[] = [];
  let count = 0;
  const fixed = fixedWindow(LIMIT);
  const admit = () => {
    const limit = {
      kind: "window" as const,
      key: "rpm",
      dimension: "requests" as const,
      limit: LIMIT,
      windowMs: 60_000,
      amount: 1,
      isStrict: kind === "strict",
    };
    const reservation = { id: `${count++}`, partition: "p", owner: "o", lifetimeMs: 60_000, limits: [limit] };
    const isAdmitted = kind === "fixed" ? fixed(clock.now()) : store.admit(reservation).isAdmitted;
    if (isAdmitted) admitted.push({ at: clock.now(), amount: 1 });
  };
  const arrive = () => {
    admit();
    clock.after(drawExponential(60_000 / (1.5 * LIMIT), random), arrive);
    return false;
  };
  const burst = () => {
    for (let request = 0; request < 2 * LIMIT; request++) admit();
    clock.after(45_000, burst);
    return false;
  };
  clock.after(random.next() * 45_000, demand === "bursts" ? burst : arrive);
  const endMs = WARM_UP_MS + DURATION_MS * scale;
  await clock.run(() => clock.now() >= endMs, Number.POSITIVE_INFINITY);
  return worstWindow(admitted, 60_000) / LIMIT;
}

/** What many limiters do: so many in each minute of the calendar. */
function fixedWindow(limit: number): (now: number) => boolean {
  let [minute, count] = [-1, 0];
  return (now) => {
    const current = Math.floor(now / 60_000);
    if (current !== minute) [minute, count] = [current, 0];
    count += 1;
    return count <= limit;
  };
}

/** A million tokens per minute, demand of half as much again; answers take 40 ms per token. */
export function tokenLimit(reserve: "after" | "p95" | "max"): Run {
  return async ({ seed, scale }) => {
    const LIMIT = 1_000_000;
    const MOST_OUTPUT = 1_500;
    const clock = new SimulationClock();
    const random = seededRandom(seed);
    const store = createMemoryStore({ clock });
    const group = new GroupHealth({ members: [], hasFallbackChain: false, maxOpenShare: 1 });
    const used: { at: number; amount: number }[] = [];
    const meanTokens = 1_330;
    let count = 0;
    const admit = () => {
      const promptTokens = Math.round(drawLognormal(chatMix.prompt, random));
      const outputTokens = Math.round(drawLognormal(chatMix.output, random));
      const output = reserve === "p95" ? Math.min(MOST_OUTPUT, Math.round(group.p95OutputTokens)) : MOST_OUTPUT;
      const id = `${count++}`;
      const answer = store.admit({
        id,
        partition: "p",
        owner: "o",
        lifetimeMs: 600_000,
        limits: [
          {
            kind: "window",
            key: "tpm",
            dimension: "tokens",
            limit: LIMIT,
            windowMs: 60_000,
            amount: reserve === "after" ? 0 : promptTokens + output,
            isStrict: false,
          },
        ],
      });
      if (!answer.isAdmitted) return;
      const tokens = promptTokens + outputTokens;
      used.push({ at: clock.now(), amount: tokens });
      clock.after(400 + 40 * outputTokens, () => {
        group.recordOutput(outputTokens);
        store.settle([{ id, partition: "p", requests: 1, tokens, costNanoUsd: 0 }]);
        return false;
      });
    };
    const arrive = () => {
      admit();
      clock.after(drawExponential(60_000 / ((1.5 * LIMIT) / meanTokens), random), arrive);
      return false;
    };
    clock.after(0, arrive);
    const endMs = WARM_UP_MS + DURATION_MS * scale;
    await clock.run(() => clock.now() >= endMs, Number.POSITIVE_INFINITY);
    return {
      worst:
        worstWindow(
          used.filter(({ at }) => at >= WARM_UP_MS),
          60_000,
        ) / LIMIT,
    };
  };
}

/** $100 for eight processes with 25 callers each, one of which crashes: what is spent beyond it? */
export function budget(isReserved: boolean): Run {
  return async (context) => {
    const BUDGET_USD = 100;
    const price = { input: 30, output: 60 };
    const costUsd = ({ promptTokens, outputTokens }: { promptTokens: number; outputTokens: number }) =>
      (promptTokens * price.input + outputTokens * price.output) / 1_000_000;
    let store: Store | undefined;
    const callers = closedLoop({
      callers: 200,
      processes: 8,
      request: { tenant: "tenant", maxOutputTokens: 1_500 },
    });
    let chargedUsd = 0;
    const checked: Workload = {
      start: (context) =>
        callers.start({
          ...context,
          async send(request) {
            if (chargedUsd >= BUDGET_USD) {
              // Spent: this caller is done.
              return new Promise(() => {});
            }
            const result = await context.send(request);
            if (result.isOk) chargedUsd += costUsd(result);
            return result;
          },
        }),
    };
    const report = await simulateFor(context, {
      router: ({ clock }) => {
        store ??= commonStore(createMemoryStore({ clock }));
        const deployments = [{ id: "provider", provider: "openai" as const, model: "m", price }];
        const models = { chat: { deployments } };
        if (!isReserved) return { models };
        return {
          models,
          store,
          directory: createDirectory({ clock, organizations: { tenant: { budgetUsd: BUDGET_USD } } }),
        };
      },
      upstreams: { provider: publicProvider() },
      workload: isReserved ? callers : checked,
      processes: 8,
      crashes: [{ process: 3, atMs: 20_000 }],
      warmUpMs: 0,
      durationMs: 240_000,
    });
    const spentUsd = report.calls.reduce((sum, call) => sum + costUsd(call), 0);
    return { ...numbersOf(report), spentUsd, overspendUsd: Math.max(0, spentUsd - BUDGET_USD) };
  };
}
