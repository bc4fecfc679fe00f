import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { RouterError } from "../../src/errors/router-error.js";
import { type Random, seededRandom } from "../../src/internal/random.js";
import type { AttemptEvent, FallbackEvent, Plugin } from "../../src/plugins/plugin.js";
import type { CallOptions } from "../../src/router/call.js";
import type { Explanation } from "../../src/router/explain.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import type { RoutingRecord } from "../../src/router/routing-record.js";
import { strategyNames } from "../../src/routing/strategies/index.js";
import { virtualClock } from "../../src/testing/index.js";
import { forEachSeed } from "../support/seeds.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 200);
const STEPS = 14;

/** Counts what is drawn of the router's own chance. */
function countedRandom(seed: number): Random & { draws: number } {
  const source = seededRandom(seed);
  const random = {
    draws: 0,
    next() {
      random.draws += 1;
      return source.next();
    },
  };
  return random;
}

/** What was seen of one request. */
interface Seen {
  readonly attempts: AttemptEvent[];
  readonly fallbacks: FallbackEvent[];
}

/** How often each decision was met: a test that never meets one proves nothing about it. */
const met: Record<string, number> = {};

/** One seeded run: whatever state the router gets into, the next request does what was explained. */
async function run(seed: number): Promise<void> {
  const draw = seededRandom(seed);
  const chance = (share: number) => draw.next() < share;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(draw.next() * list.length)] as T;
  const clock = virtualClock({ turns: 1 });
  const random = countedRandom(seed);
  const seen = new Map<string, Seen>();
  const of = (tag: string): Seen => {
    const known = seen.get(tag) ?? { attempts: [], fallbacks: [] };
    seen.set(tag, known);
    return known;
  };
  const watch: Plugin = {
    name: "watch",
    onAttempt: (event) => void (event.type === "attempt-started" && of(event.tags[0] ?? "").attempts.push(event)),
    onFallback: (event) => void of(event.tags[0] ?? "").fallbacks.push(event),
  };

  const deployment = (id: string) => ({
    id,
    provider: "simulated" as const,
    model: id,
    tier: pick([0, 0, 0, 1, 2]),
    ttftMs: pick([0, 20, 300, 3_000]),
    msPerToken: pick([0, 5, 40]),
    outputTokens: pick([1, 20, 100]),
    failureRate: pick([0, 0, 0.3, 1]),
    failure: pick([500, 503, 429, 401, 400]),
    ...(chance(0.3) && { retryAfterMs: pick([500, 4_000, 90_000]) }),
    ...(chance(0.5) && { maxParallel: pick([1, 2, 4]) }),
    ...(chance(0.25) && { rpm: pick([2, 10]) }),
    ...(chance(0.25) && { tpm: pick([500, 5_000]) }),
    ...(chance(0.5) && { price: { input: pick([1, 2]), output: pick([4, 4, 8]) } }),
    tags: chance(0.5) ? ["eu"] : [],
    ...(chance(0.2) && { contextWindow: pick([300, 3_000]) }),
  });
  const strategy = pick(strategyNames);
  const group = (prefix: string, size: number) => ({
    deployments: Array.from({ length: size }, (_, index) => deployment(`${prefix}${index}`)),
    strategy,
    retries: pick([0, 2]),
    affinity: chance(0.7),
    queue: chance(0.6),
    hedge: chance(0.2),
    ...(chance(0.3) && { spillMs: pick([50, 500]) }),
    cooldown: {
      panic: chance(0.4),
      failures: pick([1, 5]),
      baseMs: pick([5_000, 30_000]),
      unprobedMs: pick([0, 30_000]),
    },
  });
  const hasExperiment = chance(0.3);
  /** Alone, and always failing: who has `panic` tries it all the same. */
  const isDoomed = chance(0.1);
  const router = new Router<string>({
    clock,
    random,
    plugins: [watch],
    models: {
      chat: {
        ...group("a", pick([1, 1, 2, 3, 4, 6])),
        ...(isDoomed && {
          deployments: [{ ...deployment("a0"), failureRate: 1, failure: 500, tags: [] }],
          cooldown: { panic: true, failures: 1, baseMs: 30_000 },
        }),
        fallbacks: !isDoomed && chance(0.3) ? ["other"] : [],
        ...(hasExperiment && { experiment: { variants: { variant: 0.5 } } }),
      },
      variant: group("v", 2),
      other: group("o", 2),
    },
  });

  const running: Promise<unknown>[] = [];
  const problems: unknown[] = [];
  for (let step = 0; step < STEPS; step++) {
    await clock.advance(pick([0, 0, 5, 200, 2_500, 31_000]));
    const tag = `step-${step}`;
    const content = `${pick(["You are kind. ", "You are strict. "]).repeat(pick([1, 40, 200]))}${chance(0.5) ? step : ""}`;
    const isStreaming = chance(0.5);
    const body = {
      model: "chat",
      messages: [{ role: "user" as const, content }],
      stream: isStreaming,
      ...(chance(0.3) && { max_tokens: pick([5, 2_000]) }),
    };
    const leaving = new AbortController();
    const options: CallOptions = {
      tags: [tag],
      signal: leaving.signal,
      ...(chance(0.5) && { sessionId: `session-${pick([1, 2, 3])}` }),
      ...(chance(0.2) && { require: { tags: ["eu"] } }),
      ...(chance(0.2) && { deadlineMs: pick([100, 10_000]) }),
    };

    const before = router.status();
    const draws = random.draws;
    const explained = await router.explain(body, options);
    expect(await router.explain(body, options), "explains the same again").toEqual(explained);
    expect(random.draws, "draws nothing").toBe(draws);
    expect(router.status(), "changes nothing").toEqual(before);
    const groupBefore = before.groups.find(({ name }) => name === explained.group);

    const asked = router.chat.completions.create(body, { ...options, explain: true }).withRouting();
    const ended = asked.then(
      async ({ data, routing }): Promise<RoutingRecord | RouterError> => {
        if (isStreaming) {
          try {
            for await (const _ of data as ReplyStream<unknown>);
          } catch {}
        }
        return routing.done;
      },
      (error: unknown) => error as RouterError,
    );
    await clock.advance(0);
    // Only those who take no part by chance can be told beforehand.
    const isByChance = hasExperiment && explained.experiment === undefined;
    if (!isByChance) {
      const queued = router.status().groups.find(({ name }) => name === explained.group)?.queued.interactive ?? 0;
      const isWaiting = queued > (groupBefore?.queued.interactive ?? 0);
      compare(explained, of(tag), isWaiting, await Promise.race([ended, Promise.resolve(undefined)]));
      running.push(ended.then((result) => compareRecord(explained, result)).catch((error) => problems.push(error)));
    }
    if (chance(0.2)) void clock.sleep(draw.next() * 3_000).then(() => leaving.abort());
  }
  await clock.runUntil(Promise.all(running));
  await clock.runUntil(router.close({ drainMs: 60_000 }));
  if (problems.length > 0) throw problems[0];
}

/** What the request did at once. */
function compare(explained: Explanation, { attempts, fallbacks }: Seen, isWaiting: boolean, result: unknown): void {
  const { decision, deployments } = explained;
  met[decision.action] = (met[decision.action] ?? 0) + 1;
  const [first] = attempts;
  const isRefusal = RouterError.isRouterError(result) && first === undefined && fallbacks.length === 0;
  switch (decision.action) {
    case "serve": {
      const eligible = deployments.filter(({ exclusion }) => exclusion === undefined);
      const due = eligible.filter(({ isProbeDue }) => isProbeDue);
      const costs = eligible.map(({ cost }) => cost ?? 0);
      const best = due.length > 0 ? due : eligible.filter(({ cost = 0 }) => cost === Math.min(...costs));
      expect(best.map(({ deployment }) => deployment)).toContain(first?.deployment);
      if (best.length === 1 && (due.length > 0 || costs.length === 1 || eligible[0]?.cost !== undefined)) {
        expect(decision.deployment).toBe(first?.deployment);
      }
      expect(new Set(eligible.map(({ tier }) => tier)).size).toBe(1);
      break;
    }
    case "fall-back":
      expect(fallbacks[0]).toMatchObject({ from: explained.group, to: decision.group, code: decision.code });
      break;
    case "queue":
      // Its deadline may leave no time to wait.
      if (isRefusal) expect(result).toMatchObject({ code: "overloaded" });
      else expect([isWaiting, first]).toEqual([true, undefined]);
      break;
    case "wait":
      expect([first, result]).toEqual([undefined, undefined]);
      break;
    case "probe":
      expect(first?.deployment).toBe(decision.deployment);
      break;
    case "refuse":
      expect(first).toBeUndefined();
      expect(result).toMatchObject({ code: decision.code });
      break;
  }
}

/** What its record says of its only choice. */
function compareRecord(explained: Explanation, result: RoutingRecord | RouterError): void {
  if (RouterError.isRouterError(result)) return;
  const { attempts, queuedMs, group, candidates, excluded } = result;
  if (attempts.length !== 1 || queuedMs > 0 || group !== explained.group) return;
  if (explained.decision.action !== "serve") return;
  expect(candidates).toEqual(explained.deployments);
  const reasons = explained.deployments.flatMap(({ deployment, exclusion }) =>
    exclusion ? [[deployment, exclusion]] : [],
  );
  expect(excluded.map(({ deployment, reason }) => [deployment, reason]).toSorted()).toEqual(reasons.toSorted());
  met.recorded = (met.recorded ?? 0) + 1;
}

describe("router.explain", () => {
  it("explains embeddings and legacy completions as what they are", async () => {
    const random = countedRandom(1);
    const router = new Router({
      random,
      models: {
        chat: [
          { id: "claude", provider: "anthropic", model: "claude-sonnet-4-5", apiKey: "sk-ant-0123456789" },
          { id: "any", provider: "simulated", model: "m" },
        ],
      },
    });
    // Of the router's own start.
    const { draws } = random;
    const exclusions = ({ deployments }: Explanation) => deployments.map(({ exclusion }) => exclusion);
    const chat = await router.explain({ model: "chat", messages: [{ role: "user", content: "Hello" }] });
    expect(exclusions(chat)).toEqual([undefined, undefined]);
    const embedding = await router.explain({ model: "chat", input: "Hello" }, { operation: "embeddings" });
    expect(exclusions(embedding)).toEqual(["operation-unsupported", undefined]);
    expect(embedding.decision).toEqual({ action: "serve", deployment: "any" });
    const completion = await router.explain({ model: "chat", prompt: "Hello" }, { operation: "completions" });
    expect(exclusions(completion)).toEqual([undefined, undefined]);
    await expect(
      router.explain({ model: "chat", prompt: 3 } as never, { operation: "completions" }),
    ).rejects.toMatchObject({
      code: "invalid_request",
    });
    expect(random.draws).toBe(draws);
    await router.close();
  });

  it("knows that a hard budget rules out what has no price", async () => {
    const router = new Router<string>({
      directory: createDirectory({ users: { ann: { budgetUsd: 1 }, bob: {} } }),
      models: {
        chat: [
          { id: "unpriced", provider: "simulated", model: "m" },
          { id: "priced", provider: "simulated", model: "m", price: { input: 1, output: 1 } },
        ],
      },
    });
    const body = { model: "chat", messages: [{ role: "user" as const, content: "Hello" }] };
    for (const [user, exclusion] of [
      ["ann", "unpriced"],
      ["bob", undefined],
    ] as const) {
      const { deployments } = await router.explain(body, { principal: { user } });
      expect(deployments[0]?.exclusion).toBe(exclusion);
      const { routing } = await router.chat.completions
        .create(body, { principal: { user }, explain: true })
        .withRouting();
      expect(routing.candidates).toEqual(deployments);
    }
    await router.close();
  });

  it(`routing invariants 2 and 16: says what the next request does, and changes nothing: ${SEEDS} seeds`, {
    timeout: 300_000,
  }, async () => {
    await forEachSeed(SEEDS, run);
    for (const action of ["serve", "fall-back", "queue", "wait", "probe", "refuse", "recorded"]) {
      expect(met[action], action).toBeGreaterThan(SEEDS >= 200 ? 20 : 0);
    }
  });
});
