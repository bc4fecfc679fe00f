import { afterEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { CallOptions } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { type VirtualClock, virtualClock } from "../../src/testing/index.js";
import type { TransportRequest } from "../../src/transport/transport.js";
import { advanceUntil } from "../support/advance-until.js";
import { type Answering, answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { remoteStore } from "../support/remote-store.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const DEADLINE_MS = 800;

interface Scene {
  readonly chat?: Partial<GroupOptions>;
  readonly deployment?: object;
  readonly answer?: (request: TransportRequest) => Answering;
  readonly options?: (clock: VirtualClock) => Partial<RouterOptions>;
  readonly call?: CallOptions;
  /** What comes before the request that is looked at. */
  readonly before?: (send: (call?: CallOptions) => Promise<unknown>, clock: VirtualClock) => Promise<unknown>;
  readonly model?: string;
}

async function outcomeOf(scene: Scene) {
  const clock = virtualClock();
  const transport = answeringTransport(scene.answer ?? (() => ({ text: CHAT_ANSWER })));
  const deployment = {
    id: "a",
    provider: "openai-compatible" as const,
    baseUrl: "http://a/v1",
    model: "m",
    ...scene.deployment,
  };
  const models = { chat: { deployments: [deployment], ...scene.chat } };
  const options = { models, ...scene.options?.(clock), clock, transport, random: seededRandom(3) };
  const router = watch.router(new Router<string>(options));
  closing.push(async () => {
    // A guard that hangs is given up on in its own time.
    await clock.advance(60_000);
    await advanceUntil(clock, router.close({ drainMs: 0 }));
    expect(clock.pendingTimers).toBe(0);
  });
  const { model = "chat" } = scene;
  const send = (call: CallOptions = {}) =>
    router.chat.completions.create({ model, messages: HELLO, max_tokens: 10 }, call).withRouting();
  await scene.before?.(send, clock);
  const startedAt = clock.now();
  const error = await clock.runUntil(rejection(send({ deadlineMs: DEADLINE_MS, ...scene.call })));
  return { error: error as { code: string }, tookMs: clock.now() - startedAt };
}

const hanging = () => new Promise<never>(() => {});
const guard = (fields: Partial<Plugin>): Scene => ({
  options: () => ({ plugins: [{ name: "slow", timeoutMs: 60_000, ...fields }] }),
});
const failing =
  (headers: Readonly<Record<string, string>> = {}) =>
  (): Answering => ({
    status: 500,
    text: "{}",
    headers: { "content-type": "application/json", ...headers },
  });

describe("R7: a request's deadline bounds every wait", () => {
  it.each<[string, Scene, string]>([
    ["the upstream's silence", { answer: () => "silence" }, "deadline_exceeded"],
    ["the key that a function gets", { deployment: { apiKey: hanging } }, "deadline_exceeded"],
    ["a guard before the request", guard({ beforeRequest: hanging }), "deadline_exceeded"],
    ["a guard before the attempt", guard({ beforeAttempt: hanging }), "deadline_exceeded"],
    ["a guard after the reply", guard({ afterReply: hanging }), "deadline_exceeded"],
    ["a plugin's reservation", guard({ reserve: hanging as never }), "deadline_exceeded"],
    [
      "a directory that looks the principal up",
      {
        options: () => ({ directory: { resolve: hanging, authenticateKey: hanging } as never }),
        call: { principal: { user: "u" } },
      },
      "deadline_exceeded",
    ],
    [
      "a model list that is read first",
      {
        options: () => ({
          models: { "any/*": [{ provider: "openai-compatible", baseUrl: "http://a/v1", model: "*", discover: true }] },
        }),
        model: "any/m",
        answer: () => "silence",
      },
      "deadline_exceeded",
    ],
  ])("%s ends with it", async (_what, scene, code) => {
    const { error, tookMs } = await outcomeOf(scene);
    expect(error.code).toBe(code);
    expect(tookMs).toBe(DEADLINE_MS);
  });

  it("a store that hangs ends long before", async () => {
    const store = (clock: VirtualClock) => {
      const remote = remoteStore({ clock });
      remote.fault = () => "hanging";
      return remote;
    };
    const scene: Scene = {
      options: (clock) => ({ store: store(clock), onStoreFailure: { limits: "closed" } }),
      deployment: { rpm: 1 },
      before: async (send, clock) => clock.runUntil(send().catch(() => {})),
    };
    const { tookMs } = await outcomeOf(scene);
    expect(tookMs).toBeLessThanOrEqual(DEADLINE_MS);
  });

  it("a slot is waited for no longer than leaves time for an answer", async () => {
    const scene: Scene = {
      deployment: { maxParallel: 1 },
      answer: () => "silence",
      before: async (send, clock) => {
        void send({ deadlineMs: 10_000 }).catch(() => {});
        await clock.advance(0);
      },
    };
    const { error, tookMs } = await outcomeOf(scene);
    expect(error.code).toBe("deadline_exceeded");
    expect(tookMs).toBe(DEADLINE_MS);
    const batch = await outcomeOf({ ...scene, call: { priority: "batch" } });
    expect(batch.tookMs).toBe(DEADLINE_MS);
  });

  it.each<[string, Scene, string]>([
    ["the wait before another attempt", { answer: failing({ "retry-after": "5" }) }, "upstream_error"],
    [
      "a rate limit of the provider's",
      { answer: () => ({ status: 429, text: "{}", headers: { "retry-after": "5" } }) },
      "rate_limit_exceeded",
    ],
    [
      "a rate limit that is configured",
      { deployment: { rpm: 1 }, before: (send, clock) => clock.runUntil(send()) },
      "rate_limit_exceeded",
    ],
    [
      "a rate limit that the provider told",
      {
        answer: () => ({
          text: CHAT_ANSWER,
          headers: {
            "content-type": "application/json",
            "x-ratelimit-limit-requests": "5",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "2",
          },
        }),
        before: (send, clock) => clock.runUntil(send()),
      },
      "rate_limit_exceeded",
    ],
    [
      "a cooldown",
      {
        answer: failing(),
        chat: { retries: 0, cooldown: { failures: 1, baseMs: 3_000, maxMs: 3_000 } },
        before: (send, clock) => clock.runUntil(send().catch(() => {})),
      },
      "no_deployment_available",
    ],
    [
      "a batch's wait for a limit of its principal",
      {
        options: () => ({
          plugins: [{ name: "limit", reserve: () => [{ kind: "requests", key: "k", limit: 1 }] } as Plugin],
        }),
        call: { priority: "batch" },
        before: (send, clock) => clock.runUntil(send()),
      },
      "rate_limit_exceeded",
    ],
  ])("%s that would not end in time is not begun", async (_what, scene, code) => {
    const { error, tookMs } = await outcomeOf(scene);
    expect(error.code).toBe(code);
    expect(tookMs).toBe(0);
  });
});
