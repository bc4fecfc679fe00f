import { describe, expect, it } from "vitest";
import { denyList, guardrail, maxInput, pii, promptInjection, secrets } from "../../src/index.js";
import { reply } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

const PROMPT = "Nobody calls 212-555-5555. ".repeat(2_000_000).slice(0, 50_000_000);
const ask = { model: "chat", messages: [{ role: "user" as const, content: PROMPT }] };

describe("a prompt of 50 MB", () => {
  it("S22: is refused before any guard sees it, and nothing is copied for it", async () => {
    let looks = 0;
    const upstream = await open.upstream();
    const router = open.router({
      models: { chat: [deploymentOf(upstream, "a")] },
      plugins: [
        guardrail({ name: "own", mode: "input", check: () => void looks++ }),
        { name: "watching", beforeRequest: () => void looks++ },
        ...[pii({}), secrets({}), promptInjection({}), denyList({ phrases: ["calls"] })],
      ],
    });
    expect(await rejection(router.chat.completions.create(ask))).toMatchObject({
      code: "request_too_large",
      status: 413,
    });
    expect([looks, upstream.requestCount]).toEqual([0, 0]);
  });

  it("that the operator lets in is refused by `maxInput` before anything behind it looks", async () => {
    let looks = 0;
    const upstream = await open.upstream();
    upstream.always(reply({ text: "Hi" }));
    const router = open.router({
      models: { chat: [deploymentOf(upstream, "a")] },
      inputLimits: { bodyBytes: 100_000_000 },
      plugins: [
        maxInput({ characters: 1_000_000 }),
        pii({}),
        guardrail({ name: "own", mode: "input", check: () => void looks++ }),
      ],
    });
    expect(await rejection(router.chat.completions.create(ask))).toMatchObject({ code: "content_policy_violation" });
    expect([looks, upstream.requestCount]).toEqual([0, 0]);
  });
});
