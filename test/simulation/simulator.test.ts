import { describe, expect, it } from "vitest";
import type { InvalidOptionsError } from "../../src/errors/router-error.js";
import { ledgerToJsonLines } from "../../src/ledger/export.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import {
  conversations,
  fewestStreams,
  type Incident,
  parseTrace,
  poisson,
  publicProvider,
  replay,
  replica,
  type SimulationOptions,
  simulate,
} from "../../src/testing/index.js";

const SHORT = { warmUpMs: 5_000, durationMs: 20_000 };
const replicas = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: `gpu-${index}`, provider: "vllm" as const, model: "m" }));
const trouble: Incident[] = [{ fromMs: 8_000, untilMs: 16_000, slowdown: 3, failureShare: 0.3, failure: "server" }];

/** Everything at once: failures, retries, fallbacks, limits, several processes. */
function mixed(seed: number): SimulationOptions {
  return {
    ...SHORT,
    seed,
    processes: 2,
    router: {
      models: {
        chat: { deployments: replicas(3), fallbacks: ["outside"], timeouts: { firstTokenMs: 3_000 } },
        outside: [{ id: "public", provider: "openai", apiKey: "sk-x", model: "m", rpm: 600 }],
      },
    },
    upstreams: { "gpu-0": replica({ incidents: trouble }), "*": replica(), public: publicProvider({ slowShare: 0.1 }) },
    workload: poisson({ rate: 18 }),
  };
}

describe("the simulator", () => {
  it("invariant 16: the same seed gives the same event log, another one another", { timeout: 60_000 }, async () => {
    const [first, again, other] = [await simulate(mixed(5)), await simulate(mixed(5)), await simulate(mixed(6))];
    expect(first.events).toBeGreaterThan(1_000);
    expect(again.hash).toBe(first.hash);
    expect(again.measured).toEqual(first.measured);
    expect(other.hash).not.toBe(first.hash);
  });

  it("loses no request and serves what it can, under failures, timeouts and full limits", {
    timeout: 60_000,
  }, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { results, calls, measured } = await simulate(mixed(seed));
      expect(new Set(results).size, `seed ${seed}`).toBe(results.length);
      expect(results.length).toBeGreaterThan(350);
      // Failures are there, and do not reach the callers.
      expect(calls.some(({ status }) => status === 500)).toBe(true);
      expect(measured.errors).toBeLessThan(0.02);
      expect(calls.length).toBeGreaterThan(results.length);
      for (const { isOk, ttftMs, durationMs } of results) {
        if (isOk) expect(ttftMs).toBeLessThanOrEqual(durationMs);
      }
    }
  });

  it("brings the same requests whatever the strategy, so that strategies can be compared", {
    timeout: 60_000,
  }, async () => {
    const sizes = async (strategy: "latency" | ReturnType<typeof fewestStreams>) => {
      const { results } = await simulate({
        ...SHORT,
        router: { models: { chat: { deployments: replicas(4), strategy } } },
        upstreams: { "*": replica() },
        workload: poisson({ rate: 15 }),
      });
      return results.map(({ arrivedAt, promptTokens, outputTokens }) => `${arrivedAt} ${promptTokens} ${outputTokens}`);
    };
    expect((await sizes("latency")).sort()).toEqual((await sizes(fewestStreams())).sort());
  });

  it("finds the prefixes of conversations in the replicas' caches", { timeout: 60_000 }, async () => {
    const { measured } = await simulate({
      warmUpMs: 30_000,
      durationMs: 60_000,
      router: { models: { chat: { deployments: replicas(1) } } },
      upstreams: { "*": replica() },
      workload: conversations({ rate: 0.5 }),
    });
    expect(measured.cacheHits).toBeGreaterThan(0.7);
    expect(measured.errors).toBe(0);
  });

  it("replays what a ledger exported", { timeout: 60_000 }, async () => {
    const ledger = createMemoryLedger();
    const options = {
      ...SHORT,
      upstreams: { "*": replica() },
      workload: poisson({ rate: 5, tenants: [{ name: "acme", share: 1 }] }),
    };
    const first = await simulate({ ...options, router: { models: { chat: replicas(2) }, ledger } });
    let exported = "";
    for await (const piece of ledgerToJsonLines(ledger)) exported += piece;
    const trace = parseTrace(exported);
    expect(trace).toHaveLength(first.results.length);
    const second = await simulate({
      // Longer than the trace: its times are those at which answers ended or were booked.
      warmUpMs: 0,
      durationMs: 120_000,
      router: { models: { chat: replicas(3) } },
      upstreams: { "*": replica() },
      workload: replay(trace),
    });
    expect(second.results).toHaveLength(trace.length);
    expect(second.results.every(({ tenant }) => tenant === "acme")).toBe(true);
    expect(second.measured.durationMs.p95).toBeLessThan(first.measured.durationMs.p95);
  });

  it("comes back from an overload in which every first token is late: nobody is withdrawn for what all suffer from", {
    timeout: 120_000,
  }, async () => {
    const [usual, most] = [4 * 5.5 * 0.85, 4 * 5.5 * 1.5];
    const { calls, between } = await simulate({
      warmUpMs: 10_000,
      durationMs: 170_000,
      router: { models: { chat: { deployments: replicas(4), timeouts: { firstTokenMs: 4_000 } } } },
      upstreams: { "*": replica() },
      workload: poisson({ rate: (now) => (now >= 30_000 && now < 75_000 ? most : usual), mostRate: most }),
    });
    expect(between(50_000, 65_000).good).toBeLessThan(0.5);
    expect(between(150_000, 170_000).good).toBeGreaterThan(0.95);
    expect(new Set(calls.map(({ deployment }) => deployment)).size).toBe(4);
  });

  it("keeps a crash to its own process", { timeout: 60_000 }, async () => {
    const { results, warmUpMs } = await simulate({
      ...mixed(1),
      crashes: [{ process: 1, atMs: 10_000 }],
    });
    const crashed = results.filter(({ code }) => code === "crashed");
    expect(warmUpMs).toBe(5_000);
    expect(crashed.length).toBeGreaterThan(100);
    expect(crashed.every(({ arrivedAt, durationMs }) => arrivedAt + durationMs >= 10_000)).toBe(true);
    const others = results.filter(({ code, arrivedAt }) => code !== "crashed" && arrivedAt > 10_000);
    expect(others.every(({ isOk }) => isOk)).toBe(true);
  });

  it("says what is wrong with its options", async () => {
    const right = mixed(1);
    const wrong: [Partial<SimulationOptions>, RegExp][] = [
      [{ seed: -1 }, /seed.*integer from 0/],
      [{ durationMs: 0 }, /durationMs/],
      [{ processes: 0 }, /processes/],
      [{ crashes: [{ process: 7, atMs: 0 }] }, /crashes\[0\]\.process/],
      [{ upstreams: { "gpu-0": replica() } }, /no model stands for "gpu-1"/],
      [{ router: { models: { chat: [{ provider: "vllm", model: "m" }] } } }, /models\.chat\[0\]\.id/],
      [{ router: { models: { chat: [{ id: "gpu-0", provider: "vllm", model: "m", weight: -1 }] } } }, /weight/],
    ];
    for (const [options, message] of wrong) {
      await expect(simulate({ ...right, ...options }), String(message)).rejects.toThrow(message);
    }
  });

  describe("refuses deployments as the router does, although it puts a model in the place of their provider", () => {
    const complete = { apiKey: "sk-0123456789", baseUrl: "http://gpu-0:8000/v1" };
    const issuesOf = (run: () => unknown) =>
      Promise.resolve()
        .then(run)
        .then(
          () => [],
          (error: InvalidOptionsError) => error.issues,
        );
    const simulated = (router: unknown) =>
      issuesOf(() =>
        simulate({
          // What JavaScript lets through.
          router: router as SimulationOptions["router"],
          upstreams: { "*": replica() },
          workload: poisson({ rate: 1 }),
          warmUpMs: 0,
          durationMs: 1_000,
        }),
      );

    it.each<[string, Record<string, unknown>, string]>([
      ["a misspelt option", { wieght: 2 }, "models.chat.deployments[0].wieght"],
      ["a wrong value", { rpm: 0 }, "models.chat.deployments[0].rpm"],
      ["a wrong value within an option", { timeouts: { idleMs: "1" } }, "models.chat.deployments[0].timeouts.idleMs"],
      ["a misspelt provider", { provider: "vlm" }, "models.chat.deployments[0].provider"],
      ["no provider", { provider: undefined }, "models.chat.deployments[0].provider"],
      ["no model", { model: undefined }, "models.chat.deployments[0].model"],
      ["a key that is none", { apiKey: 5 }, "models.chat.deployments[0].apiKey"],
      ["an address that is none", { baseUrl: "gpu-0:8000" }, "models.chat.deployments[0].baseUrl"],
      ["a header that is none", { headers: { "x y": "1" } }, 'models.chat.deployments[0].headers["x y"]'],
      [
        "what its provider does not have",
        { provider: "openai", loadSignals: true },
        "models.chat.deployments[0].loadSignals",
      ],
      ["an option of another provider", { apiVersion: "2024-10-21" }, "models.chat.deployments[0].apiVersion"],
      ["a wrong option of its provider", { provider: "ollama", dialect: "own" }, "models.chat.deployments[0].dialect"],
    ])("%s", async (_, wrong, path) => {
      const deployment = { id: "gpu-0", provider: "vllm", model: "m", ...wrong };
      const models = { chat: { deployments: [deployment] } };
      const issues = await simulated({ models });
      expect(issues.map((issue) => issue.path)).toEqual([path]);
      const real = { models: { chat: { deployments: [{ ...complete, ...deployment }] } } };
      expect(issues).toEqual(await issuesOf(() => new Router(real as unknown as RouterOptions)));
    });

    it("and all of them at once, in lists and in functions, too", async () => {
      const chat = [
        { id: "a", provider: "openai", model: "m", apikey: "sk-0123456789" },
        { id: "b", provider: "azure", model: "m", apiVersion: 7 },
      ];
      const issues = await simulated(() => ({ models: { chat }, aliases: { gpt: "chatt" } }));
      expect(issues.map(({ path }) => path)).toEqual([
        "models.chat[0].apikey",
        "models.chat[1].apiVersion",
        "aliases.gpt",
      ]);
    });

    it("but misses none of what the simulation brings: addresses, keys, regions", async () => {
      const providers = ["vllm", "openai", "azure", "anthropic", "bedrock", "openai-compatible", "gemini", "tgi"];
      const chat = providers.map((provider) => ({ id: provider, provider, model: "m" }));
      expect(await simulated({ models: { chat } })).toEqual([]);
    });
  });
});
