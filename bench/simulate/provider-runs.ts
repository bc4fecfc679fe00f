/** Simulations of public providers, alone and behind own replicas. */
import { fewestStreams } from "../../src/testing/simulator/baselines.js";
import type { UpstreamModel } from "../../src/testing/simulator/model.js";
import { publicProvider } from "../../src/testing/simulator/public-provider.js";
import { replica } from "../../src/testing/simulator/replica.js";
import type { SimulationReport } from "../../src/testing/simulator/simulate.js";
import { poisson, type Workload } from "../../src/testing/simulator/workload.js";
import { CHAT_RATE, numbersOf, type Run, type RunContext, simulateFor, times, WARM_UP_MS } from "./fleet.js";

async function runProviders(
  providers: Readonly<Record<string, { model: UpstreamModel; rpm?: number | undefined }>>,
  group: Readonly<Record<string, unknown>>,
  workload: Workload,
  context: RunContext,
): Promise<SimulationReport> {
  const deployments = Object.entries(providers).map(([id, { rpm }]) => ({
    id,
    provider: "openai" as const,
    model: "m",
    rpm,
  }));
  return simulateFor(context, {
    router: { models: { chat: { ...group, deployments } } },
    upstreams: Object.fromEntries(Object.entries(providers).map(([id, { model }]) => [id, model])),
    workload,
  });
}

export function slowCalls(group: Readonly<Record<string, unknown>>): Run {
  return async (context) => {
    const model = publicProvider({ ttftMs: 400, slowShare: 0.03 });
    const providers = { one: { model }, two: { model }, three: { model } };
    return numbersOf(await runProviders(providers, group, poisson({ rate: 20 }), context));
  };
}

export function rateLimited(isKnown: boolean): Run {
  return async (context) => {
    const limits = [600, 300, 150];
    const providers = Object.fromEntries(
      limits.map((rpm) => [`rpm-${rpm}`, { model: publicProvider({ rpm }), rpm: isKnown ? rpm : undefined }]),
    );
    const group = isKnown
      ? { strategy: "latency" }
      : // `cooldown: false` keeps to an upstream's rate limits: here they are forgotten at once.
        {
          strategy: fewestStreams(),
          retries: 0,
          cooldown: { failures: 1_000, minOutcomes: 100_000, limitedBaseMs: 1, limitedMaxMs: 1 },
        };
    return numbersOf(await runProviders(providers, group, poisson({ rate: (0.85 * 1_050) / 60 }), context));
  };
}

/** Half a minute at one request per second is thirty requests: each seed stands for so many days. */
const FORGIVEN_DAYS = 8;

/**
 * One of two providers is ten times slower for two minutes: how much of its fair share has it back, and when? A slow call is
 * one whose first token takes ten times longer, as everywhere in routing.md §14; `isWholeSlow`: its other tokens do, too.
 */
export function forgiven(rate: number, isWholeSlow = false): Run {
  return async (context) => {
    const untilMs = WARM_UP_MS + 180_000;
    const trouble = isWholeSlow ? { slowdown: 10 } : { ttftSlowdown: 10 };
    const incidents = [{ fromMs: untilMs - 120_000, untilMs, ...trouble }];
    const providers = {
      ill: { model: publicProvider({ incidents }) },
      well: { model: publicProvider() },
    };
    let fairShare = 0;
    for (let day = 0; day < FORGIVEN_DAYS; day++) {
      const report = await runProviders(providers, { strategy: "latency" }, poisson({ rate }), {
        ...context,
        seed: context.seed * FORGIVEN_DAYS + day,
        scale: 1,
        onProgress: (share) => context.onProgress?.((day + share) / FORGIVEN_DAYS),
      });
      const { shares } = report.between(240_000, 270_000);
      fairShare += (2 * (shares.ill ?? 0)) / FORGIVEN_DAYS;
    }
    return { fairShare };
  };
}

/** Four own replicas at a load that is a tenth too much, and a provider behind them that is paid per token. */
export function ownAndPublic(group: Readonly<Record<string, unknown>>): Run {
  return async (context) => {
    const own = times(4, replica()).map((model, index) => ({ id: `own-${index}`, model }));
    const report = await simulateFor(context, {
      router: {
        models: {
          chat: {
            ...group,
            deployments: [
              ...own.map(({ id }) => ({ id, provider: "vllm" as const, model: "m", tier: 0 })),
              { id: "public", provider: "openai", model: "m", tier: 1 },
            ],
          },
        },
      },
      upstreams: { ...Object.fromEntries(own.map(({ id, model }) => [id, model])), public: publicProvider() },
      workload: poisson({ rate: 4 * CHAT_RATE * 1.1 }),
    });
    return { ...numbersOf(report), paidShare: report.measured.shares.public ?? 0 };
  };
}
