import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import type { DeploymentAnswer, DeploymentRequest, MaybePromise, Store } from "../../src/stores/store.js";
import { virtualClock } from "../../src/testing/index.js";
import { advanceUntil } from "../support/advance-until.js";
import { answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { remoteStore } from "../support/remote-store.js";
import { HELLO } from "../support/router-fixtures.js";

type Ask = (question: DeploymentRequest) => MaybePromise<DeploymentAnswer>;

const deploymentIn = (id: string, tier: number) => ({
  ...{ id, tier, provider: "openai-compatible" as const, baseUrl: `http://${id}/v1`, model: "m" },
  rpm: 10,
});
type Deployments = ReturnType<typeof deploymentIn>[];

/** The first attempt fails, the others are answered. `asked`: the deployments of each question to the shared store. */
function setUp(deployments: Deployments, clock = virtualClock({ turns: 3 })) {
  const asked: string[][] = [];
  const shared = remoteStore({ clock });
  const hooks = {
    answer: (question: DeploymentRequest, ask: Ask): MaybePromise<DeploymentAnswer> => ask(question),
    onFailure: () => {},
  };
  const store: Store = {
    ...shared,
    reserveDeployment(question) {
      asked.push(question.candidates.map((candidate) => candidate.deployment));
      return hooks.answer(question, shared.reserveDeployment);
    },
  };
  const transport = answeringTransport(() => {
    if (transport.posts.length > 1) return { text: CHAT_ANSWER };
    hooks.onFailure();
    return { status: 500, text: "{}" };
  });
  const random = seededRandom(1);
  const optionsWith = (members: Deployments): RouterOptions => ({
    ...{ clock, random, transport, store },
    models: { chat: { deployments: members, retries: 3 } },
  });
  const router = new Router<string>(optionsWith(deployments));
  const ask = () =>
    advanceUntil(clock, router.chat.completions.create({ model: "chat", messages: HELLO }).withRouting());
  const close = () => advanceUntil(clock, router.close({ drainMs: 0 }));
  return { clock, asked, hooks, router, optionsWith, ask, close };
}

describe("limits of deployments that processes share", () => {
  it("R17: a request from before a reload asks for the deployments whose limits are still known", async () => {
    const [a, b, c] = [deploymentIn("a", 0), deploymentIn("b", 1), deploymentIn("c", 2)];
    const { asked, hooks, router, optionsWith, ask, close } = setUp([a, b, c]);
    hooks.onFailure = () => router.reload(optionsWith([a, b]));
    expect((await ask()).routing.deployment).toBe("b");
    expect(asked).toEqual([["a", "b", "c"], ["b"]]);
    await close();
    expect(router.status().leases).toBe(0);
  });

  it("a deployment that failed stays tried where the store has no room for its next attempt", async () => {
    const { clock, asked, hooks, ask, close } = setUp([deploymentIn("a", 0), deploymentIn("b", 1)]);
    const allFullUntil = clock.now() + 4_000;
    hooks.answer = (question, reserve) => {
      const leftMs = allFullUntil - clock.now();
      if (asked.length === 1 || leftMs <= 0) return reserve(question);
      return { isReserved: false, retryAfterMs: question.candidates.map(() => leftMs) };
    };
    expect((await ask()).routing.deployment).toBe("b");
    expect(asked).toEqual([["a", "b"], ["b"], ["a"], ["b", "a"]]);
    await close();
  });
});
