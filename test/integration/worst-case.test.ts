import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { reply } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

describe("what a request can cost at most", () => {
  const body = { model: "chat", messages: HELLO };
  const price = { input: 0, output: 1 };

  /** A budget that holds 300 output tokens, and no more. */
  async function withBudget(deployment: object, more: Partial<RouterOptions> = {}) {
    const directory = createDirectory({ organizations: { acme: { budgetUsd: 0.0003 } } });
    const upstream = await open.upstream();
    upstream.always(reply({ text: "x" }));
    const models = { chat: [deploymentOf(upstream, "a", { price, ...deployment })] };
    return { upstream, router: open.router({ models, directory, ...more }) };
  }
  const principal = { organization: "acme" };

  it("R11: counts every prompt of a legacy completion", async () => {
    const { router } = await withBudget({});
    const ask = { model: "chat", max_tokens: 200 };
    await router.completions.create({ ...ask, prompt: ["a"] }, { principal });
    expect(await rejection(router.completions.create({ ...ask, prompt: ["a", "b"] }, { principal }))).toMatchObject({
      code: "insufficient_quota",
    });
  });

  it("R11: counts the answers that a deployment's defaults ask for", async () => {
    const { router } = await withBudget({ defaults: { n: 2 } });
    const ask = { ...body, max_tokens: 200 };
    expect(await rejection(router.chat.completions.create(ask, { principal }))).toMatchObject({
      code: "insufficient_quota",
    });
  });

  it("R11: sends the caller's cap and no other name of it, whatever the defaults say", async () => {
    const { router, upstream } = await withBudget({ defaults: { max_completion_tokens: 50_000 } });
    await router.chat.completions.create({ ...body, max_tokens: 5 }, { principal });
    const sent = upstream.requests[0]?.body ?? {};
    expect([sent.max_tokens, sent.max_completion_tokens].filter((cap) => cap !== undefined)).toEqual([5]);
  });

  it("R11: lets no plugin ask for more than was reserved, once the attempt is chosen", async () => {
    const plugin: Plugin = { name: "greedy", beforeAttempt: () => ({ body: { max_tokens: 9_000, n: 8 } }) };
    const { router, upstream } = await withBudget({}, { plugins: [plugin] });
    await router.chat.completions.create({ ...body, max_tokens: 100 }, { principal });
    expect(upstream.requests[0]?.body).toMatchObject({ max_tokens: 100, n: 1 });
  });

  it("R16: a wildcard group is priced by the model that the caller names", async () => {
    const directory = createDirectory({ organizations: { acme: { budgetUsd: 1 } } });
    const upstream = await open.upstream(reply({ text: "x" }));
    const router = open.router({
      models: { "w/*": [deploymentOf(upstream, "a", { model: "*" })] },
      prices: { own: { "openai-compatible/known": { input: 1, output: 1 } } },
      directory,
    });
    await router.chat.completions.create({ ...body, model: "w/known" }, { principal });
    expect(
      await rejection(router.chat.completions.create({ ...body, model: "w/unknown" }, { principal })),
    ).toMatchObject({
      code: "unpriced_model",
    });
  });

  it("R16: goes by the service tier that the upstream served, not by the one that was wished for", async () => {
    const tiers = { input: 0, output: 1_000, flex: { output: 1 } };
    const { router } = await withBudget({ price: tiers }, { directory: undefined });
    const ask = { ...body, service_tier: "flex" as const };
    const { routing } = await router.chat.completions.create(ask).withRouting();
    expect(routing.costUsd).toBe(((routing.usage?.completionTokens ?? 0) * 1_000) / 1_000_000);
  });
});
